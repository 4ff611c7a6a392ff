"""Scrambled texture keeps shapes, warped shapes keep texture; nothing at 0; equal errors are found."""

from __future__ import annotations

import pytest
import torch

from stylegan_core.data.distortions import blurred
from stylegan_core.data.portraits import portrait_u8
from stylegan_core.data.shape_and_texture import COARSE, amount_of_error, bisected, mean_error, scrambled, warped


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    u8 = [torch.from_numpy(portrait_u8(1000, index, 64)[0].copy()) for index in range(4)]
    return torch.stack(u8).permute(0, 3, 1, 2).float() / 127.5 - 1


def damaged(function, images, amount):
    return function(images, torch.full([len(images)], amount), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("function", [scrambled, warped])
def test_nothing_at_zero_and_more_with_the_amount(function, images):
    errors = [(damaged(function, images, amount) - images).square().mean().item() for amount in (0.0, 0.3, 0.6, 1.0)]
    assert errors[0] < 1e-6 and errors[0] < errors[1] < errors[2] < errors[3]
    assert damaged(function, images[:, :, :19, :27], 0.5).shape == (4, 3, 19, 27)


def test_scrambling_moves_detail_and_leaves_the_coarse_picture(images):
    other = damaged(scrambled, images, 1.0)
    coarse = [blurred(each, torch.full([4], COARSE), torch.Generator()) for each in (images, other)]
    assert (coarse[0] - coarse[1]).square().mean() < 0.25 * (images - other).square().mean()
    detail = [(each - coarse[0])[:, :, 8:56, 8:56].square().mean() for each in (images, other)]
    assert 0.5 < detail[1] / detail[0] < 2


def test_warping_keeps_colours_and_moves_things(images):
    other = damaged(warped, images, 0.7)
    assert other.min() >= images.min() - 1e-5 and other.max() <= images.max() + 1e-5
    coarse = [blurred(each, torch.full([4], COARSE), torch.Generator()) for each in (images, other)]
    assert (coarse[0] - coarse[1]).square().mean() > 0.25 * (images - other).square().mean()


def test_equal_errors(images):
    wanted = mean_error(scrambled, images, 0.5, 0)
    amount = amount_of_error(warped, images, wanted)
    assert mean_error(warped, images, amount, 0) == pytest.approx(wanted, rel=0.05)
    assert amount_of_error(warped, images, 100.0) == 1 and bisected(lambda x: x * x, 0.25, 30) == pytest.approx(0.5)
