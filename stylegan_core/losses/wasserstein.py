"""The Wasserstein loss with a gradient penalty (WGAN-GP Eq. 3) and a drift term (PG App. A.1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

DRIFT = 0.001  # weight of the squared real score, which nothing else keeps near 0
FLOOR = 1e-16  # of squared norms: a root has no derivative at 0


def wasserstein_generator(fake_logits: Tensor) -> Tensor:
    """-D(G(z)): [N, 1] → [N]."""
    return -fake_logits.squeeze(1)


def wasserstein_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """D(G(z)) - D(x) + DRIFT·D(x)²: two [N, 1] → [N]."""
    return (fake_logits - real_logits + DRIFT * real_logits.square()).squeeze(1)


def gradient_penalty(discriminator: Callable[..., Tensor], real: Tensor, fake: Tensor, c: Tensor | None, share: Tensor, *,
                     target: float = 1.0) -> Tensor:
    """(‖∇D‖ - target)² / target² at pictures between real and fake ones: [N].

    share: [N, 1, 1, 1] in [0, 1], of the fake picture.
    """
    mixed = real.lerp(fake.to(real), share).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(mixed, c).sum(), mixed, create_graph=True)
    norm = (gradient.square().sum(dim=[1, 2, 3]) + FLOOR).sqrt()
    return (norm - target).square() / target**2
