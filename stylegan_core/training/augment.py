"""Augmentation of what the discriminator sees, real and generated alike (SG2-ADA Sec. 2.2 and App. B).

While a transform happens to less than about 80 % of the pictures, the generator cannot profit from showing it: it does not leak.
Everything is batched, on the device of the pictures, and differentiable twice, so that R1 goes through it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.training.augment_colour import apply_colours, draw_colours
from stylegan_core.training.augment_config import AUGMENTATIONS, Augmentation
from stylegan_core.training.augment_filter import apply_band_gains, draw_band_gains
from stylegan_core.training.augment_geometry import draw_geometry, warp
from stylegan_core.training.draws import Draws


def augment(images: Tensor, augmentation: Augmentation, p: float, draws: Draws) -> Tensor:
    """images: [N, C, H, W] in [-1, 1] → the same shape; every transform happens to an image with probability p, one after another."""
    if p <= 0:
        return images
    channels, height, width = images.shape[1:]
    images = warp(images, draw_geometry(augmentation, p, draws, height, width))
    images = apply_colours(images, draw_colours(augmentation, p, draws, channels))
    if augmentation.imgfilter > 0:
        images = apply_band_gains(images, draw_band_gains(augmentation, p, draws))
    if augmentation.noise > 0:
        sigma = torch.where(draws.happens(augmentation.noise * p), draws.half_normal() * augmentation.noise_std, 0.0)
        images = images + draws.field(images.shape[1:], images.device) * sigma.to(images)[:, None, None, None]
    if augmentation.cutout > 0:
        size = torch.where(draws.happens(augmentation.cutout * p), augmentation.cutout_size, 0.0)
        images = images * outside_box(draws.uniform(2), size, height, width).to(images)
    return images


def outside_box(centre: Tensor, size: Tensor, height: int, width: int) -> Tensor:
    """[N, 1, H, W] bool: False inside a box. centre: [N, 2] as (x, y), size: [N], both as shares of the picture."""
    x = ((torch.arange(width) + 0.5) / width - centre[:, 0, None]).abs() < size[:, None] / 2
    y = ((torch.arange(height) + 0.5) / height - centre[:, 1, None]).abs() < size[:, None] / 2
    return ~(x[:, None, None, :] & y[:, None, :, None])


def next_p(p: float, sign: float, *, target: float, num_images: int, kimg: float) -> float:
    """The adapted probability: up when the discriminator is too sure, down else, 0 to 1 in kimg thousand images (SG2-ADA Sec. 3).

    sign: mean of sign(D(x)) over real pictures, 0 for a discriminator that knows nothing, 1 for one that knows all. It may rise above
    1, where every transform happens to every image.
    """
    step = num_images / (kimg * 1000)
    return max(p + (step if sign > target else -step if sign < target else 0.0), 0.0)


def build_augmenter(name: str) -> Callable[[Tensor, float, Draws], Tensor]:
    """(images, p, draws) → images. name: of AUGMENTATIONS, 'diff', or 'diff-' and names of its policies. Raises UsageError."""
    from stylegan_core.training.diff_augment import POLICIES, diff_augment

    if name in AUGMENTATIONS:
        return lambda images, p, draws: augment(images, AUGMENTATIONS[name], p, draws)
    kind, _, names = name.partition("-")
    policy = names.split(",") if names or "-" in name else list(POLICIES)
    if kind != "diff" or not set(policy) <= set(POLICIES):
        allowed = f"none, {', '.join(AUGMENTATIONS)}, diff, diff-{','.join(POLICIES)}"
        raise UsageError(f"augmentation {name!r}: one of {allowed} is allowed (of the last, any part)")
    return lambda images, p, draws: diff_augment(images, policy, draws)
