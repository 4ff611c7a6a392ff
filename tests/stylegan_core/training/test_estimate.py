"""What a run will need: counted bytes against real ones, advice, time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stylegan_core.errors import MissingExtraError, UsageError
from stylegan_core.networks.build import build
from stylegan_core.training.config import preset_config
from stylegan_core.training.estimate import Estimate, _kept, check_fits, estimate, may_be_large
from stylegan_core.training.tensorboard import TensorBoardLog


def test_counted_bytes_are_those_that_autograd_keeps() -> None:
    x = torch.randn(4, 8, requires_grad=True)
    with _kept() as sizes:
        hidden = (x * 2).exp()  # kept for its own gradient
        hidden.square().sum()   # keeps it again: the same storage
    assert sum(sizes.values()) == 4 * 8 * 4


def test_a_small_run() -> None:
    config = preset_config("portraits64", resolution=32, kimg=10.0)
    found = estimate(config)
    generator, discriminator = build(config.generator), build(config.discriminator)
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in (("G", generator), ("D", discriminator))}
    assert found.parameters == counts
    assert found.steps == 625 and found.seconds_per_step is None and found.days is None
    assert found.memory(8) < found.memory() == found.memory(16) < 3e9
    more = estimate(replace(config, batch=32))
    assert more.products == pytest.approx(2 * found.products) and more.image_bytes == pytest.approx(found.image_bytes, rel=0.01)
    wider = estimate(preset_config("portraits64", resolution=32, channel_base=4096, channel_max=384))
    assert wider.products > 2 * found.products and wider.state_bytes > 2 * found.state_bytes


@pytest.mark.parametrize("preset", ["stylegan1-a", "stylegan1-f", "stylegan3-r"])
def test_every_family_is_counted_and_timed(preset: str) -> None:
    config = preset_config(preset, resolution=16, kimg=1.6, channel_base=128, channel_max=8, batch=16)
    found = estimate(config, device=torch.device("cpu"))
    assert found.parameters["G"] == sum(p.numel() for p in build(config.generator).parameters())
    assert found.micro_batch == 16 and found.image_bytes > 0 and found.seconds_per_step is not None and found.seconds_per_step > 0
    if config.growing is not None:
        small = replace(config, growing=replace(config.growing, training_kimg=100.0))  # never leaves its first size
        assert estimate(small).products < found.products and estimate(small).image_bytes < found.image_bytes
    assert not may_be_large(config, 1, 8 * 10**9) and may_be_large(preset_config(preset, resolution=1024), 1, 8 * 10**9)


def test_time_is_measured_on_the_device() -> None:
    found = estimate(preset_config("portraits64", resolution=16, kimg=1.6), device=torch.device("cpu"))
    assert found.seconds_per_step is not None and 0 < found.seconds_per_step < 600
    assert found.days == pytest.approx(found.seconds_per_step * 100 / 86400)
    assert set(found.to_dict()) >= {"gigabytes", "days", "seconds_per_step", "parameters"}


def test_a_run_that_does_not_fit_is_refused_with_advice() -> None:
    found = Estimate({"G": 1, "D": 1}, 1.0, 10**9, 10**9, micro_batch=32, smallest=4, seconds_per_step=None, steps=1)
    check_fits(found, None, "config-f")
    check_fits(found, 40 * 10**9, "config-f")
    with pytest.raises(UsageError, match=r"about 33.4 GB with 32 images per pass, and 12.0 GB are free; use --micro-batch 8"):
        check_fits(found, 12 * 10**9, "config-f")
    with pytest.raises(UsageError, match="smaller preset"):
        check_fits(found, 2 * 10**9, "config-f")


def test_the_rule_of_thumb_lets_small_runs_pass_at_once() -> None:
    assert not may_be_large(preset_config("portraits64", resolution=64), 1, 8 * 10**9)
    assert may_be_large(preset_config("config-f", resolution=1024), 1, 80 * 10**9)


def test_tensorboard_writes_or_says_what_is_missing(tmp_path) -> None:
    from stylegan_core.progress import StepInfo

    info = StepInfo(3, 4, torch.ones(2), {"loss_G": torch.ones(2)})
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError, match="train"):
            TensorBoardLog(tmp_path, lambda step: step * 8)
        return
    log = TensorBoardLog(tmp_path, lambda step: step * 8)
    log(info)
    log.close()
    assert any(file.stat().st_size > 50 for file in tmp_path.iterdir())
