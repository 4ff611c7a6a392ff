from __future__ import annotations

import pytest
import torch

from stylegan_core.errors import ImageError, UsageError
from stylegan_core.losses.registry import Goal, build_objective
from stylegan_core.losses.term import LossTerm, Objective, Rendering


def images(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_total_is_the_weighted_sum_of_named_parts() -> None:
    ones = LossTerm("ones", 2.0, lambda r: torch.ones(len(r.images)))
    means = LossTerm("means", 0.5, lambda r: r.images.mean(dim=(1, 2, 3)))
    total, parts = Objective([ones, means])(Rendering(images()))
    assert set(parts) == {"ones", "means"}
    assert torch.allclose(total, 2 * parts["ones"] + 0.5 * parts["means"])


def test_a_term_that_averages_over_the_batch_is_an_error() -> None:
    with pytest.raises(ValueError, match="not one value per image"):
        LossTerm("bad", 1.0, lambda r: r.images.mean())(Rendering(images()))


def test_terms_of_weight_zero_are_not_computed() -> None:
    def explode(rendering: Rendering) -> torch.Tensor:
        raise AssertionError

    total, parts = Objective([LossTerm("off", 0.0, explode)])(Rendering(images()))
    assert parts == {} and torch.equal(total, torch.zeros(3))


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weights_are_checked(weight: float) -> None:
    with pytest.raises(UsageError, match="loss term a"):
        Objective([LossTerm("a", weight, lambda r: r.images[:, 0, 0, 0])])
    with pytest.raises(UsageError, match="different names"):
        Objective([LossTerm("a", 1.0, lambda r: r.images[:, 0, 0, 0])] * 2)


def test_unknown_terms_and_bad_targets_are_refused_before_any_work() -> None:
    with pytest.raises(UsageError, match="loss term 'lpips': one of pixel"):
        build_objective({"lpips": 1.0}, Goal(images()))
    for target, message in ((images() * 127.5, "8 bits"), (images() * float("nan"), "not finite"), (images()[0], "floats")):
        with pytest.raises(ImageError, match=message):
            build_objective({"pixel": 1.0}, Goal(target))
    for mask, message in (
        (torch.zeros(3, 1, 8, 8), "0 everywhere"),
        (torch.ones(3, 1, 4, 4), "shape"),
        (torch.full((3, 1, 8, 8), 2.0), "outside"),
    ):
        with pytest.raises(ImageError, match=message):
            build_objective({"pixel": 1.0}, Goal(images(), mask))
    with pytest.raises(UsageError, match="prior"):
        build_objective({"w-prior": 1.0}, Goal(images()))


@pytest.mark.parametrize("term", ["pixel", "pixel-absolute", "multi-scale"])
def test_beyond_white_is_white_where_the_target_is(term: str) -> None:
    target = images(1) * 0.5
    target[..., :2], target[..., 2:4] = 1.0, -1.0
    beyond = target.clone()
    beyond[..., :2], beyond[..., 2:4] = 1.7, -1.2
    beyond.requires_grad_()
    plain, saturating = (build_objective({term: 1.0}, Goal(target, saturates=s))(Rendering(beyond))[0] for s in (False, True))
    assert float(plain) > 0 and float(saturating) == 0
    assert not torch.autograd.grad(saturating.sum(), beyond)[0].any()
    short = (beyond.detach() * 0.5).requires_grad_()  # short of white, and beyond it where the target is grey: differences as ever
    assert torch.allclose(*(build_objective({term: 1.0}, Goal(target, saturates=s))(Rendering(short))[0] for s in (False, True)))
