"""Training a StyleGAN3: presets, magnitudes and blur in the loop, a resume that equals the straight run."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan_core.checkpoints.registry import load_generator
from stylegan_core.data.images import RenderedImages
from stylegan_core.training.blur import blur, blur_sigma_at, blurred
from stylegan_core.training.config import TrainingConfig, preset_config
from stylegan_core.training.loop import start_run, train_generator, train_step

PRESETS = ("stylegan3-t", "stylegan3-r")


def tiny_config(preset: str, **options) -> TrainingConfig:
    """A preset made narrow and short enough for a test."""
    facts = {"resolution": 16, "channel_base": 64, "channel_max": 8, "batch": 4, "kimg": 0.024, "snapshot_kimg": 0.012, "r1_every": 2}
    config = preset_config(preset, **{**facts, **options})
    return replace(config, generator=replace(config.generator, num_layers=4, z_dim=8, w_dim=8))


def stripes(count: int = 24) -> RenderedImages:
    def draw(index: int) -> np.ndarray:
        rng = np.random.default_rng(index)
        wave = np.sin(np.arange(16) * rng.uniform(0.3, 1.0) + rng.uniform(0, 6))
        return (127.5 + 100 * wave[None, :, None] * rng.uniform(-1, 1, 3) * np.ones([16, 16, 1])).astype(np.uint8)

    return RenderedImages("stripes", draw, count, 16)


def contents(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(str(path))


@pytest.mark.parametrize("preset", PRESETS)
def test_stop_and_resume_equals_a_straight_run_bit_for_bit(preset: str, tmp_path: Path) -> None:
    config = tiny_config(preset)
    newest = train_generator(config, stripes(), tmp_path / "straight")
    train_generator(config, stripes(), tmp_path / "stopped", callback=lambda info: info.step != 4)
    train_generator(config, stripes(), tmp_path / "stopped")
    straight, stopped = (contents(tmp_path / name / "state.safetensors") for name in ("straight", "stopped"))
    assert straight.keys() == stopped.keys() and all(np.array_equal(straight[key], stopped[key]) for key in straight)
    log = [json.loads(line) for line in (tmp_path / "straight" / "log.jsonl").read_text().splitlines()]
    assert len(log) == 6 and len({record["loss_D"] for record in log}) == 6 and "path_length" not in log[0]
    generator = load_generator(newest)
    assert generator.config == config.generator and generator(torch.randn(2, 8)).shape == (2, 3, 16, 16)
    magnitudes = [float(value) for name, value in generator.named_buffers() if name.endswith("magnitude_ema")]
    assert len(magnitudes) == 5 and all(value != 1 for value in magnitudes)


def test_what_the_presets_pin() -> None:
    t, r = (preset_config(name, resolution=256) for name in PRESETS)
    assert (t.generator.conv_kernel, t.generator.use_radial_filters, t.generator.channel_max) == (3, False, 512)
    assert (r.generator.conv_kernel, r.generator.use_radial_filters, r.generator.channel_max) == (1, True, 1024)
    assert t.blur_sigma == 0 and (r.blur_sigma, r.blur_fade_kimg) == (10, 200)
    for config in (t, r):
        assert config.mixing_prob == 0 and config.pl_weight == 0 and config.lr == 0.0025 and config.d_lr == 0.002
        assert config.discriminator.channel_max == 512 and config.r1_gamma == pytest.approx(2.05)
        assert config.generator.magnitude_ema_beta == pytest.approx(0.9988915792636801)  # that of the published tables
    assert preset_config("stylegan3-t", resolution=32, r1_gamma=0.5).r1_gamma == 0.5
    narrow = preset_config("stylegan3-r", resolution=32, channel_base=1024, channel_max=64)
    assert narrow.generator.channel_base == 1024 and narrow.discriminator.channel_max == 64


def test_each_network_has_its_own_rate() -> None:
    run = start_run(tiny_config("stylegan3-t"), "cpu", None)
    rates = {name: optimiser.param_groups[0]["lr"] for name, optimiser in run.optimisers.items()}
    assert rates["opt_G"] == 0.0025 and rates["opt_D"] == pytest.approx(0.002 * 2 / 3)  # lazy R1 every 2 steps


def test_the_blur_fades_out() -> None:
    assert blur_sigma_at(0, 10, 200) == 10 and blur_sigma_at(100_000, 10, 200) == 5
    assert blur_sigma_at(200_000, 10, 200) == 0 == blur_sigma_at(300_000, 10, 200) == blur_sigma_at(0, 0, 200)
    images = torch.zeros(1, 1, 33, 33)
    images[0, 0, 16, 16] = 1
    soft = blur(images, 2.0)
    assert math.isclose(float(soft.sum()), 1, rel_tol=1e-5)
    assert float(soft[0, 0, 16, 18] / soft[0, 0, 16, 16]) == pytest.approx(0.5)  # 2^-(x/sigma)² is a half at sigma
    assert blur(images, 0.3) is images

    def score(images: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
        return images.amax(dim=(1, 2, 3))[:, None]

    assert blurred(score, 0.0) is score
    assert float(blurred(score, 2.0)(images)) == float(soft.max())


def test_the_discriminator_of_r_sees_blurred_pictures_only_at_first() -> None:
    """The same step, with and without blur, gives other gradients; once it has faded, the same."""
    config, data = tiny_config("stylegan3-r", blur_fade_kimg=0.008), stripes()
    plain = replace(config, blur_sigma=0.0)
    for step, differ in ((0, True), (2, False)):
        losses = []
        for each in (config, plain):
            run = start_run(each, "cpu", None)
            run.step = step
            losses.append(train_step(run, each, data)["loss_D"])
        assert torch.equal(*losses) != differ
