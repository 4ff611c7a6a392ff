"""Rank correlation: 1 for a distance that grows with damage, less for one that does not."""

from __future__ import annotations

import pytest
import torch

from stylegan_core.data.portraits import portrait_u8
from stylegan_core.errors import UsageError
from stylegan_core.metrics.ranking import LADDERS, rank_correlation


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    u8 = [torch.from_numpy(portrait_u8(1000, index, 32)[0].copy()) for index in range(4)]
    return torch.stack(u8).permute(0, 3, 1, 2).float() / 127.5 - 1


def squared_error(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a - b).square().mean(dim=(1, 2, 3))


def test_squared_error_ranks_its_own_kind_of_damage(images):
    result = rank_correlation(squared_error, images)
    assert set(result) == {*LADDERS, "mean"}
    assert result["noise"] == 1 and result["blur"] == 1 and result["mean"] > 0.95
    assert result["mean"] == pytest.approx(sum(result[name] for name in LADDERS) / len(LADDERS), abs=1e-3)


def test_a_reversed_and_a_deaf_distance_are_found_out(images):
    assert rank_correlation(lambda a, b: -squared_error(a, b), images, ladders=("noise",))["mean"] == -1
    assert rank_correlation(lambda a, b: torch.zeros(len(a)), images, ladders=("noise",))["mean"] == 0
    by_mean_colour = rank_correlation(lambda a, b: (a.mean(dim=(1, 2, 3)) - b.mean(dim=(1, 2, 3))).abs(), images)
    assert by_mean_colour["mean"] < 0.9


def test_unknown_ladders_and_too_few_levels(images):
    with pytest.raises(UsageError, match="rain"):
        rank_correlation(squared_error, images, ladders=("rain",))
    with pytest.raises(UsageError, match="levels"):
        rank_correlation(squared_error, images, levels=(0.1, 0.2))
