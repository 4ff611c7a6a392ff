"""What every registered metric does: the best value for equal sides, a worse one for others, the same twice."""

from __future__ import annotations

import pytest
import torch

from stylegan_core.data.portraits import ATTRIBUTES, BINARY_ATTRIBUTES
from stylegan_core.errors import UsageError
from stylegan_core.features import Features
from stylegan_core.metrics.path_length import Distance
from stylegan_core.metrics.probe import Probe
from stylegan_core.metrics.registry import (
    ALIASES,
    CLASSES,
    DEFAULTS,
    GENERATOR,
    INCEPTION,
    METRICS,
    PICTURES,
    SAMPLES,
    SETS,
    Observed,
    metric,
    metrics_of_a_generator,
)
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import AttributeNetworkConfig
from tests.tiny import tiny_generator

NAMES = {kind: sorted(name for name, row in METRICS.items() if row.compares == kind) for kind in (PICTURES, SETS, SAMPLES, GENERATOR)}


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    target = torch.randint(0, 256, (3, 48, 48, 3), generator=rng, dtype=torch.uint8)
    return target, (target.float() * 0.6 + 60).to(torch.uint8)


def observed(shift: float = 0.0, certainty: float = 4.0) -> Observed:
    rng = torch.Generator().manual_seed(1)
    pooled = torch.randn(200, 5, generator=rng) + shift
    attributes = {"age": (torch.rand(200, generator=rng) * 2 - 1 + shift).clamp(-1, 1)}
    attributes["hat"] = (torch.rand(200, generator=rng) - shift).clamp(0, 1)
    classes = (torch.randn(200, 4, generator=rng) * certainty).softmax(dim=1)
    return Observed(pooled, attributes, ("hat",), classes=classes, similarity=torch.full([100], 1 / certainty))


def sides(compares: str) -> tuple:
    return pictures() if compares == PICTURES else (observed(), observed(1.0))


def probe() -> Probe:
    config = AttributeNetworkConfig("residual", 16, (6, 8), 8, 4, ATTRIBUTES, BINARY_ATTRIBUTES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judge = Features("tiny-judge", build(config))
    return Probe(tiny_generator(), Distance(judge.name, judge.distance), judge, count=70, seed=3)


@pytest.mark.parametrize("name", NAMES[PICTURES] + NAMES[SETS])
def test_equal_sides_are_best(name):
    chosen = metric(name)
    one, other = sides(chosen.compares)
    best, worse = (torch.as_tensor(chosen.function(one, side)).double() for side in (one, other))
    assert best.shape == worse.shape == ((3,) if chosen.compares == PICTURES else ())
    assert torch.isfinite(best).all() and torch.isfinite(worse).all()
    assert ((best > worse) if chosen.is_higher_better else (best < worse)).all()


@pytest.mark.parametrize("name", NAMES[PICTURES] + NAMES[SETS])
def test_the_same_twice(name):
    chosen = metric(name)
    one, other = sides(chosen.compares)
    first, second = (torch.as_tensor(chosen.function(one, other)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", NAMES[SAMPLES])
def test_surer_and_more_varied_samples_are_better(name):
    chosen = metric(name)
    good, bad, again = (chosen.function(observed(certainty=certainty)) for certainty in (8.0, 0.5, 8.0))
    assert good == again and ((good > bad) if chosen.is_higher_better else (good < bad))


@pytest.mark.parametrize("name", NAMES[GENERATOR])
def test_a_generator_has_a_finite_figure_that_stays(name):
    chosen = metric(name)
    one, again = (chosen.function(probe()) for _ in range(2))
    assert one == again and one["value"] > 0 and one["value"] < float("inf")
    assert one["measured_in"] in ("tiny-judge", "pixels", "decibels") and one["count"] == 70


@pytest.mark.parametrize("name", sorted(METRICS))
def test_rows_are_complete(name):
    row = METRICS[name]
    assert row.name == name and row.compares in NAMES and len(row.title) > 10 and callable(row.function)
    assert (row.compares in (SETS, SAMPLES)) == bool(row.needs)


def test_names():
    with pytest.raises(UsageError, match="psnr"):
        metric("loudness")
    assert all(metric(alias).name == name for alias, name in ALIASES.items()) and set(DEFAULTS) <= set(NAMES[SETS])
    assert metric("ppl2_wend").name == "ppl-w-end" and metric("ppl_w_full_crop").name == "ppl-w-full-crop"
    assert [row.name for row in metrics_of_a_generator(["ppl-w", "recall", "ppl-w-full"])] == ["ppl-w-full", "recall"]
    with pytest.raises(UsageError, match="two pictures"):
        metrics_of_a_generator(["ssim"])


def test_only_an_inception_network_has_fid_kid_and_is():
    assert {name for name, row in METRICS.items() if INCEPTION in row.needs} == {"fid", "kid", "is"}
    for name, other in (("fid", "frechet"), ("kid", "kernel"), ("is", "class-score")):
        assert METRICS[name].function is METRICS[other].function
    assert CLASSES in METRICS["is"].needs
