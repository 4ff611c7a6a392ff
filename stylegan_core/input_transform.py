"""Where a StyleGAN3 looks: the user's rotation and translation of its input, `synthesis.input.transform` of the official scripts.

A pose says how the picture moves: turned counter-clockwise about its centre, then moved. The transform is the inverse of that motion,
since it says for every position of the picture where on the plane of Fourier features to look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BUFFER = "synthesis.input.transform"
POSE = 3  # angle counter-clockwise in radians, motion right and down in picture widths


def has_input_transform(generator: Any) -> bool:
    """Whether the generator has an input that the user can move."""
    return BUFFER in dict(generator.named_buffers())


def pose_of(rotate: float = 0.0, translate: Sequence[float] = (0.0, 0.0)) -> Tensor:
    """[1, 3] of an angle in degrees and a motion (right, down) in picture widths."""
    return torch.tensor([[math.radians(rotate), *translate]], dtype=torch.float32)


def transform_of(pose: Tensor) -> Tensor:
    """pose: [N, 3] → [N, 3, 3], what the input's buffer holds; differentiable."""
    angle, right, down = pose.unbind(dim=1)
    c, s = torch.cos(angle), torch.sin(angle)
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    rows = [c, -s, s * down - c * right, s, c, -s * right - c * down, zero, zero, one]
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


def delta_of(pose: Tensor) -> Tensor:
    """pose: [N, 3] → what is added to the buffer of a generator that was not moved, [N, 3, 3]."""
    transform = transform_of(pose)
    return transform - torch.eye(3, dtype=transform.dtype, device=transform.device)


def pose_from_delta(delta: Tensor) -> Tensor:
    """The inverse of `delta_of`: [N, 3, 3] → [N, 3]. Of a transform that is no motion, the nearest angle and the same translation."""
    transform = delta + torch.eye(3, dtype=delta.dtype, device=delta.device)
    c, s = transform[:, 0, 0] + transform[:, 1, 1], transform[:, 1, 0] - transform[:, 0, 1]
    size = torch.hypot(c, s).clamp_min(1e-12)
    c, s = c / size, s / size
    x, y = transform[:, 0, 2], transform[:, 1, 2]
    return torch.stack([torch.atan2(s, c), -(c * x + s * y), s * x - c * y], dim=1)


def moved(images: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures moved by bilinear resampling: images [N, C, H, W], pose [N, 3] → (pictures, 1 where the source was seen [N, 1, H, W])."""
    matrix = transform_of(pose)
    theta = torch.cat([matrix[:, :2, :2], 2 * matrix[:, :2, 2:]], dim=2).to(images)  # grid coordinates run from -1 to 1
    grid = F.affine_grid(theta, [len(images), 1, *images.shape[2:]], align_corners=False)
    shown = F.grid_sample(images, grid, mode="bilinear", align_corners=False)
    seen = F.grid_sample(torch.ones_like(images[:, :1]), grid, mode="bilinear", align_corners=False)
    return shown, (seen > 0.99).to(images.dtype)


def set_pose(generator: Any, pose: Tensor) -> None:
    """Moves everything that the generator makes from now on, in place, as the official scripts do. pose: [1, 3]."""
    buffer = generator.get_buffer(BUFFER)
    buffer.copy_(transform_of(pose)[0].to(buffer))
