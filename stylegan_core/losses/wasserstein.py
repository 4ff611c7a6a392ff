"""The Wasserstein loss with a gradient penalty (WGAN-GP Eq. 3) and a drift term (PG App. A.1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WEIGHT = 10.0  # of the penalty
DRIFT = 0.001  # of the squared real score, which nothing else keeps near 0
FLOOR = 1e-16  # of squared norms: a root has no derivative at 0


def wasserstein_generator(fake_logits: Tensor) -> Tensor:
    """-D(G(z)): [N, 1] → [N]."""
    return -fake_logits.squeeze(1)


def wasserstein_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """D(G(z)) - D(x) + DRIFT·D(x)²: two [N, 1] → [N]."""
    return (fake_logits - real_logits + DRIFT * real_logits.square()).squeeze(1)


def gradient_penalty(score: Callable[[Tensor, Tensor | None], Tensor], real: Tensor, fake: Tensor, c: Tensor | None, shares: Tensor, *,
                     target: float = 1.0) -> Tensor:
    """WEIGHT · (‖∇D‖ - target)² / target² at pictures between real and fake ones: [N].

    score: images, labels → logits [N, 1]. shares: [N] in [0, 1], of the fake picture.
    """
    mixed = real.lerp(fake.to(real), shares.to(real)[:, None, None, None]).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(mixed, c).sum(), mixed, create_graph=True)
    norm = (gradient.square().sum(dim=[1, 2, 3]) + FLOOR).sqrt()
    return WEIGHT * (norm - target).square() / target**2
