"""What generator and discriminator minimise, one value per image, and the two lazy regularisers (SG2 Sec. 3.1 and 3.2)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def nonsaturating_generator(fake_logits: Tensor) -> Tensor:
    """-log D(G(z)) with D the sigmoid of the logits: [N, 1] → [N] (Goodfellow et al. 2014, Sec. 3)."""
    return F.softplus(-fake_logits).squeeze(1)


def logistic_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))): two [N, 1] → [N]."""
    return (F.softplus(-real_logits) + F.softplus(fake_logits)).squeeze(1)


def r1_penalty(images: Tensor, logits: Tensor) -> Tensor:
    """Squared norm of the logits' gradient at images: [N]; the loss is gamma/2 of it. Of real ones it is R1, of generated ones R2
    (Mescheder et al. 2018, Eq. 9 and 10)."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=[1, 2, 3])


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor, *, create_graph: bool = True) -> Tensor:
    """‖Jᵀ y‖ of the synthesis network: [N] (SG2 Eq. 4). noise: standard normal, of the images' shape; scaled here by 1/√(H·W).

    create_graph: False where the lengths themselves will not be differentiated.
    """
    y = noise / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * y).sum(), ws, create_graph=create_graph)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()
