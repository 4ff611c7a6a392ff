"""Own samples of a StyleGAN are found again in W, by a preset that nothing of it was built for."""

from __future__ import annotations

import torch

from invert.projectors.project import PresetProjector
from tests.tiny import sample_pictures, tiny_stylegan1


def projector(space: str, steps: int) -> PresetProjector:
    return PresetProjector(preset="fast", steps=steps, space=space, perceptual="none", start="nearest:256")


def test_own_samples_are_recovered_in_w() -> None:
    generator = tiny_stylegan1(noise_strength=0.05)
    targets, w = sample_pictures(generator, [1000, 1001, 1002, 1003])
    inversion = projector("w", 80).project(targets, generator)
    with torch.no_grad():
        samples = generator.mapping.to_w(torch.randn(1000, 16, generator=torch.Generator().manual_seed(0)))
    spread = samples.std(dim=0).square().sum().sqrt()
    assert min(inversion.facts(i)["psnr"] for i in range(4)) > 35
    assert float(((inversion.latent.value - w).norm(dim=1) / spread).max()) < 0.15


def test_the_other_spaces_get_nearer() -> None:
    generator = tiny_stylegan1(noise_strength=0.05)
    targets, _ = sample_pictures(generator, [1000])
    for space in ("z", "w+", "s"):
        seen: list[float] = []
        projector(space, 20).project(targets, generator, callback=lambda info, seen=seen: seen.append(float(info.psnr[0])))
        assert max(seen[-3:]) > seen[0] + 3
