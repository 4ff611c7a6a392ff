"""The trainer: exact resume, snapshots, stopping, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan_core.checkpoints.registry import load_discriminator, load_generator
from stylegan_core.data.images import RenderedImages, batch_indices
from stylegan_core.errors import TrainingError, UsageError
from stylegan_core.networks.configs import StyleGAN2Config, StyleGAN2DiscriminatorConfig
from stylegan_core.training.config import TrainingConfig, preset_config
from stylegan_core.training.loop import train_generator

SHARED = dict(img_resolution=16, channel_base=128, channel_max=16)
TINY = TrainingConfig(
    StyleGAN2Config(z_dim=16, w_dim=16, mapping_layers=2, **SHARED), StyleGAN2DiscriminatorConfig(**SHARED),
    batch=8, kimg=0.08, snapshot_kimg=0.04, r1_every=4, pl_every=2)


def blobs(count: int = 40) -> RenderedImages:
    """Discs of random colour and place."""

    def draw(index: int) -> np.ndarray:
        rng = np.random.default_rng(index)
        y, x = np.mgrid[:16, :16]
        inside = (y - rng.uniform(5, 11)) ** 2 + (x - rng.uniform(5, 11)) ** 2 < 16
        return np.where(inside[:, :, None], rng.integers(128, 256, 3), 30).astype(np.uint8)

    return RenderedImages("blobs", draw, count, 16)


def contents(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(str(path))


def test_stop_and_resume_equals_a_straight_run_bit_for_bit(tmp_path: Path) -> None:
    train_generator(TINY, blobs(), tmp_path / "straight")
    train_generator(TINY, blobs(), tmp_path / "stopped", callback=lambda info: info.step != 7)
    train_generator(TINY, blobs(), tmp_path / "stopped")
    straight, stopped = (contents(tmp_path / name / "state.safetensors") for name in ("straight", "stopped"))
    assert straight.keys() == stopped.keys() and len(straight) > 100
    assert all(np.array_equal(straight[key], stopped[key]) for key in straight)
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("straight", "stopped")]
    losses = [[(record["step"], record["loss_G"]) for record in map(json.loads, log)] for log in logs]
    assert losses[0] == losses[1] and len(losses[0]) == 10


def test_snapshots_load_and_differ_from_the_start(tmp_path: Path) -> None:
    newest = train_generator(TINY, blobs(), tmp_path)
    generator, discriminator = load_generator(newest), load_discriminator(tmp_path / newest.name.replace("snapshot", "discriminator"))
    z = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    images = generator(z)
    assert images.shape == (4, 3, 16, 16) and discriminator(images).shape == (4, 1)
    first = load_generator(tmp_path / "snapshot-0000000.0.safetensors")  # after 40 images
    assert not torch.equal(first(z), images)
    assert generator.w_avg.abs().sum() > 0
    assert (tmp_path / (newest.stem.replace("snapshot", "samples") + ".png")).stat().st_size > 1000


def test_a_stopped_run_names_its_snapshot_and_a_finished_one_refuses(tmp_path: Path) -> None:
    newest = train_generator(TINY, blobs(), tmp_path, callback=lambda info: False)
    assert newest.exists()
    final = train_generator(TINY, blobs(), tmp_path)
    assert final == train_generator(TINY, blobs(), tmp_path)  # nothing left to do: the same snapshot


def test_another_configuration_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    train_generator(TINY, blobs(), tmp_path, callback=lambda info: False)
    with pytest.raises(TrainingError, match="another lr"):
        train_generator(replace(TINY, lr=0.1), blobs(), tmp_path)


def test_a_loss_that_is_not_finite_stops_and_names_the_last_good_snapshot(tmp_path: Path) -> None:
    train_generator(TINY, blobs(), tmp_path, callback=lambda info: info.step != 6)

    class Broken(RenderedImages):
        def images_u8(self, indices):
            return np.full([len(indices), 3, 16, 16], np.nan, dtype=np.float32)

    with pytest.raises(TrainingError, match=r"not finite at step 7.*last good snapshot is .*snapshot-"):
        train_generator(TINY, Broken("blobs", lambda i: np.zeros([16, 16, 3]), 40, 16), tmp_path)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    train_generator(TINY, blobs(), tmp_path, callback=lambda info: False)
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(TrainingError, match="not a readable training state"):
        train_generator(TINY, blobs(), tmp_path)


def test_transfer_starts_from_given_weights(tmp_path: Path) -> None:
    newest = train_generator(TINY, blobs(), tmp_path / "a")
    parent = load_generator(newest)
    config = replace(TINY, kimg=0.008, snapshot_kimg=1, ema_kimg=1e-6, ema_rampup=None, lr=1e-9)
    child = load_generator(train_generator(config, blobs(), tmp_path / "b", transfer={"G": parent}))
    weights, other = parent.state_dict(), child.state_dict()
    assert torch.allclose(weights["synthesis.b16.conv1.weight"], other["synthesis.b16.conv1.weight"], atol=1e-6)


@pytest.mark.parametrize("change", [{"batch": 0}, {"micro_batch": 3}, {"precision": "fp8"}, {"kimg": 0}, {"anchor_weight": -1},
                                    {"anchor_weight": 1, "mirror": True}])
def test_numbers_that_cannot_work_are_refused_before_the_first_step(change: dict) -> None:
    with pytest.raises(UsageError):
        replace(TINY, **change).validate()


def test_presets_build_valid_configurations() -> None:
    config = preset_config("portraits64", resolution=64)
    assert [config.generator.width(r) for r in (4, 8, 16, 32, 64)] == [192, 192, 128, 64, 32]
    assert [config.discriminator.width(r) for r in (4, 8, 16, 32, 64)] == [192, 128, 64, 32, 16]
    with pytest.raises(UsageError, match="config-e"):
        preset_config("config-z", resolution=64)


def test_data_order_shows_every_picture_once_an_epoch() -> None:
    shown = np.concatenate([batch_indices(10, 4, step, seed=3) for step in range(5)])
    assert sorted(shown[:10]) == list(range(10)) and sorted(shown[10:]) == list(range(10))
    assert not np.array_equal(shown[:10], shown[10:])
    assert np.array_equal(batch_indices(10, 4, 2, seed=3), shown[8:12])


def test_noise_waits_for_its_delay(tmp_path: Path) -> None:
    config = replace(TINY, kimg=0.032, noise_delay_kimg=0.016, snapshot_kimg=0.016, ema_kimg=1e-6, ema_rampup=None)

    def strengths(path: Path) -> float:
        return sum(float(p.abs().sum()) for name, p in load_generator(path).named_parameters() if name.endswith("noise_strength"))

    train_generator(config, blobs(), tmp_path / "early", callback=lambda info: info.step != 2)
    assert strengths(next((tmp_path / "early").glob("snapshot-*"))) == 0
    assert strengths(train_generator(config, blobs(), tmp_path / "whole")) > 0


def test_micro_batches_train_too(tmp_path: Path) -> None:
    newest = train_generator(replace(TINY, micro_batch=4, kimg=0.016), blobs(), tmp_path)
    record = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert newest.exists() and np.isfinite(record["loss_D"]) and record["step"] == 2
