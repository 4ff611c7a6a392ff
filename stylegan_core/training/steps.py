"""The gradient steps of StyleGAN training: main and lazy-regularisation losses of generator and discriminator.

Each function adds gradients of the batch mean to the parameters and returns what it measured; the loop owns the optimisers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stylegan_core.generator import RNG
from stylegan_core.losses.adversarial import path_lengths, r1_penalty
from stylegan_core.losses.gan import GAN_LOSSES, GANLoss, Score
from stylegan_core.networks.noise_inputs import random_normal

NON_SATURATING = GAN_LOSSES["non-saturating"]


def mixed_ws(generator: Any, z: Tensor, c: Tensor | None, rng: RNG, mixing_prob: float, num_rows: int | None = None) -> Tensor:
    """ws: [N, num_ws, w_dim] of which a share switches to another z at a random row (SG Sec. 3.1), of the first num_rows; None = all.

    rng: one stream, or one per image.
    """
    ws = generator.mapping(z, c)
    batch, num_ws = ws.shape[:2]
    rows = num_ws if num_rows is None else min(num_ws, num_rows)
    if mixing_prob == 0 or rows < 2:
        return ws
    other = generator.mapping(random_normal(z.shape, rng).to(z), c)
    place, chance = (random_uniform(batch, rng) for _ in range(2))
    switch = (1 + place * (rows - 1)).long().clamp(max=rows - 1)
    switch = torch.where(chance < mixing_prob, switch, torch.full_like(switch, num_ws)).to(z.device)
    keep = torch.arange(num_ws, device=z.device)[None] < switch[:, None]
    return torch.where(keep[:, :, None], ws, other)


def random_uniform(count: int, rng: RNG) -> Tensor:
    """[count] in [0, 1)."""
    if rng is None or isinstance(rng, torch.Generator):
        return torch.rand(count, generator=rng)
    return torch.stack([torch.rand([], generator=stream) for stream in rng])


@torch.no_grad()
def track_w_avg(mapping: Any, w: Tensor) -> None:
    """Moves w_avg towards the mean of w: [N, w_dim], if the network keeps one."""
    if mapping.w_avg_beta is not None and hasattr(mapping, "w_avg"):
        mapping.w_avg.copy_(w.mean(dim=0).to(mapping.w_avg.dtype).lerp(mapping.w_avg, mapping.w_avg_beta))


def generator_step(score: Score, images: Tensor, c: Tensor | None, *, loss: GANLoss = NON_SATURATING, anchor: Tensor | None = None,
                   scale: float = 1.0, autocast: bool = False) -> Tensor:
    """Loss [N] of rendered images [N, C, H, W] that carry a graph; anchor: what is added to it, [N], None = nothing."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
        logits = score(images, c).float()
    value = loss.generator(logits)
    ((value if anchor is None else value + anchor).mean() * scale).backward()
    return value.detach()


def path_length_step(images: Tensor, ws: Tensor, noise: Tensor, pl_mean: Tensor, *, weight: float, decay: float, scale: float = 1.0,
                     mean_length: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(lengths [N], new running mean m) of images rendered from ws with a graph; noise: standard normal [N, C, H, W].

    The penalty is (l_i - m)² with m = (1 - β) m₀ + β l̄ (SG2 Eq. 4). mean_length: l̄ of the whole batch, of which these images are a part;
    None = they are the batch. Its gradient is the mean of 2 (l_i - m - β (l̄ - m)) dl_i, which needs l̄ alone of the other parts.
    """
    lengths = path_lengths(images, ws, noise)
    seen = lengths.detach()
    mean_length = seen.mean() if mean_length is None else mean_length
    mean = pl_mean.lerp(mean_length, decay)
    ((lengths * (seen - mean - decay * (mean_length - mean))).mean() * 2 * weight * scale).backward()
    return seen, mean


def discriminator_step(score: Score, real: Tensor, fake: Tensor, c: Tensor | None, *, loss: GANLoss = NON_SATURATING,
                       fake_c: Tensor | None = None, scale: float = 1.0, autocast: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, real logits, fake logits), each [N]; fake images are detached. Two passes, so that no group mixes real and fake.

    fake_c: labels of the fake images; None = those of the real ones.
    """
    with torch.autocast(real.device.type, torch.bfloat16, enabled=autocast):
        fake_logits = score(fake.detach(), c if fake_c is None else fake_c).float()
        real_logits = score(real, c).float()
    value = loss.discriminator(real_logits, fake_logits)
    (value.mean() * scale).backward()
    return value.detach(), real_logits.detach().squeeze(1), fake_logits.detach().squeeze(1)


def r1_step(score: Score, images: Tensor, c: Tensor | None, *, gamma: float, scale: float = 1.0) -> Tensor:
    """Penalty [N] of the gradient at images: R1 for real ones, R2 for generated ones (Mescheder et al. 2018, Eq. 9 and 10)."""
    images = images.detach().requires_grad_(True)
    penalty = r1_penalty(images, score(images, c))
    (penalty.mean() * (gamma / 2) * scale).backward()
    return penalty.detach()


def gradient_penalty_step(penalty: Callable[..., Tensor], score: Score, real: Tensor, fake: Tensor, c: Tensor | None, shares: Tensor, *,
                          scale: float = 1.0) -> Tensor:
    """The penalty [N] that a loss puts on the gradient between real and fake images (WGAN-GP), by shares [N] in [0, 1]."""
    value = penalty(score, real, fake.detach(), c, shares.to(real))
    (value.mean() * scale).backward()
    return value.detach()
