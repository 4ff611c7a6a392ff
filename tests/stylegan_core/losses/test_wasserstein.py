"""The Wasserstein loss and its gradient penalty against closed forms."""

from __future__ import annotations

import torch

from stylegan_core.losses.wasserstein import DRIFT, WEIGHT, gradient_penalty, wasserstein_discriminator, wasserstein_generator


def test_losses_are_scores_with_a_drift() -> None:
    real, fake = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [3.0]])
    assert torch.equal(wasserstein_generator(fake), torch.tensor([-0.5, -3.0]))
    assert torch.allclose(wasserstein_discriminator(real, fake), torch.tensor([-1.5 + 4 * DRIFT, 4.0 + DRIFT]))


def test_the_penalty_of_a_linear_discriminator_is_that_of_its_slope() -> None:
    slope = torch.full([3, 4, 4], 0.25)  # of norm √3
    real, fake = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    penalty = gradient_penalty(lambda x, c: (x * slope).sum(dim=[1, 2, 3])[:, None], real, fake, None, torch.rand(2))
    assert torch.allclose(penalty, torch.full([2], WEIGHT * (3**0.5 - 1) ** 2), atol=1e-4)
    halved = gradient_penalty(lambda x, c: (x * slope).sum(dim=[1, 2, 3])[:, None], real, fake, None, torch.zeros(2), target=2.0)
    assert torch.allclose(halved, torch.full([2], WEIGHT * (3**0.5 - 2) ** 2 / 4), atol=1e-4)


def test_it_looks_between_real_and_fake_and_reaches_the_weights() -> None:
    weight = torch.tensor(1.5, requires_grad=True)
    seen = []

    def discriminator(x: torch.Tensor, c: None) -> torch.Tensor:
        seen.append(x.detach())
        return weight * x.square().flatten(1).sum(dim=1, keepdim=True) / 2

    real, fake = torch.zeros(1, 1, 1, 1), torch.full([1, 1, 1, 1], 4.0)
    penalty = gradient_penalty(discriminator, real, fake, None, torch.tensor([0.25]))
    assert seen[0].item() == 1.0
    penalty.sum().backward()
    assert torch.allclose(weight.grad, torch.tensor(2 * WEIGHT * (1.5 - 1)))  # d (weight·x - 1)² / d weight at x = 1


def test_a_flat_discriminator_gives_no_nan() -> None:
    weight = torch.zeros([], requires_grad=True)
    gradient_penalty(lambda x, c: (weight * x).flatten(1).sum(dim=1, keepdim=True), torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2), None,
                     torch.rand(2)).sum().backward()
    assert bool(torch.isfinite(weight.grad))
