"""Graded damage to pictures: what training augments with, and what a perceptual distance must rank.

Every distortion takes images [N, 3, H, W] in [-1, 1], amounts [N] in [0, 1] (0 leaves a picture as it is) and a
torch.Generator on the CPU, and returns images of the same shape. Lengths scale with the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, interpolate, pad

Distortion = Callable[[Tensor, Tensor, torch.Generator], Tensor]

LARGEST_BLUR = 3.0 / 64  # standard deviation, in widths of the picture
LARGEST_NOISE = 0.5
LARGEST_SHIFT = 8.0 / 64
LARGEST_QUANTUM = 0.6  # of the lowest DCT frequencies; the highest get about four times as much
BLOCK_PX = 8


def blurred(images: Tensor, amounts: Tensor, rng: torch.Generator) -> Tensor:
    """Gaussian blur."""
    count, channels, height, width = images.shape
    sigma = (amounts * (LARGEST_BLUR * width)).clamp(min=1e-3)
    radius = max(1, math.ceil(3 * LARGEST_BLUR * width * float(amounts.max())))
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype)
    weights = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    weights = (weights / weights.sum(dim=1, keepdim=True)).to(images).repeat_interleave(channels, dim=0)
    x = images.reshape(1, count * channels, height, width)
    mode = "reflect" if radius < min(height, width) else "replicate"
    x = conv2d(pad(x, (radius, radius, 0, 0), mode=mode), weights[:, None, None, :], groups=count * channels)
    x = conv2d(pad(x, (0, 0, radius, radius), mode=mode), weights[:, None, :, None], groups=count * channels)
    return x.view_as(images)


def noisy(images: Tensor, amounts: Tensor, rng: torch.Generator) -> Tensor:
    """White Gaussian noise."""
    noise = torch.randn(images.shape, generator=rng).to(images)
    return images + noise * (LARGEST_NOISE * amounts.to(images)).view(-1, 1, 1, 1)


def compressed(images: Tensor, amounts: Tensor, rng: torch.Generator) -> Tensor:
    """Rounding of the cosine transform of 8x8 blocks, coarser for higher frequencies, as JPEG does."""
    count, channels, height, width = images.shape
    below, right = -height % BLOCK_PX, -width % BLOCK_PX
    x = pad(images, (0, right, 0, below), mode="replicate")
    rows, columns = x.shape[2] // BLOCK_PX, x.shape[3] // BLOCK_PX
    blocks = x.reshape(count, channels, rows, BLOCK_PX, columns, BLOCK_PX).transpose(3, 4)
    basis = _cosine_basis().to(images)
    frequency = torch.arange(BLOCK_PX, dtype=images.dtype)
    growth = 1 + 3 * (frequency[:, None] + frequency[None, :]) / (2 * (BLOCK_PX - 1))
    quantum = (LARGEST_QUANTUM * amounts.to(images)).clamp(min=1e-3).view(-1, 1, 1, 1, 1, 1) * growth.to(images)
    spectrum = torch.round(basis @ blocks @ basis.T / quantum) * quantum
    back = (basis.T @ spectrum @ basis).transpose(3, 4).reshape(x.shape)
    return torch.where(amounts.to(images).view(-1, 1, 1, 1) > 0, back[:, :, :height, :width], images)


def shifted(images: Tensor, amounts: Tensor, rng: torch.Generator) -> Tensor:
    """Moved in a random direction by parts of a pixel, the edge repeated."""
    angle = torch.rand([len(images)], generator=rng) * (2 * math.pi)
    distance = amounts.cpu() * (2 * LARGEST_SHIFT)  # the width is 2 in the coordinates of grid_sample
    return _resampled(images, torch.stack([distance * angle.cos(), distance * angle.sin()], dim=1))


def recoloured(images: Tensor, amounts: Tensor, rng: torch.Generator) -> Tensor:
    """Gain and offset per channel, in a random direction."""
    direction = torch.randn([len(images), 6, 1, 1], generator=rng)
    direction = (direction / direction.square().mean(dim=1, keepdim=True).sqrt()).to(images)
    step = 0.35 * amounts.to(images).view(-1, 1, 1, 1) * direction
    return images * (1 + step[:, :3]) + step[:, 3:]


def occluded(images: Tensor, amounts: Tensor, rng: torch.Generator) -> Tensor:
    """A grey rectangle around a random point that covers up to a third of the picture."""
    count, _, height, width = images.shape
    centre = torch.rand([count, 2], generator=rng) * 0.5 + 0.25
    half = 0.5 * (amounts.cpu() / 3).sqrt()[:, None]
    y = ((torch.arange(height) + 0.5) / height - centre[:, :1]).abs()
    x = ((torch.arange(width) + 0.5) / width - centre[:, 1:]).abs()
    soft_y, soft_x = (((half - y) * height + 0.5).clamp(0, 1), ((half - x) * width + 0.5).clamp(0, 1))
    cover = (soft_y[:, None, :, None] * soft_x[:, None, None, :]).to(images)
    return torch.where(amounts.to(images).view(-1, 1, 1, 1) > 0, images * (1 - cover), images)


def coarsened(images: Tensor, amounts: Tensor, rng: torch.Generator) -> Tensor:
    """Mixed with itself at a third of the size."""
    side = tuple(max(1, size // 3) for size in images.shape[2:])
    small = interpolate(images, size=side, mode="bilinear", antialias=True, align_corners=False)
    back = interpolate(small, size=tuple(images.shape[2:]), mode="bilinear", align_corners=False)
    return torch.lerp(images, back, amounts.to(images).view(-1, 1, 1, 1))


DISTORTIONS: Mapping[str, Distortion] = {
    "blur": blurred,
    "noise": noisy,
    "compression": compressed,
    "shift": shifted,
    "colour": recoloured,
    "occlusion": occluded,
    "coarse": coarsened,
}


def _resampled(images: Tensor, offset: Tensor) -> Tensor:
    """offset: [N, 2] (x, y) in coordinates from -1 to 1."""
    matrix = torch.zeros(len(images), 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = 1.0
    matrix[:, :, 2] = offset
    grid = affine_grid(matrix.to(images), list(images.shape), align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


@lru_cache(maxsize=1)
def _cosine_basis() -> Tensor:
    """[8, 8], orthonormal DCT-II: rows are frequencies."""
    place = torch.arange(BLOCK_PX, dtype=torch.float64)
    basis = torch.cos(math.pi / BLOCK_PX * (place[None, :] + 0.5) * place[:, None]) * math.sqrt(2 / BLOCK_PX)
    basis[0] *= math.sqrt(0.5)
    return basis
