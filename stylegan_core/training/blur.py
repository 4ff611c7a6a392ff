"""A discriminator that sees blurred pictures at first, so that it does not judge detail before there is any (SG3 Sec. 3.2, config R)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from stylegan_core.ops.upfirdn2d import filter2d

REACH = 3  # the filter ends at this many sigmas


def blur_sigma_at(nimg: float, sigma: float, fade_kimg: float) -> float:
    """Width in pixels after nimg images: falls linearly from sigma to 0 over fade_kimg thousand. sigma 0 = never."""
    if sigma <= 0 or fade_kimg <= 0:
        return 0.0
    return sigma * max(0.0, 1.0 - nimg / (fade_kimg * 1000))


def blur(images: Tensor, sigma: float) -> Tensor:
    """images [N, C, H, W] filtered by 2^-(x/sigma)² along both axes, black outside; narrower than a third of a pixel: as they are."""
    reach = math.floor(REACH * sigma)
    if reach == 0:
        return images
    taps = torch.arange(-reach, reach + 1, device=images.device).div(sigma).square().neg().exp2()
    return filter2d(images, taps / taps.sum())


def blurred(score: Callable[..., Tensor], sigma: float) -> Callable[..., Tensor]:
    """score(blur(images), c): what the losses call in place of the discriminator."""
    if math.floor(REACH * sigma) == 0:
        return score
    return lambda images, c=None: score(blur(images, sigma), c)
