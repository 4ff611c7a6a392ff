"""Leaky ReLU without aliasing: bias, upsample, leaky ReLU, clamp, low-pass and downsample (SG3 Sec. 3.2).

Gains are folded into the upsampling taps, since a leaky ReLU lets positive factors through. Separable filters run as two depthwise
passes, each one a strided convolution or its transpose, which a CPU does fastest on channels_last data; other filters run in 2-D.
Everything is plain convolution, so it differentiates any number of times, in reverse and in forward mode.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.ops.upfirdn2d import Pair, paddings

SQRT2 = math.sqrt(2)


def filtered_lrelu(x: Tensor, fu: Tensor | None = None, fd: Tensor | None = None, b: Tensor | None = None, *, up: int = 1,
                   down: int = 1, padding: Pair = 0, gain: float = SQRT2, slope: float = 0.2, clamp: float | None = None,
                   flip_filter: bool = False) -> Tensor:
    """x: [N, C, H, W] → [N, C, H', W'].

    fu, fd: filters of the upsampling and the downsampling, [taps] when separable or [h, w]; None = identity. b: [C] or None.
    padding: one number, [x, y] or [left, right, top, bottom], counted in the upsampled picture; negative numbers crop. gain: of the
    activation, above 0; upsampling keeps the brightness. slope: of what is below 0; 1 = no activation. clamp: to ±clamp; None = not.
    flip_filter: False = convolution, True = correlation.
    """
    if b is not None:
        x = x + b.to(x.dtype)[:, None, None]
    x = upsampled(x, fu, up, paddings(padding), gain * up**2, flip_filter)
    if slope != 1:
        x = F.leaky_relu(x, slope)
    if clamp is not None:
        x = x.clamp(-clamp, clamp)
    return downsampled(x, fd, down, flip_filter)


def upsampled(x: Tensor, f: Tensor | None, up: int, pads: tuple[int, int, int, int], gain: float, flip_filter: bool = False) -> Tensor:
    """Inserts zeros, pads by (left, right, top, bottom), convolves with gain · f."""
    left, right, top, bottom = pads
    if f is None:
        if up == 1:
            return F.pad(x, list(pads)) * gain if any(pads) else (x if gain == 1 else x * gain)
        f = torch.ones(1, device=x.device)
    f = f.flip(list(range(f.ndim))) if flip_filter else f
    if f.ndim == 1:
        taps = (f * math.sqrt(gain)).to(x.dtype)
        x = _transposed(x, taps[None, :], (1, up), (0, 0, left, right))
        return _transposed(x, taps[:, None], (up, 1), (top, bottom, 0, 0))
    return _transposed(x, (f * gain).to(x.dtype), (up, up), (top, bottom, left, right))


def downsampled(x: Tensor, f: Tensor | None, down: int, flip_filter: bool = False) -> Tensor:
    """Convolves with f, without padding, and keeps every `down`-th pixel."""
    if f is None:
        return x if down == 1 else x[:, :, ::down, ::down]
    f = (f if flip_filter else f.flip(list(range(f.ndim)))).to(x.dtype)
    channels = x.shape[1]
    if f.ndim == 1:
        x = F.conv2d(x, _depthwise(f[None, :], channels), stride=(1, down), groups=channels)
        return F.conv2d(x, _depthwise(f[:, None], channels), stride=(down, 1), groups=channels)
    return F.conv2d(x, _depthwise(f, channels), stride=down, groups=channels)


def _transposed(x: Tensor, kernel: Tensor, up: tuple[int, int], pads: tuple[int, int, int, int]) -> Tensor:
    """pads: top, bottom, left, right. The transposed convolution gives the whole result; padding becomes a crop of it."""
    cropped, edges = [], []
    for axis in (0, 1):
        before, after = kernel.shape[axis] - 1 - pads[2 * axis], kernel.shape[axis] - up[axis] - pads[2 * axis + 1]
        cropped.append(max(min(before, after), 0))
        edges.append((cropped[-1] - before, cropped[-1] - after))
    channels = x.shape[1]
    x = F.conv_transpose2d(x, _depthwise(kernel, channels), stride=up, padding=cropped, groups=channels)
    return F.pad(x, [*edges[1], *edges[0]]) if any(edges[0]) or any(edges[1]) else x


def _depthwise(kernel: Tensor, channels: int) -> Tensor:
    return kernel.expand(channels, 1, *kernel.shape).contiguous()
