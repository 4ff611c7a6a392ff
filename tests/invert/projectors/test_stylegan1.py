"""Own samples of a StyleGAN are found again in W, by the presets that nothing of it was built for."""

from __future__ import annotations

import pytest
import torch

from invert.projectors.project import PresetProjector
from tests.tiny import sample_pictures, tiny_stylegan1


@pytest.mark.parametrize("preset, steps, least", [("fast", 60, 40.0)])
def test_own_samples_are_recovered_in_w(preset: str, steps: int, least: float) -> None:
    generator = tiny_stylegan1()
    targets, w = sample_pictures(generator, [1000, 1001, 1002])
    options = PresetProjector(preset=preset, steps=steps, space="w", perceptual="none", start="nearest:64", restarts=1)
    inversion = options.project(targets, generator)
    found, spread = inversion.latent.value, w.std(dim=0).square().sum().sqrt()
    print([inversion.facts(i)["psnr"] for i in range(3)], ((found - w).norm(dim=1) / spread).tolist())
    assert all(inversion.facts(i)["psnr"] > least for i in range(3))
    assert float(((found - w).norm(dim=1) / spread).max()) < 0.2


def test_other_spaces_get_nearer_too() -> None:
    generator = tiny_stylegan1()
    targets, _ = sample_pictures(generator, [1000])
    for space in ("z", "w+", "s"):
        seen: list[float] = []
        options = PresetProjector(preset="fast", steps=20, space=space, perceptual="none", start="nearest:16", restarts=1)
        options.project(targets, generator, callback=lambda info, seen=seen: seen.append(float(info.psnr[0])))
        assert max(seen[-3:]) > seen[0] + 3 and bool(torch.isfinite(torch.tensor(seen)).all())
