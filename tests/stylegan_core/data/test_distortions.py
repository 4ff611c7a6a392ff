"""Distortions: none at 0, more with the amount, each picture by itself, and each does what it says."""

from __future__ import annotations

import pytest
import torch

from stylegan_core.data.distortions import DISTORTIONS
from stylegan_core.data.portraits import portrait_u8


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    u8 = [torch.from_numpy(portrait_u8(1000, index, 32)[0].copy()) for index in range(4)]
    return torch.stack(u8).permute(0, 3, 1, 2).float() / 127.5 - 1


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("name", sorted(DISTORTIONS))
def test_nothing_at_zero_and_more_with_the_amount(name, images):
    error = [
        (DISTORTIONS[name](images, torch.full([4], amount), rng()) - images).square().mean().item()
        for amount in (0.0, 0.3, 0.6, 1.0)
    ]
    assert error[0] < 1e-6 and error[0] < error[1] < error[2] < error[3]


@pytest.mark.parametrize("name", sorted(DISTORTIONS))
def test_each_picture_has_its_own_amount(name, images):
    amounts = torch.tensor([0.0, 0.2, 0.5, 1.0])
    together = DISTORTIONS[name](images, amounts, rng())
    assert together.shape == images.shape and torch.allclose(together[0], images[0], atol=1e-3)
    change = (together - images).square().mean(dim=(1, 2, 3))
    assert (change[1:] > 1e-6).all()


@pytest.mark.parametrize("name", sorted(DISTORTIONS))
def test_sizes_that_are_not_whole_blocks(name):
    picture = torch.rand(1, 3, 19, 27, generator=rng()) * 2 - 1
    assert DISTORTIONS[name](picture, torch.tensor([0.5]), rng()).shape == picture.shape


def test_blur_keeps_the_mean_of_a_periodic_picture_and_lowers_contrast(images):
    flat = torch.full((1, 3, 16, 16), 0.25)
    assert torch.allclose(DISTORTIONS["blur"](flat, torch.tensor([1.0]), rng()), flat, atol=1e-5)
    assert DISTORTIONS["blur"](images, torch.ones(4), rng()).var() < images.var()


def test_compression_of_fine_steps_is_nearly_lossless(images):
    fine = DISTORTIONS["compression"](images, torch.full([4], 0.01), rng())
    assert (fine - images).abs().max() < 0.05
