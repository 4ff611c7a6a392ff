"""The schedule of growing, and the rows of StyleGAN's Table 1 as runs: they move, snapshots load, a resume equals the straight run."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from stylegan_core.checkpoints.registry import load_discriminator, load_generator
from stylegan_core.data.images import batch_indices, stream_indices
from stylegan_core.errors import UsageError
from stylegan_core.networks.configs import StyleGAN2Config, StyleGAN2DiscriminatorConfig
from stylegan_core.training.config import TrainingConfig, preset_config
from stylegan_core.training.growing import Growing, at_level, is_snapshot_due, nimg_at, num_steps, stage_at, stretches
from stylegan_core.training.loop import train_generator
from stylegan_core.training.stylegan1_presets import PRESETS
from tests.stylegan_core.training.test_loop import blobs
from tests.tiny import tiny_stylegan1


def tiny_config(preset: str = "stylegan1-f", **options: Any) -> TrainingConfig:
    """16 px, from 4 px on, in 17 steps; batches of 8, and of 4 at 16 px."""
    config = preset_config(preset, resolution=16, w_dim=16, channel_base=256, channel_max=16,
                           **{"kimg": 0.096, "batch": 8, "lr": 0.002, "snapshot_kimg": 0.04, **options})
    assert config.growing is not None
    return replace(config, growing=replace(config.growing, initial_resolution=4, training_kimg=0.016, transition_kimg=0.016,
                                           batches={16: 4}, lrs={16: 0.001})).validate()


def official_lod(kimg: float, growing: Growing, resolution: int) -> float:
    """Karras et al. 2018, Sec. 2 and App. A.1, as one formula in thousands of images."""
    phase = growing.training_kimg + growing.transition_kimg
    index = math.floor(kimg / phase)
    faded = max(kimg - index * phase - growing.training_kimg, 0) / growing.transition_kimg
    return max(math.log2(resolution) - math.log2(growing.initial_resolution) - index - faded, 0)


@pytest.mark.parametrize("resolution, initial", [(1024, 8), (64, 4), (8, 8)])
def test_levels_of_detail_follow_the_formula(resolution: int, initial: int) -> None:
    growing = Growing(initial_resolution=initial)
    for kimg in (0, 1, 599.999, 600, 600.001, 900, 1199.9, 1200, 1800, 2345.6, 9000, 25000):
        assert growing.lod(round(kimg * 1000), resolution) == pytest.approx(official_lod(kimg, growing, resolution), abs=1e-9)


def test_steps_and_images_of_the_paper_run() -> None:
    config = preset_config("stylegan1-f", resolution=1024)
    sizes = [(stretch.resolution, stretch.batch, stretch.lr) for stretch in stretches(config)]
    assert sizes == [(8, 256, 0.001), (16, 128, 0.001), (32, 64, 0.001), (64, 32, 0.001), (128, 32, 0.0015), (256, 32, 0.002),
                     (512, 32, 0.003), (1024, 32, 0.003)]
    for stretch in list(stretches(config))[1:]:
        before, first = stage_at(config, stretch.first_step - 1), stage_at(config, stretch.first_step)
        assert before.resolution * 2 == first.resolution and math.floor(before.lod) == math.floor(first.lod) + 1
        assert first.nimg == before.nimg + before.batch and first.is_new and first.options == {"lod": first.lod}
    last = num_steps(config)
    assert nimg_at(config, last - 1) < 25_000_000 <= nimg_at(config, last) and stage_at(config, last).lod == 0
    assert stage_at(config, 2).nimg == 512 and not stage_at(config, 2).is_new


def test_a_shorter_run_grows_by_the_same_share() -> None:
    config = preset_config("stylegan1-f", resolution=32, kimg=100)
    assert config.growing is not None and config.growing.training_kimg == pytest.approx(2.4)
    assert stage_at(config, num_steps(config)).lod == 0
    assert preset_config("stylegan1-a", resolution=32, kimg=100).growing.training_kimg == pytest.approx(5.0)
    longer = preset_config("stylegan1-f", resolution=32, kimg=100, growing_kimg=10)
    assert longer.growing.transition_kimg == 10
    shortest = preset_config("stylegan1-a", resolution=32, kimg=0.01, batch=8)
    assert [stretch.num_steps for stretch in stretches(shortest)] == [1, 0, 0, None]  # one step leaps over two sizes
    assert [stage_at(shortest, step).resolution for step in range(3)] == [4, 32, 32]
    assert {stretch.batch for stretch in stretches(preset_config("stylegan1-f", resolution=32, batch=16))} == {16}


def test_without_growing_nothing_changes() -> None:
    config = preset_config("portraits64", resolution=64, batch=24, kimg=1, snapshot_kimg=0.1)
    assert num_steps(config) == 42 and nimg_at(config, 7) == 168
    assert stage_at(config, 7).options == {} and stage_at(config, 7).lod == 0
    assert [step for step in range(1, 13) if is_snapshot_due(config, step)] == [4, 8, 12]


def test_the_stream_of_pictures_goes_on_when_the_batch_changes() -> None:
    shown = np.concatenate([stream_indices(10, 4, 0, seed=3), stream_indices(10, 2, 4, seed=3), stream_indices(10, 4, 6, seed=3)])
    assert np.array_equal(shown, np.concatenate([batch_indices(10, 2, step, seed=3) for step in range(5)]))


@pytest.mark.parametrize("lod", [0.0, 0.25, 1.0, 1.75])
def test_real_pictures_fade_as_the_generated_do(lod: float) -> None:
    generator = tiny_stylegan1()
    pictures = torch.randn(2, 3, 16, 16)
    shown = at_level(pictures, lod)
    assert shown.shape == generator(torch.randn(2, 16), lod=lod).shape
    if lod % 1:
        low = torch.nn.functional.avg_pool2d(shown, 2)  # fading leaves the means of 2×2 pixels as they are
        assert torch.allclose(low, at_level(pictures, math.ceil(lod)), atol=1e-5)


def contents(path: Path) -> dict[str, np.ndarray]:
    return load_file(str(path / "state.safetensors"))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_run_of_every_row(preset: str, tmp_path: Path) -> None:
    config = tiny_config(preset)
    assert [stretch.num_steps for stretch in stretches(config)] == [3, 4, None] and num_steps(config) == 17
    newest = train_generator(config, blobs(), tmp_path / "straight")
    for stop in (3, 9):  # in the first fade, behind the second doubling
        train_generator(config, blobs(), tmp_path / "stopped", callback=lambda info, stop=stop: info.step != stop)
    fading = load_generator(sorted((tmp_path / "stopped").glob("snapshot-*"))[0])
    assert 1 < fading.config.lod < 2 and fading(torch.randn(1, 16)).shape == (1, 3, 16, 16)
    train_generator(config, blobs(), tmp_path / "stopped")
    straight, stopped = contents(tmp_path / "straight"), contents(tmp_path / "stopped")
    assert straight.keys() == stopped.keys() and all(np.array_equal(straight[key], stopped[key]) for key in straight)
    log = [json.loads(line) for line in (tmp_path / "straight" / "log.jsonl").read_text().splitlines()]
    assert [record["kimg"] for record in log[:4]] == [0.008, 0.016, 0.024, 0.032] and log[-1]["kimg"] == 0.096
    assert len({round(record["loss_D"], 6) for record in log}) == len(log)
    assert all(np.isfinite(list(record.values())).all() for record in log)
    assert ("r1" in log[0]) == (preset != "stylegan1-a") and config.loss == ("wgan-gp" if preset == "stylegan1-a" else "non-saturating")
    generator = load_generator(newest)
    discriminator = load_discriminator(newest.with_name(newest.name.replace("snapshot", "discriminator")))
    images = generator(torch.randn(4, 16, generator=torch.Generator().manual_seed(0)))
    assert generator.config.lod == 0 and images.shape == (4, 3, 16, 16) and discriminator(images).shape == (4, 1)
    assert generator.provenance["source"]["images_seen"] == 96


def test_rates_follow_the_size_and_moments_are_forgotten(tmp_path: Path) -> None:
    from stylegan_core.training.loop import start_run, train_step

    config, seen = tiny_config(), []
    run = start_run(config, "cpu", None)
    for _ in range(9):
        train_step(run, config, blobs())
        run.step += 1
        optimiser = run.optimisers["opt_D"]
        steps = {int(entry["step"]) for entry in optimiser.state.values()}
        seen.append((optimiser.param_groups[0]["lr"], max(steps)))
    assert seen == [(0.002, 1), (0.002, 2), (0.002, 3), (0.002, 1), (0.002, 1), (0.002, 2), (0.002, 3), (0.001, 1), (0.001, 2)]


def test_r1_in_every_step_is_one_step_with_the_loss(tmp_path: Path) -> None:
    from stylegan_core.training.loop import start_run

    run = start_run(tiny_config(), "cpu", None)
    assert run.optimisers["opt_D"].param_groups[0]["lr"] == 0.002
    train_generator(tiny_config(kimg=0.008), blobs(), tmp_path)
    steps = {key: float(value) for key, value in contents(tmp_path).items() if key.startswith("opt_D.") and key.endswith(".step")}
    assert steps and set(steps.values()) == {1.0}


SMALL = dict(img_resolution=16, channel_base=128, channel_max=16)
STYLEGAN2 = {"generator": StyleGAN2Config(z_dim=16, w_dim=16, **SMALL), "discriminator": StyleGAN2DiscriminatorConfig(**SMALL)}


@pytest.mark.parametrize("change, words", [
    (STYLEGAN2, "no lower levels"),
    ({"growing": Growing(initial_resolution=6)}, "power of two"), ({"growing": Growing(training_kimg=0, transition_kimg=0)}, "more than 0"),
    ({"anchor_weight": 1.0}, "anchor-weight"), ({"compile": True}, "--compile"), ({"loss": "hope"}, "wgan-gp"),
    ({"growing": Growing(initial_resolution=4, batches={8: 6})}, "6 images per step at 8 px"),
])  # fmt: skip
def test_a_schedule_that_cannot_work_is_refused_before_the_first_step(change: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        replace(tiny_config(), **change).validate()
    with pytest.raises(UsageError, match="does not grow"):
        preset_config("small", resolution=16, growing_kimg=3)
