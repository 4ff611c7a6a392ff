"""Distances between pictures in pixels, one value per image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.errors import ImageError

RANGE_SLACK = 1e-3  # a target may leave [-1, 1] by this much: resampling and rounding do it
SMALLEST_SCALE = 4  # the multi-scale term halves pictures down to this side


def mean_square(images: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over pixels and channels of (images - target)², [N]. mask: [N, 1, H, W] in [0, 1]; None = all count."""
    return _mean((images - target).square(), mask)


def mean_absolute(images: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over pixels and channels of |images - target|, [N]."""
    return _mean((images - target).abs(), mask)


def multi_scale_square(images: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean square at full size, half, quarter, … down to 4 pixels, averaged over the scales, [N].

    Coarse scales have wide basins: a feature that is off by its own width still pulls there.
    """
    difference = images - target
    total, levels = torch.zeros_like(difference[:, 0, 0, 0]), 0
    for scaled, weights in pyramid(difference, mask):
        total, levels = total + _mean(scaled.square(), weights), levels + 1
    return total / levels


def pyramid(difference: Tensor, mask: Tensor | None = None) -> list[tuple[Tensor, Tensor | None]]:
    """(difference averaged over what the mask lets through, weights) at every scale, the finest first."""
    levels = [(difference, mask)]
    while min(difference.shape[2:]) >= 2 * SMALLEST_SCALE:
        if mask is None:
            difference = F.avg_pool2d(difference, 2)
        else:
            covered = F.avg_pool2d(mask, 2)
            difference = F.avg_pool2d(difference * mask, 2) / covered.clamp_min(1e-6)
            mask = covered
        levels.append((difference, mask))
    return levels


def check_target(target: Tensor, mask: Tensor | None = None) -> None:
    """Raises ImageError unless target [N, C, H, W] is in [-1, 1] and mask [N, 1, H, W] in [0, 1] and not all 0."""
    if target.ndim != 4 or not target.is_floating_point():
        raise ImageError(f"a target of the shape {tuple(target.shape)}, {target.dtype}: floats [N, C, H, W] are needed")
    if not torch.isfinite(target).all():
        raise ImageError("the target holds values that are not finite")
    low, high = float(target.min()), float(target.max())
    if low < -1 - RANGE_SLACK or high > 1 + RANGE_SLACK:
        raise ImageError(
            f"the target has values from {low:.3g} to {high:.3g}; [-1, 1] is needed (8 bits: divide by 127.5, minus 1)"
        )
    if mask is None:
        return
    if mask.shape != (target.shape[0], 1, *target.shape[2:]):
        raise ImageError(
            f"a mask of the shape {tuple(mask.shape)} for a target {tuple(target.shape)}; [N, 1, H, W] is needed"
        )
    if not bool(((mask >= 0) & (mask <= 1)).all()):
        raise ImageError("the mask has values outside [0, 1]")
    if not bool((mask.sum(dim=(1, 2, 3)) > 0).all()):
        raise ImageError("the mask is 0 everywhere, so nothing is left to match")


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return values.mean(dim=(1, 2, 3))
    return (values * mask).sum(dim=(1, 2, 3)) / (mask.sum(dim=(1, 2, 3)) * values.shape[1])
