"""Adversarial losses by name: what the trainer's --loss chooses among. One row adds one.

Logits are [N, 1], higher means real, D = σ(logit); every function gives one value per image, [N].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.losses.adversarial import logistic_discriminator, nonsaturating_generator
from stylegan_core.losses.wasserstein import gradient_penalty, wasserstein_discriminator, wasserstein_generator

Score = Callable[[Tensor, Tensor | None], Tensor]  # (images, labels) → logits


@dataclass(frozen=True)
class GANLoss:
    """generator: logits of generated pictures → [N]. discriminator: logits of real ones, of generated ones → [N].

    penalty: (score, real, fake, labels, shares [N] in [0, 1]) → [N], weighted already, which the discriminator minimises too in every
    step; None = none. options: fields of TrainingConfig that go with this loss unless they are given.
    """

    generator: Callable[[Tensor], Tensor]
    discriminator: Callable[[Tensor, Tensor], Tensor]
    penalty: Callable[[Score, Tensor, Tensor, Tensor | None, Tensor], Tensor] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def saturating_generator(fake_logits: Tensor) -> Tensor:
    """log(1 - D(G(z))): the generator's side of the minimax game (Goodfellow et al. 2014, Eq. 1)."""
    return -F.softplus(fake_logits).squeeze(1)


def hinge_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))) of the logits themselves (Lim and Ye 2017; Miyato et al. 2018, Eq. 16 and 17).

    The generator's side is that of the Wasserstein loss, -D(G(z)).
    """
    return (F.relu(1 - real_logits) + F.relu(1 + fake_logits)).squeeze(1)


GAN_LOSSES: Mapping[str, GANLoss] = {
    "non-saturating": GANLoss(nonsaturating_generator, logistic_discriminator),
    "minimax": GANLoss(saturating_generator, logistic_discriminator),
    "hinge": GANLoss(wasserstein_generator, hinge_discriminator),
    "wgan-gp": GANLoss(wasserstein_generator, wasserstein_discriminator, gradient_penalty, {"r1_gamma": 0.0}),
}


def gan_loss(name: str) -> GANLoss:
    """The loss of a name. Raises UsageError."""
    if name not in GAN_LOSSES:
        raise UsageError(f"loss {name!r}: one of {', '.join(GAN_LOSSES)} is allowed")
    return GAN_LOSSES[name]
