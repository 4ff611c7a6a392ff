"""Flips, turns, shifts and stretches of pictures as one resampling (SG2-ADA App. B, "Geometric transformations").

All transforms of an image become one 3×3 matrix; the picture is mirrored at its edges, upsampled twice through a wavelet filter,
sampled bilinearly at the transformed places and downsampled through the same filter.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.ops.grid_sample import grid_sample
from stylegan_core.ops.upfirdn2d import downsample2d, upsample2d
from stylegan_core.training.augment_config import Augmentation
from stylegan_core.training.augment_filter import symlet
from stylegan_core.training.draws import Draws

SYMLET_MOMENTS = 6
LARGEST_MATRIX = 256  # sides up to this are resampled by matrix products, which on a CPU are many times faster


def draw_geometry(augmentation: Augmentation, p: float, draws: Draws, height: int, width: int) -> Tensor:
    """[N, 3, 3]: for every pixel of the result, in pixels from the centre, the place in the picture that it shows."""
    a, n = augmentation, draws.count
    inverse = torch.eye(3).repeat(n, 1, 1)
    none, one = torch.zeros(n), torch.ones(n)
    if a.xflip > 0:
        flips = torch.where(draws.happens(a.xflip * p), (draws.uniform() * 2).floor(), none)
        inverse = inverse @ scaling(1 - 2 * flips, one)
    if a.rotate90 > 0:
        quarters = torch.where(draws.happens(a.rotate90 * p), (draws.uniform() * 4).floor(), none)
        inverse = inverse @ rotation(quarters * math.pi / 2)
    if a.xint > 0:
        shift = torch.where(draws.happens(a.xint * p)[:, None], (draws.uniform(2) * 2 - 1) * a.xint_max, 0.0)
        inverse = inverse @ translation(-(shift[:, 0] * width).round(), -(shift[:, 1] * height).round())
    if a.scale > 0:
        factor = torch.where(draws.happens(a.scale * p), (draws.normal() * a.scale_std).exp2(), one)
        inverse = inverse @ scaling(1 / factor, 1 / factor)
    # Two turns, before and after the stretch, that together happen with the probability of one (SG2-ADA App. B).
    once = 1 - math.sqrt(min(max(1 - a.rotate * p, 0.0), 1.0))
    if a.rotate > 0:
        angle = torch.where(draws.happens(once), (draws.uniform() * 2 - 1) * math.pi * a.rotate_max, none)
        inverse = inverse @ rotation(angle)
    if a.aniso > 0:
        factor = torch.where(draws.happens(a.aniso * p), (draws.normal() * a.aniso_std).exp2(), one)
        inverse = inverse @ scaling(1 / factor, factor)
    if a.rotate > 0:
        angle = torch.where(draws.happens(once, again=True), (draws.uniform() * 2 - 1) * math.pi * a.rotate_max, none)
        inverse = inverse @ rotation(angle)
    if a.xfrac > 0:
        shift = torch.where(draws.happens(a.xfrac * p)[:, None], draws.normal(2) * a.xfrac_std, 0.0)
        inverse = inverse @ translation(-shift[:, 0] * width, -shift[:, 1] * height)
    return inverse


def warp(images: Tensor, inverse: Tensor) -> Tensor:
    """images: [N, C, H, W]. inverse: [N, 3, 3] as `draw_geometry` gives it, on the CPU → [N, C, H, W].

    Images whose matrix is the identity pass unchanged.
    """
    moved = (inverse != torch.eye(3)).flatten(1).any(dim=1).nonzero().squeeze(1)
    if len(moved) == 0:
        return images
    if len(moved) == len(images):
        return _warp(images, inverse)
    chosen = moved.to(images.device)
    return images.index_copy(0, chosen, _warp(images[chosen], inverse[moved]))


def _warp(images: Tensor, inverse: Tensor) -> Tensor:
    height, width = images.shape[2:]
    taps = symlet(SYMLET_MOMENTS)
    pad = len(taps) // 4
    left, right, top, bottom = _margins(inverse, height, width, pad)
    images = _upsampled(images, (left, right, top, bottom), taps)
    inverse = _move((left - right) / 2, (top - bottom) / 2) @ inverse
    # Twice as many pixels, whose centres lie half a new pixel before the old ones; a border for the taps of the filter.
    inverse = _stretch(2, 2) @ inverse @ _stretch(0.5, 0.5)
    inverse = _move(-0.5, -0.5) @ inverse @ _move(0.5, 0.5)
    shape = [len(images), images.shape[1], (height + 2 * pad) * 2, (width + 2 * pad) * 2]
    unit = _stretch(2 / images.shape[3], 2 / images.shape[2]) @ inverse @ _stretch(shape[3] / 2, shape[2] / 2)
    grid = F.affine_grid(unit[:, :2].to(images), shape, align_corners=False)
    return _downsampled(grid_sample(images, grid), pad, taps)


def _upsampled(images: Tensor, margins: tuple[int, int, int, int], taps: Tensor) -> Tensor:
    """[N, C, H, W] mirrored beyond its edges by (left, right, top, bottom) and upsampled by 2, edges included."""
    height, width = images.shape[2:]
    left, right, top, bottom = margins
    if max(height, width) > LARGEST_MATRIX:
        return upsample2d(F.pad(images, list(margins), mode="reflect"), taps.to(images), up=2)
    return up_matrix(height, top, bottom).to(images) @ images @ up_matrix(width, left, right).to(images).t()


def _downsampled(images: Tensor, pad: int, taps: Tensor) -> Tensor:
    """[N, C, H, W] downsampled by 2 after 2·pad pixels at every edge have fallen away."""
    height, width = images.shape[2:]
    if max(height, width) > 2 * LARGEST_MATRIX:
        return downsample2d(images, taps.to(images), down=2, padding=-2 * pad, flip_filter=True)
    return down_matrix(height, pad).to(images) @ images @ down_matrix(width, pad).to(images).t()


@lru_cache(maxsize=256)
def up_matrix(size: int, before: int, after: int) -> Tensor:
    """[2·(before + size + after), size]: mirrored at the edges and upsampled, along one axis."""
    mirrored = F.pad(torch.eye(size)[None], [before, after], mode="reflect")[None]
    return upsample2d(mirrored, symlet(SYMLET_MOMENTS)[None], up=[2, 1])[0, 0].t().contiguous()


@lru_cache(maxsize=8)
def down_matrix(size: int, pad: int) -> Tensor:
    """[size / 2 - 2·pad, size]: the adjoint's filter, along one axis."""
    eye = torch.eye(size)[None, None]
    crop = [-2 * pad, -2 * pad, 0, 0]
    return downsample2d(eye, symlet(SYMLET_MOMENTS)[None], down=[2, 1], padding=crop, flip_filter=True)[0, 0].t().contiguous()


