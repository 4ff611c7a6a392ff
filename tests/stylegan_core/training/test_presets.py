"""Presets as data, and every preset in small: a loss that moves, a snapshot that loads, a resume that equals the straight run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from stylegan_core.checkpoints.registry import load_discriminator, load_generator
from stylegan_core.data.images import RenderedImages
from stylegan_core.errors import TrainingError, UsageError
from stylegan_core.training.config import PRESET_NAMES, PRESETS, auto_preset, blocks_for, preset_config
from stylegan_core.training.fitness import check_data
from stylegan_core.training.freeze import layers_of
from stylegan_core.training.loop import start_run, train_generator, train_step
from stylegan_core.training.stylegan1_presets import PRESETS as STYLEGAN1

NARROW: dict[str, Any] = dict(channel_base=64, channel_max=8, batch=4, kimg=0.016, snapshot_kimg=0.008, r1_every=2, pl_every=2)
CKPT = Path(__file__).parents[2] / "golden" / "ckpt"


def discs(shape: tuple[int, int] = (16, 16), channels: int = 3, classes: int = 0, count: int = 24) -> RenderedImages:
    def draw(index: int) -> np.ndarray:
        rng = np.random.default_rng(index)
        y, x = np.mgrid[: shape[0], : shape[1]]
        inside = (y - rng.uniform(5, 11)) ** 2 + (x - rng.uniform(5, 11)) ** 2 < 16
        return np.where(inside[:, :, None], rng.integers(128, 256, channels), 30).astype(np.uint8)

    labels = np.eye(classes, dtype=np.float32)[np.arange(count) % classes] if classes else None
    return RenderedImages("discs", draw, count, shape, channels, labels)


def narrow(preset: str, shape: tuple[int, int] = (16, 16), **options: Any) -> Any:
    """A preset made narrow; one that grows goes from 8 to 16 px within the second of four steps."""
    lazy = preset_config(preset, resolution=16).r1_every > 1  # else the regulariser belongs to every step of the preset
    chosen = {**NARROW, **({} if lazy else {"r1_every": 1}), **options}
    if preset in STYLEGAN1:
        del chosen["pl_every"]
        return preset_config(preset, resolution=shape, **{"w_dim": 8, "growing_kimg": 0.003, **chosen})
    config = preset_config(preset, resolution=shape, **chosen)
    small: dict[str, Any] = dict(z_dim=8, w_dim=8, mapping_layers=2)
    small |= {"num_layers": 4} if config.generator.kind == "stylegan3" else {}
    discriminator = replace(config.discriminator, mbstd_group_size=min(config.discriminator.mbstd_group_size, 2))
    return replace(config, generator=replace(config.generator, **small), discriminator=discriminator)


RUNS: dict[str, tuple[Any, Any]] = {
    **{name: (lambda name=name: narrow(name), discs) for name in PRESET_NAMES},
    "conditional": (lambda: narrow("small", c_dim=3), lambda: discs(classes=3)),
    "conditional StyleGAN": (lambda: narrow("stylegan1-f", c_dim=3, augment="bgc"), lambda: discs(classes=3)),
    "conditional StyleGAN3": (lambda: narrow("stylegan3-r", c_dim=3, augment="bg", augment_p=0.5), lambda: discs(classes=3)),
    "grey": (lambda: narrow("auto", img_channels=1), lambda: discs(channels=1)),
    "grey StyleGAN": (lambda: narrow("stylegan1-a", img_channels=1), lambda: discs(channels=1)),
    "rgba": (lambda: narrow("paper256", img_channels=4, augment_p=0.5), lambda: discs(channels=4)),
    "rectangle": (lambda: narrow("config-e", (24, 16)), lambda: discs((24, 16))),
    "minimax": (lambda: narrow("small", loss="minimax", d_steps=2), discs),
    "minimax of a StyleGAN": (lambda: narrow("stylegan1-f", loss="minimax", d_steps=2, micro_batch=2), discs),
    "hinge with R2": (lambda: narrow("cifar", loss="hinge", r2_gamma=1.0, augment="diff"), discs),
    "WGAN-GP": (lambda: narrow("config-d", loss="wgan-gp", augment="bgc", micro_batch=2), discs),
    "checkpointed": (lambda: narrow("stylegan3-t", checkpoint_activations=True, mirror=True), discs),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_moves_loads_and_resumes(name: str, tmp_path: Path) -> None:
    config, data = replace(RUNS[name][0](), snapshot_kimg=1.0), RUNS[name][1]()  # one snapshot, at the end or where it is stopped
    newest = train_generator(config, data, tmp_path / "straight")
    train_generator(config, data, tmp_path / "stopped", callback=lambda info: info.step != 3)
    train_generator(config, data, tmp_path / "stopped")
    one, other = (load_file(str(tmp_path / folder / "state.safetensors")) for folder in ("straight", "stopped"))
    assert one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)
    records = [json.loads(line) for line in (tmp_path / "straight" / "log.jsonl").read_text().splitlines()]
    assert len(records) == 4 and len({record["loss_D"] for record in records}) == len({record["loss_G"] for record in records}) == 4
    for key, is_on in (("r1", config.r1_gamma > 0), ("r2", config.r2_gamma > 0), ("path_length", config.pl_weight > 0),
                       ("gradient_penalty", config.loss == "wgan-gp")):
        assert (key in records[0]) == is_on, key
    generator = load_generator(newest)
    discriminator = load_discriminator(newest.with_name(newest.name.replace("snapshot", "discriminator")))
    c = torch.eye(config.generator.c_dim)[:1].expand(2, -1) if config.generator.c_dim else None
    images = generator(torch.randn(2, 8), c)
    assert images.shape == (2, data.channels, *data.shape) and discriminator(images, c).shape == (2, 1)


def test_presets_are_those_of_the_papers() -> None:
    for name in PRESET_NAMES:
        config = preset_config(name, resolution=64)
        assert config.generator.img_shape == config.discriminator.img_shape == (64, 64)
    assert [PRESETS[f"config-{row}"].options["r1_gamma"] for row in "bcdef"] == [10, 10, 10, 100, 10]
    assert [preset_config(f"config-{row}", resolution=64).generator.architecture for row in "bcdef"] == ["orig"] * 3 + ["skip"] * 2
    assert preset_config("config-b", resolution=64).r1_every == 1 and preset_config("config-c", resolution=64).pl_weight == 0
    grid = preset_config("config-e-Gresnet-Dskip", resolution=64)
    assert (grid.generator.architecture, grid.discriminator.architecture) == ("resnet", "skip")
    assert not preset_config("no-demodulation", resolution=64).generator.demodulate
    assert preset_config("config-a", resolution=64) == preset_config("stylegan1-f", resolution=64)


def test_a_loss_brings_its_own_regularisers() -> None:
    for preset in ("small", "stylegan1-f", "stylegan3-t"):
        config = preset_config(preset, resolution=16, loss="wgan-gp")
        assert config.loss == "wgan-gp" and config.r1_gamma == 0
        assert preset_config(preset, resolution=16, loss="wgan-gp", r1_gamma=3.0).r1_gamma == 3
        assert preset_config(preset, resolution=16, loss="hinge").r1_gamma == preset_config(preset, resolution=16).r1_gamma > 0


@pytest.mark.parametrize("preset", ["stylegan1-a", "config-a", "stylegan3-t"])
def test_squares_alone_where_the_network_has_no_constant_of_another_shape(preset: str) -> None:
    for shape in ((48, 32), (24, 24)):
        with pytest.raises(UsageError, match=f"{preset} makes squares"):
            preset_config(preset, resolution=shape)


@pytest.mark.parametrize(("resolution", "gpus", "expected"), [
    (256, 1, (16, 0.0025, 0.8192, 5.0)), (1024, 8, (32, 0.002, 6.5536, 10.0)), (64, 1, (32, 0.0025, 0.0256, 10.0))])
def test_auto_follows_the_resolution_and_the_processes(resolution: int, gpus: int, expected: tuple) -> None:
    options = auto_preset(resolution, gpus).options
    assert (options["batch"], options["lr"], options["r1_gamma"], options["ema_kimg"]) == pytest.approx(expected)
    assert auto_preset(512).channel_base == 2 * auto_preset(256).channel_base


def test_sizes_become_a_constant_and_doublings() -> None:
    assert blocks_for((512, 384)) == (512, (4, 3)) and blocks_for((48, 32)) == (32, (6, 4)) and blocks_for((64, 64)) == (64, (4, 4))
    for wrong in ((100, 100), (1280, 720), (3, 3), (4, 1000)):
        with pytest.raises(UsageError, match="such as"):
            blocks_for(wrong)


@pytest.mark.parametrize("change", [{"loss": "wasser"}, {"augment": "bgd"}, {"augment_p": 0.5}, {"augment": "bgc", "augment_p": 2.0},
                                    {"d_steps": 0}, {"ada_kimg": 0.0}, {"ada_target": 3.0}, {"r2_gamma": -1.0}, {"freeze_d": -1}])
def test_options_that_cannot_work_are_refused(change: dict) -> None:
    with pytest.raises(UsageError):
        replace(narrow("small"), **change).validate()


@pytest.mark.parametrize(("data", "words"), [
    (lambda: discs((32, 32)), r"32 px.*--resolution 16"), (lambda: discs(channels=1), "--channels 3"),
    (lambda: discs(classes=3), "leave --cond out"), (lambda: discs(count=1), "holds one picture")])
def test_data_that_do_not_fit_are_refused_before_anything(data, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        train_generator(narrow("small"), data(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="give --cond"):
        check_data(narrow("small", c_dim=3), discs())


def test_a_resume_with_other_options_names_them(tmp_path: Path) -> None:
    config = narrow("small")
    train_generator(config, discs(), tmp_path, callback=lambda info: False)
    with pytest.raises(TrainingError, match=r"another r1_gamma: 0.1, not 3.0 \(and 1 more options\)"):
        train_generator(replace(config, r1_gamma=3.0, augment="bgc"), discs(), tmp_path)
    with pytest.raises(TrainingError, match=r"another generator.w_dim: 8, not 16"):
        train_generator(replace(config, generator=replace(config.generator, w_dim=16)), discs(), tmp_path)
    train_generator(replace(config, micro_batch=2, kimg=0.008), discs(), tmp_path)  # these may change


def test_freezing_holds_the_first_layers(tmp_path: Path) -> None:
    config = replace(narrow("small"), freeze_d=3)
    run = start_run(config, "cpu", None)
    before = {name: value.clone() for name, value in run.discriminator.named_parameters()}
    train_step(run, config, discs())
    moved = {name for name, value in run.discriminator.named_parameters() if not torch.equal(value, before[name])}
    first = [name for name, _ in layers_of(run.discriminator)[:3]]
    assert first == ["b16.fromrgb", "b16.conv0", "b16.conv1"]
    assert moved and not any(name.startswith(tuple(first)) for name in moved) and any(name.startswith("b8") for name in moved)
    with pytest.raises(UsageError, match="--freeze-d 99"):
        start_run(replace(config, freeze_d=99), "cpu", None)


@pytest.mark.parametrize("file", ["sg2ada_cond.pkl", "sg2ada_uncond.pkl", "ros_g32.pt"])
def test_training_goes_on_from_any_checkpoint(file: str, tmp_path: Path) -> None:
    networks = {"G": load_generator(CKPT / file), "D": load_discriminator(CKPT / file)}
    facts = networks["G"].config
    config = replace(narrow("small"), generator=facts, discriminator=networks["D"].config, freeze_d=2, kimg=0.004, augment="bgc")
    data = discs(facts.img_shape, classes=facts.c_dim)
    child = load_generator(train_generator(config.validate(), data, tmp_path, transfer=networks))
    apart = [float((a - b).abs().max()) for a, b in zip(child.parameters(), networks["G"].parameters())]
    assert 0 < max(apart) < 0.2


def test_the_adaptive_probability_rises_is_saved_and_comes_back(tmp_path: Path) -> None:
    config = replace(narrow("small"), augment="bg", ada_kimg=0.1, ada_every=1, ada_target=-0.99)
    seen: list[float] = []
    train_generator(config, discs(), tmp_path, callback=lambda info: seen.append(float(info.parts["augment_p"])))
    assert seen == pytest.approx([0.04, 0.08, 0.12, 0.16])
    run = start_run(config, "cpu", None)
    train_generator(replace(config, kimg=0.02), discs(), tmp_path, callback=lambda info: seen.append(float(info.parts["augment_p"])))
    assert seen[-1] == pytest.approx(0.2) and float(run.augmentation.p) == 0


def test_mixing_rows_begin_at_the_second_and_take_a_share() -> None:
    from stylegan_core.training.steps import mixed_ws
    from tests.tiny import tiny_generator

    generator, count = tiny_generator(), 300
    z = torch.randn(count, 16, generator=torch.Generator().manual_seed(0))
    streams = [torch.Generator().manual_seed(i) for i in range(count)]
    ws = mixed_ws(generator, z, None, streams, 0.5)
    own = generator.mapping(z)
    assert torch.equal(ws[:, 0], own[:, 0])
    mixed = (ws != own).flatten(1).any(dim=1)
    assert 0.4 < mixed.float().mean() < 0.6
    switches = (ws[mixed] == own[mixed]).all(dim=2).sum(dim=1)
    assert set(switches.tolist()) == set(range(1, generator.num_ws))
