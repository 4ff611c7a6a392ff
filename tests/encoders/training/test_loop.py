"""Training of every kind in a few steps: it goes down, resumes exactly, runs in two processes, and says what cannot be."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders.build import KINDS, encoder_for
from encoders.checkpoints import load_encoder
from encoders.training.config import PRESETS, training_config
from encoders.training.loop import lr_at, start_run, train_encoder
from invert.projectors.measures import Pixels
from stylegan_core.data.images import RenderedImages
from stylegan_core.errors import TrainingError, UsageError
from stylegan_core.features import load_features
from stylegan_core.provenance import model_sha256
from tests.tiny import tiny_generator

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def generator():
    return tiny_generator().requires_grad_(False)


def config_of(kind: str, generator, **options):
    """Four steps of four pictures."""
    fixed = {"batch": 4, "kimg": 0.016, "snapshot_kimg": 0.008, "lr": 2e-3, "perceptual": 0.0, "num_iterations": 2, "backbone": "tiny"}
    if PRESETS[kind].get("progressive_start_kimg") is not None:
        fixed |= {"progressive_start_kimg": 0.004, "progressive_every_kimg": 0.004}
    return training_config(kind, generator, **{**fixed, **options})


def start_for(kind: str, generator):
    if kind != "hyperstyle":
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return encoder_for(generator, "w", backbone="tiny").eval()


def started(kind: str, generator, config):
    """(configuration, start) that fit each other."""
    start = start_for(kind, generator)
    return (config, None) if start is None else (replace(config, encoder=replace(config.encoder, encoder=start.config)), start)


def run(kind: str, generator, output: Path, **options) -> Path:
    config, start = started(kind, generator, config_of(kind, generator, **options))
    return train_encoder(config, generator, output, generator_name="tiny", start=start)


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_leaves_an_encoder_a_sheet_and_a_log(kind: str, generator, tmp_path) -> None:
    newest = run(kind, generator, tmp_path)
    assert newest.name == "encoder-0000000.0.safetensors" or newest.exists()
    encoder = load_encoder(newest, generator=generator)
    facts = encoder.provenance
    assert facts["images_seen"] == 16 and math.isfinite(facts["held_out"]["psnr"]) and facts["training"]["kind"] == kind
    assert newest.with_suffix(".png").stat().st_size > 500
    steps = records(tmp_path)
    assert [record["step"] for record in steps] == [1, 2, 3, 4] and all(math.isfinite(record["loss"]) for record in steps)
    assert ("discriminator" in steps[0]) == kind.endswith("e4e") and ("delta" in steps[0]) == kind.endswith("e4e")
    assert not any(parameter.grad is not None for parameter in generator.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_stopping_and_resuming_equals_a_straight_run(kind: str, generator, tmp_path) -> None:
    straight = load_encoder(run(kind, generator, tmp_path / "straight"), generator=generator)
    config, start = started(kind, generator, config_of(kind, generator))
    train_encoder(config, generator, tmp_path / "parts", start=start, generator_name="tiny", callback=lambda info: info.step < 2)
    assert len(records(tmp_path / "parts")) == 2
    resumed = load_encoder(train_encoder(config, generator, tmp_path / "parts", start=start, generator_name="tiny"), generator=generator)
    assert model_sha256(resumed) == model_sha256(straight)
    losses = [[record["loss"] for record in records(tmp_path / name)] for name in ("straight", "parts")]
    assert losses[0] == losses[1]


def test_pictures_come_nearer(generator, tmp_path) -> None:
    newest = run("psp", generator, tmp_path, kimg=0.96, batch=16, snapshot_kimg=0.96, lr=3e-3, w_norm=0.0, latent=0.1, augment_prob=0.0)
    held_out = load_encoder(newest, generator=generator).provenance["held_out"]
    assert held_out["psnr"] > held_out["psnr_start"] + 0.5


def test_micro_batches_give_the_same_gradients_but_for_normalisation(generator, tmp_path) -> None:
    losses = [records_of_first(generator, tmp_path / str(micro), micro) for micro in (4, 2)]
    assert losses[0] == pytest.approx(losses[1], rel=0.2)


def records_of_first(generator, folder: Path, micro: int) -> float:
    run("psp", generator, folder, kimg=0.004, micro_batch=micro, augment_prob=0.0)
    return records(folder)[0]["loss"]


def test_real_pictures_and_both_mixed(generator, tmp_path) -> None:
    data = RenderedImages("stripes", lambda i: np.full((16, 16, 3), 16 * i, np.uint8), 8, 16)
    for share in (0.0, 0.5):
        config = config_of("e4e", generator, samples_share=share)
        train_encoder(config, generator, tmp_path / str(share), data=data)
        assert len(records(tmp_path / str(share))) == 4
    with pytest.raises(UsageError, match="there is no --data"):
        train_encoder(config_of("psp", generator, samples_share=0.5), generator, tmp_path / "none")
    large = RenderedImages("large", lambda i: np.zeros((32, 32, 3), np.uint8), 8, 32)
    with pytest.raises(UsageError, match="32 px, the generator makes 16 px"):
        train_encoder(config_of("psp", generator, samples_share=0.0), generator, tmp_path / "large", data=large)


@pytest.mark.parametrize("transform", ["super-resolution", "inpainting", "sketch", "tests.encoders.training.test_loop:darker"])
def test_image_to_image_tasks(transform: str, generator, tmp_path) -> None:
    channels = 1 if transform == "sketch" else 3
    config = config_of("psp", generator, source_transform=transform, in_channels=channels)
    newest = train_encoder(config, generator, tmp_path)
    encoder = load_encoder(newest, generator=generator)
    assert encoder.encode(torch.zeros(1, channels, 16, 16)).render(generator).shape == (1, 3, 16, 16)


def darker(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    return images - 0.2


def test_losses_that_look_at_pictures(generator, tmp_path) -> None:
    class Embedder:
        name = "mean"

        def embed(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3)) + 1.0

    config = config_of("psp", generator, perceptual=0.8, identity=0.5)
    train_encoder(config, generator, tmp_path / "a", measure=Pixels(), embedder=Embedder())
    assert {"pixel", "perceptual", "identity", "w_norm", "latent"} >= set(records(tmp_path / "a")[0]) - {"step", "kimg", "seconds", "loss"}
    with pytest.raises(UsageError, match=r"the identity loss has the weight 0\.5 but no network"):
        train_encoder(config, generator, tmp_path / "b", measure=Pixels())


def test_restyle_starts_from_an_encoder_of_one_pass(generator, tmp_path) -> None:
    first = load_encoder(run("psp", generator, tmp_path / "psp"), generator=generator)
    begun = start_run(config_of("restyle-psp", generator), generator, first)
    images = generator(torch.randn(2, generator.z_dim, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)
    begun.encoder.network.eval()
    with torch.no_grad():
        ws, _ = next(begun.encoder.passes(images))
        assert torch.allclose(ws, first(images), atol=1e-5)


def test_a_backbone_starts_from_an_attribute_network(generator, tmp_path) -> None:
    config = config_of("psp", generator, backbone="strided", backbone_start="portraits-features")
    filters = start_run(config, generator, None).encoder.network.backbone.stages[0].conv.weight
    assert torch.equal(filters, load_features("portraits-features").network.stages[0].conv.weight)
    train_encoder(config, generator, tmp_path)
    with pytest.raises(UsageError, match="use --backbone strided"):
        start_run(config_of("psp", generator, backbone_start="portraits-features"), generator, None)


def test_the_progressive_schedule_and_the_rate(generator) -> None:
    config = config_of("e4e", generator, progressive_start_kimg=1.0, progressive_every_kimg=0.5, kimg=10.0, decay_kimg=4.0, lr=1.0)
    assert [config.stage_at(nimg) for nimg in (0, 999, 1000, 1499, 1500, 99_000)] == [0, 0, 1, 1, 2, 5]
    assert config_of("psp", generator).stage_at(0) == 5
    assert lr_at(config, 0) == lr_at(config, 6000) == 1.0 and lr_at(config, 8000) == pytest.approx(0.5) and lr_at(config, 10_000) < 1e-9


def test_rows_stay_equal_until_their_stage(generator, tmp_path) -> None:
    config = config_of("e4e", generator, progressive_start_kimg=1.0, kimg=0.008)
    encoder = load_encoder(train_encoder(config, generator, tmp_path), generator=generator)
    ws = encoder.encode(generator(torch.randn(1, generator.z_dim)).clamp(-1, 1)).latent.value
    assert torch.allclose(ws, ws[:, :1].expand_as(ws), atol=1e-5)


def test_another_configuration_is_refused(generator, tmp_path) -> None:
    run("psp", generator, tmp_path)
    with pytest.raises(TrainingError, match="a run with another lr"):
        run("psp", generator, tmp_path, lr=1e-3)
    with pytest.raises(TrainingError, match="a run with another generator"):
        run("psp", tiny_generator(seed=1).requires_grad_(False), tmp_path)


@pytest.mark.parametrize("options, message", [
    ({"batch": 4, "micro_batch": 3}, "is not a multiple of --micro-batch"),
    ({"precision": "fp8"}, "fp32 or bf16"),
    ({"mixing_prob": 2.0}, "0 to 1"),
    ({"pixel": -1.0}, "0 or more"),
    ({"kimg": 0.0}, "above 0"),
    ({"progressive_start_kimg": 1.0}, "adds deltas of e4e; psp has none"),
    ({"pixel": 0.0, "latent": 0.0, "w_norm": 0.0}, "every loss has the weight 0"),
])  # fmt: skip
def test_numbers_that_cannot_work_are_named(options: dict, message: str, generator) -> None:
    with pytest.raises(UsageError, match=message):
        config_of("psp", generator, **options)


WORKER = """
import sys, torch
from stylegan_core.training.distributed import start_processes
from tests.encoders.training.test_loop import config_of
from encoders.training.loop import train_encoder
from tests.tiny import tiny_generator
start_processes("cpu")
generator = tiny_generator().requires_grad_(False)
train_encoder(config_of("e4e", generator), generator, sys.argv[1])
"""


def test_two_processes_agree(tmp_path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], env={**shared, "RANK": str(rank)}, cwd=ROOT) for rank in range(2)
    ]
    assert [worker.wait(timeout=900) for worker in workers] == [0, 0]
    ours, theirs = ([json.loads(line) for line in (tmp_path / name).read_text().splitlines()] for name in ("log.jsonl", "log.1.jsonl"))
    assert len(ours) == len(theirs) == 4 and ours[0]["loss"] != theirs[0]["loss"]  # each had its own half of the batch
    encoder = load_encoder(sorted(tmp_path.glob("encoder-*.safetensors"))[-1], generator=tiny_generator())
    assert encoder.provenance["images_seen"] == 16
