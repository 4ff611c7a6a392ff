"""What every registered metric does: the best value for equal sides, a worse one for others, the same twice."""

from __future__ import annotations

import pytest
import torch

from stylegan_core.errors import UsageError
from stylegan_core.metrics.registry import GENERATOR, METRICS, PICTURES, SETS, Observed, metric
from tests.tiny import tiny_generator


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    target = torch.randint(0, 256, (3, 48, 48, 3), generator=rng, dtype=torch.uint8)
    return target, (target.float() * 0.6 + 60).to(torch.uint8)


def observed(shift: float = 0.0) -> Observed:
    rng = torch.Generator().manual_seed(1)
    pooled = torch.randn(200, 5, generator=rng) + shift
    attributes = {"age": (torch.rand(200, generator=rng) * 2 - 1 + shift).clamp(-1, 1)}
    return Observed(pooled, {**attributes, "hat": (torch.rand(200, generator=rng) - shift).clamp(0, 1)}, ("hat",))


def sides(compares: str) -> tuple:
    return pictures() if compares == PICTURES else (observed(), observed(0.5))


COMPARING = sorted(name for name, row in METRICS.items() if row.compares != GENERATOR)
ALONE = sorted(name for name, row in METRICS.items() if row.compares == GENERATOR)


@pytest.mark.parametrize("name", ALONE)
def test_a_generator_gives_a_number_the_same_twice(name):
    generator = tiny_generator(img_resolution=32)
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    first, second = (metric(name).function(generator, count=2, seed=7, truncation_psi=0.9) for _ in range(2))
    assert isinstance(first, float) and torch.isfinite(torch.tensor(first)) and first == second
    assert all(torch.equal(value, before[key]) for key, value in generator.state_dict().items())


@pytest.mark.parametrize("name", COMPARING)
def test_equal_sides_are_best(name):
    chosen = metric(name)
    one, other = sides(chosen.compares)
    best, worse = (torch.as_tensor(chosen.function(one, side)).double() for side in (one, other))
    assert best.shape == worse.shape == ((3,) if chosen.compares == PICTURES else ())
    assert torch.isfinite(best).all() and torch.isfinite(worse).all()
    assert ((best > worse) if chosen.is_higher_better else (best < worse)).all()


@pytest.mark.parametrize("name", COMPARING)
def test_the_same_twice(name):
    chosen = metric(name)
    one, other = sides(chosen.compares)
    first, second = (torch.as_tensor(chosen.function(one, other)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_rows_are_complete(name):
    row = METRICS[name]
    assert row.name == name and row.compares in (PICTURES, SETS, GENERATOR) and len(row.title) > 10 and callable(row.function)


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match="psnr"):
        metric("fid")
