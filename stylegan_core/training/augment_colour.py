"""Colours of pictures changed by one 4×4 matrix per image (SG2-ADA App. B, "Color transformations")."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.training.augment_config import Augmentation
from stylegan_core.training.draws import Draws


def draw_colours(augmentation: Augmentation, p: float, draws: Draws, channels: int) -> Tensor:
    """[N, 4, 4]: (r, g, b, 1) → (r', g', b', 1). Hue and saturation are drawn for pictures that have them."""
    a, n = augmentation, draws.count
    matrix, one, none = torch.eye(4).repeat(n, 1, 1), torch.ones(n), torch.zeros(n)
    luma = torch.tensor([1.0, 1.0, 1.0, 0.0]) / math.sqrt(3)  # the axis of grey
    on_luma = torch.outer(luma, luma)
    if a.brightness > 0:
        step = torch.eye(4).repeat(n, 1, 1)
        step[:, :3, 3] = torch.where(draws.happens(a.brightness * p), draws.normal() * a.brightness_std, none)[:, None]
        matrix = step @ matrix
    if a.contrast > 0:
        factor = torch.where(draws.happens(a.contrast * p), (draws.normal() * a.contrast_std).exp2(), one)
        matrix = torch.diag_embed(torch.stack([factor, factor, factor, one], dim=1)) @ matrix
    if a.lumaflip > 0:
        flips = torch.where(draws.happens(a.lumaflip * p), (draws.uniform() * 2).floor(), none)
        matrix = (torch.eye(4) - 2 * on_luma * flips[:, None, None]) @ matrix
    if a.hue > 0 and channels > 1:
        angle = torch.where(draws.happens(a.hue * p), (draws.uniform() * 2 - 1) * math.pi * a.hue_max, none)
        matrix = turn_hue(angle) @ matrix
    if a.saturation > 0 and channels > 1:
        factor = torch.where(draws.happens(a.saturation * p), (draws.normal() * a.saturation_std).exp2(), one)
        matrix = (on_luma + (torch.eye(4) - on_luma) * factor[:, None, None]) @ matrix
    return matrix


def turn_hue(angle: Tensor) -> Tensor:
    """[N] in radians → [N, 4, 4], rotations about the axis of grey (Rodrigues' formula)."""
    axis = torch.full([3], 1 / math.sqrt(3))
    cross = torch.linalg.cross(axis.expand(3, 3), torch.eye(3)).t()
    sine, cosine = angle.sin()[:, None, None], angle.cos()[:, None, None]
    turned = torch.eye(4).repeat(len(angle), 1, 1)
    turned[:, :3, :3] = cosine * torch.eye(3) + sine * cross + (1 - cosine) * torch.outer(axis, axis)
    return turned


def apply_colours(images: Tensor, matrix: Tensor) -> Tensor:
    """images: [N, 1, 3 or 4, H, W], a fourth channel (opacity) stays. matrix: [N, 4, 4] on the CPU, as drawn."""
    if bool((matrix == torch.eye(4)).all()):
        return images
    channels = images.shape[1]
    if channels == 1:  # the mean of the three colours
        mean = matrix[:, :3].mean(dim=1)
        factor, offset = mean[:, :3].sum(dim=1).to(images), mean[:, 3].to(images)
        return images * factor[:, None, None, None] + offset[:, None, None, None]
    if channels not in (3, 4):
        raise UsageError(f"colours of pictures with {channels} channels cannot be augmented; use the augmentation bg, or none")
    matrix = matrix.to(images)
    pixels = torch.baddbmm(matrix[:, :3, 3:], matrix[:, :3, :3], images[:, :3].flatten(2)).unflatten(2, images.shape[2:])
    return pixels if channels == 3 else torch.cat([pixels, images[:, 3:]], dim=1)
