"""The four gradient steps of StyleGAN2 training: main and lazy-regularisation losses of generator and discriminator.

Each function adds gradients of the batch mean to the parameters and returns what it measured; the loop owns the optimisers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from stylegan_core.losses.adversarial import (
    logistic_discriminator,
    nonsaturating_generator,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)
from stylegan_core.losses.wasserstein import gradient_penalty, wasserstein_discriminator, wasserstein_generator

LOSSES: Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {  # of the generator, of the discriminator
    "non-saturating": (nonsaturating_generator, logistic_discriminator),
    "wgan-gp": (wasserstein_generator, wasserstein_discriminator),
}


def mixed_ws(generator: Any, z: Tensor, c: Tensor | None, rng: torch.Generator, mixing_prob: float, update_emas: bool = False,
             num_rows: int | None = None) -> Tensor:
    """ws: [N, num_ws, w_dim] of which a share switches to another z at a random row (SG Sec. 3.1), of the first num_rows; None = all."""
    ws = generator.mapping(z, c, update_emas=update_emas)
    batch, num_ws = ws.shape[:2]
    if mixing_prob == 0 or min(num_ws, num_rows or num_ws) < 2:
        return ws
    other = generator.mapping(torch.randn(z.shape, generator=rng).to(z), c)
    switch = torch.randint(1, num_rows or num_ws, [batch], generator=rng)
    is_mixed = torch.rand([batch], generator=rng) < mixing_prob
    switch = torch.where(is_mixed, switch, torch.full_like(switch, num_ws)).to(z.device)
    keep = torch.arange(num_ws, device=z.device)[None] < switch[:, None]
    return torch.where(keep[:, :, None], ws, other)


def generator_step(discriminator: Callable[..., Tensor], images: Tensor, c: Tensor | None, *, anchor: Tensor | None = None,
                   scale: float = 1.0, autocast: bool = False, loss: str = "non-saturating") -> Tensor:
    """The loss [N] of rendered images [N, C, H, W] that carry a graph; anchor: what is added to it, [N], None = nothing."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
        logits = discriminator(images, c).float()
    values = LOSSES[loss][0](logits)
    ((values if anchor is None else values + anchor).mean() * scale).backward()
    return values.detach()


def path_length_step(images: Tensor, ws: Tensor, noise: Tensor, pl_mean: Tensor, *, weight: float, decay: float,
                     scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """(lengths [N], new running mean) of images rendered from ws with a graph; noise: standard normal [N, C, H, W]."""
    lengths = path_lengths(images, ws, noise)
    penalty, mean = path_length_penalty(lengths, pl_mean, decay)
    (penalty.mean() * weight * scale).backward()
    return lengths.detach(), mean


def discriminator_step(discriminator: Callable[..., Tensor], real: Tensor, fake: Tensor, c: Tensor | None, *,
                       fake_c: Tensor | None = None, scale: float = 1.0, autocast: bool = False,
                       loss: str = "non-saturating") -> tuple[Tensor, Tensor, Tensor]:
    """(loss, real logits, fake logits), each [N]; fake images are detached. Two passes, so that no group mixes real and fake."""
    with torch.autocast(real.device.type, torch.bfloat16, enabled=autocast):
        fake_logits = discriminator(fake.detach(), c if fake_c is None else fake_c).float()
        real_logits = discriminator(real, c).float()
    values = LOSSES[loss][1](real_logits, fake_logits)
    (values.mean() * scale).backward()
    return values.detach(), real_logits.detach().squeeze(1), fake_logits.detach().squeeze(1)


def r1_step(discriminator: Callable[..., Tensor], real: Tensor, c: Tensor | None, *, gamma: float, scale: float = 1.0) -> Tensor:
    """Penalty [N] of the gradient at real images."""
    real = real.detach().requires_grad_(True)
    penalty = r1_penalty(real, discriminator(real, c))
    (penalty.mean() * (gamma / 2) * scale).backward()
    return penalty.detach()


def gradient_penalty_step(discriminator: Callable[..., Tensor], real: Tensor, fake: Tensor, c: Tensor | None, rng: torch.Generator, *,
                          scale: float = 1.0) -> Tensor:
    """Penalty [N] of the gradient between real and fake images, by shares drawn from rng (WGAN-GP)."""
    penalty = gradient_penalty(discriminator, real, fake, c, torch.rand(len(real), generator=rng))
    (penalty.mean() * scale).backward()
    return penalty.detach()
