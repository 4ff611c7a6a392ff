"""The report behind `invert metrics`, with a tiny generator and a tiny judge."""

from __future__ import annotations

import json

import pytest
import torch

from stylegan_core.data.images import portraits
from stylegan_core.data.portraits import ATTRIBUTES, BINARY_ATTRIBUTES
from stylegan_core.errors import UsageError
from stylegan_core.features import Features
from stylegan_core.metrics.registry import DEFAULTS, METRICS
from stylegan_core.metrics.report import measure_generator
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import AttributeNetworkConfig, StyleGAN2Config


@pytest.fixture(scope="module")
def judge() -> Features:
    config = AttributeNetworkConfig("residual", 16, (6, 8), 8, 4, ATTRIBUTES, BINARY_ATTRIBUTES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Features("tiny-judge", build(config))


@pytest.fixture(scope="module")
def generator():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return build(StyleGAN2Config(z_dim=8, w_dim=8, img_resolution=16, channel_base=64, channel_max=8, mapping_layers=2))


@pytest.fixture(scope="module")
def report(generator, judge):
    return measure_generator(generator, judge, count=70)


def test_samples_of_an_untrained_generator_are_further_than_data(report):
    assert set(report["metrics"]) == set(DEFAULTS)
    for name, row in report["metrics"].items():
        assert METRICS[name].is_higher_better or row["samples"] > 2 * row["floor"], name
    assert report["metrics"]["recall"]["samples"] < 0.5 * report["metrics"]["recall"]["floor"]
    assert set(report["attributes"]) == set(ATTRIBUTES)
    assert len(report["pairs"]) == len(ATTRIBUTES) * (len(ATTRIBUTES) - 1) // 2
    assert all(0 <= value <= 1 for row in report["pairs"].values() for value in row.values())
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_the_worst_attribute_comes_first_and_is_the_figure(report):
    values = [row["samples"] for row in report["attributes"].values()]
    assert values == sorted(values, reverse=True) and values[0] == report["metrics"]["coverage"]["samples"]


def test_data_against_data_are_at_the_floor(judge):
    class Replay:
        """A generator that shows other portraits: its figures are those of the floor."""

        z_dim, c_dim, w_avg = 4, 0, torch.zeros(4)

        def __init__(self) -> None:
            self.shown, self.data = 0, portraits(70, 16, seed=77)

        def parameters(self):
            return iter([self.w_avg])

        def mapping(self, z, c, truncation_psi):
            return z

        def synthesis(self, ws, noise_mode, rng):
            assert noise_mode == "random" and len(rng) == len(ws)
            self.shown += len(ws)
            return torch.from_numpy(self.data.images_u8(range(self.shown - len(ws), self.shown))).float() / 127.5 - 1

        def state_dict(self):
            return {}

    from unittest.mock import patch

    with patch("stylegan_core.metrics.report.model_sha256", return_value="0" * 64):
        report = measure_generator(Replay(), judge, count=70)
    assert report["metrics"]["frechet"]["samples"] < 2 * report["metrics"]["frechet"]["floor"]


def test_too_few_pictures_and_a_stop(generator, judge):
    with pytest.raises(UsageError, match="need 20"):
        measure_generator(generator, judge, count=10, data=portraits(15, 16, seed=3))
    with pytest.raises(UsageError, match="stopped after 64 of 80 samples"):
        measure_generator(generator, judge, count=80, data=portraits(160, 16, seed=3), callback=lambda *_: False)
    with pytest.raises(UsageError, match="count 1"):
        measure_generator(generator, judge, count=1)