def _margins(inverse: Tensor, height: int, width: int, pad: int) -> tuple[int, int, int, int]:
    """How far beyond the picture (left, right, top, bottom) the corners reach, and what the filter needs; less than the picture."""
    half = torch.tensor([(width - 1) / 2, (height - 1) / 2])
    corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * half
    places = (inverse @ torch.cat([corners, torch.ones(4, 1)], dim=1).t())[:, :2].permute(1, 0, 2).flatten(1)
    reach = torch.cat([-places, places]).amax(dim=1) + (2 * pad - half).repeat(2)
    most = torch.tensor([width - 1, height - 1], dtype=torch.float32).repeat(2)
    left, top, right, bottom = reach.clamp(min=0).minimum(most).ceil().int().tolist()
    return left, right, top, bottom


def translation(x: Tensor, y: Tensor) -> Tensor:
    """[N], [N] → [N, 3, 3]."""
    one, none = torch.ones_like(x), torch.zeros_like(x)
    return _matrix([one, none, x], [none, one, y], [none, none, one])


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """[N], [N] → [N, 3, 3]."""
    one, none = torch.ones_like(x), torch.zeros_like(x)
    return _matrix([x, none, none], [none, y, none], [none, none, one])


def rotation(angle: Tensor) -> Tensor:
    """[N] in radians → [N, 3, 3]."""
    one, none = torch.ones_like(angle), torch.zeros_like(angle)
    return _matrix([angle.cos(), -angle.sin(), none], [angle.sin(), angle.cos(), none], [none, none, one])


def _matrix(*rows: list[Tensor]) -> Tensor:
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def _move(x: float, y: float) -> Tensor:
    return translation(torch.full([1], float(x)), torch.full([1], float(y)))


def _stretch(x: float, y: float) -> Tensor:
    return scaling(torch.full([1], float(x)), torch.full([1], float(y)))
