"""Adversarial losses by name: values, signs, what their gradients do."""

from __future__ import annotations

import math

import pytest
import torch

from stylegan_core.errors import UsageError
from stylegan_core.losses.gan import GAN_LOSSES, gan_loss


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_every_loss_gives_one_value_per_image_and_pulls_the_right_way(name: str) -> None:
    loss = gan_loss(name)
    real, fake = torch.tensor([[0.3], [-0.4], [0.0]], requires_grad=True), torch.tensor([[0.2], [-0.1], [0.5]], requires_grad=True)
    assert loss.generator(fake).shape == loss.discriminator(real, fake).shape == (3,)
    (of_generator,) = torch.autograd.grad(loss.generator(fake).sum(), fake)
    of_real, of_fake = torch.autograd.grad(loss.discriminator(real, fake).sum(), [real, fake])
    assert (of_generator < 0).all() and (of_real < 0).all() and (of_fake > 0).all()


def test_values_at_a_discriminator_that_knows_nothing() -> None:
    zero = torch.zeros(1, 1)
    assert gan_loss("minimax").discriminator(zero, zero).item() == pytest.approx(math.log(4))
    assert gan_loss("minimax").generator(zero).item() == pytest.approx(-math.log(2))
    assert gan_loss("non-saturating").generator(zero).item() == pytest.approx(math.log(2))
    assert gan_loss("hinge").discriminator(zero, zero).item() == 2


def test_minimax_saturates_and_the_others_do_not() -> None:
    """Under a discriminator that is sure (Goodfellow et al. 2014, Sec. 3)."""
    slopes = {}
    for name in GAN_LOSSES:
        logits = torch.full([1, 1], -12.0, requires_grad=True)
        (gradient,) = torch.autograd.grad(gan_loss(name).generator(logits).sum(), logits)
        slopes[name] = abs(gradient.item())
    assert slopes["minimax"] < 1e-5 and slopes["non-saturating"] > 0.99 and slopes["hinge"] == 1


def test_the_hinge_stops_pushing_beyond_its_margin() -> None:
    real, fake = torch.tensor([[1.5]], requires_grad=True), torch.tensor([[-2.0]], requires_grad=True)
    gradients = torch.autograd.grad(gan_loss("hinge").discriminator(real, fake).sum(), [real, fake])
    assert all(gradient.item() == 0 for gradient in gradients)


def test_unknown_losses_are_refused() -> None:
    with pytest.raises(UsageError, match="non-saturating"):
        gan_loss("wasser")
