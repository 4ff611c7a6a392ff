"""Bilinear sampling of pictures at given places, differentiable any number of times in the pictures.

The derivative that torch has for its own grid_sample cannot be differentiated again in every version. Sampling is linear in the
picture, so its derivative is the adjoint map, and the adjoint's derivative is sampling: two functions that know each other.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BILINEAR, ZEROS = 0, 0  # as torch numbers its modes


def grid_sample(x: Tensor, grid: Tensor) -> Tensor:
    """x: [N, C, H, W], grid: [N, H', W', 2] of (x, y) with -1 and 1 at the outer edges → [N, C, H', W']; 0 outside.

    The grid gets no gradient.
    """
    return _Sample.apply(x, grid.detach())


class _Sample(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = x.shape
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @staticmethod
    def backward(ctx: Any, of_y: Tensor) -> Any:
        (grid,) = ctx.saved_tensors
        return _Adjoint.apply(of_y, grid, ctx.shape) if ctx.needs_input_grad[0] else None, None


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, of_y: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        x = of_y.new_zeros([1]).expand(shape)  # only its shape is read
        return torch.ops.aten.grid_sampler_2d_backward(of_y.contiguous(), x, grid, BILINEAR, ZEROS, False, [True, False])[0]

    @staticmethod
    def backward(ctx: Any, of_x: Tensor) -> Any:
        (grid,) = ctx.saved_tensors
        return _Sample.apply(of_x, grid) if ctx.needs_input_grad[0] else None, None, None
