"""Pad, upsample, filter and downsample pictures in one step (SG2 App. B; Karras et al. 2019, Sec. 2.1 on low-pass filtering).

Everything is plain convolution, so it differentiates any number of times, in reverse and in forward mode. On a CPU one 2-D
depthwise pass over channels_last data is faster than two 1-D passes or shifted sums.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = int | Sequence[int]
SEPARABLE_FROM = 8  # taps; longer separable filters run as two 1-D passes


def setup_filter(taps: Tensor | Sequence[float] | None, *, normalize: bool = True, flip: bool = False, gain: float = 1.0,
                 separable: bool | None = None) -> Tensor:
    """FIR filter as a float32 tensor: [h, w], or [taps] when it is to be applied along both axes.

    taps: 1-D or 2-D numbers; None = identity. separable: None = 1-D filters of 8 taps or more stay 1-D.
    """
    f = torch.as_tensor(1.0 if taps is None else taps, dtype=torch.float32)
    if f.ndim > 2 or f.numel() == 0:
        raise ValueError(f"a filter has one or two axes and at least one tap, not the shape {tuple(f.shape)}")
    if f.ndim == 0:
        f = f[None]
    if separable is None:
        separable = f.ndim == 1 and f.numel() >= SEPARABLE_FROM
    if f.ndim == 1 and not separable:
        f = torch.outer(f, f)
    if normalize:
        f = f / f.sum()
    if flip:
        f = f.flip(list(range(f.ndim)))
    return f * gain ** (f.ndim / 2)


def upfirdn2d(x: Tensor, f: Tensor | None, up: Pair = 1, down: Pair = 1, padding: Pair = 0, flip_filter: bool = False,
              gain: float = 1.0) -> Tensor:
    """Insert zeros, pad, convolve with a filter, keep every `down`-th pixel.

    x: [N, C, H, W]. f: [h, w] or separable [taps]; None = identity. padding: one number, [x, y] or [left, right, top, bottom], counted
    in the upsampled picture; negative numbers crop. flip_filter: False = convolution, True = correlation.
    """
    up_x, up_y = pair(up)
    down_x, down_y = pair(down)
    left, right, top, bottom = paddings(padding)
    if f is None:
        f = x.new_ones([1, 1])
    f = (f * gain ** (f.ndim / 2)).to(device=x.device, dtype=x.dtype)
    if f.ndim == 2:
        return _upfirdn(x, f, (up_y, up_x), (down_y, down_x), (top, bottom, left, right), flip_filter)
    x = _upfirdn(x, f[None, :], (1, up_x), (1, down_x), (0, 0, left, right), flip_filter)
    return _upfirdn(x, f[:, None], (up_y, 1), (down_y, 1), (top, bottom, 0, 0), flip_filter)


def filter2d(x: Tensor, f: Tensor, padding: Pair = 0, flip_filter: bool = False, gain: float = 1.0) -> Tensor:
    """Filter without changing the size; padding is added to what keeps the size."""
    height, width = filter_size(f)
    left, right, top, bottom = paddings(padding)
    pads = [left + width // 2, right + (width - 1) // 2, top + height // 2, bottom + (height - 1) // 2]
    return upfirdn2d(x, f, padding=pads, flip_filter=flip_filter, gain=gain)


def upsample2d(x: Tensor, f: Tensor, up: Pair = 2, padding: Pair = 0, flip_filter: bool = False, gain: float = 1.0) -> Tensor:
    """Upsample so that the mean brightness stays; [N, C, H, W] → [N, C, H·up, W·up]."""
    up_x, up_y = pair(up)
    height, width = filter_size(f)
    left, right, top, bottom = paddings(padding)
    pads = [left + (width + up_x - 1) // 2, right + (width - up_x) // 2,
            top + (height + up_y - 1) // 2, bottom + (height - up_y) // 2]
    return upfirdn2d(x, f, up=[up_x, up_y], padding=pads, flip_filter=flip_filter, gain=gain * up_x * up_y)


def upsampling_matrices(f: Tensor, height: int, width: int | None = None) -> tuple[Tensor, Tensor] | None:
    """(R, C) with R @ x @ C = upsample2d(x, f) for pictures of height × width (None = square); None when f is no outer product."""
    if f.ndim != 2:
        return None
    column, row = f.sum(dim=1) / f.sum(), f.sum(dim=0)
    if not torch.allclose(torch.outer(column, row), f, rtol=1e-5, atol=1e-7):
        return None
    rows, columns = (torch.eye(size, dtype=f.dtype, device=f.device)[None, None] for size in (height, width or height))
    return upsample2d(rows, column[:, None], up=[1, 2])[0, 0], upsample2d(columns, row[None, :], up=[2, 1])[0, 0]


def downsample2d(x: Tensor, f: Tensor, down: Pair = 2, padding: Pair = 0, flip_filter: bool = False, gain: float = 1.0) -> Tensor:
    """Low-pass and downsample; [N, C, H, W] → [N, C, H/down, W/down]."""
    down_x, down_y = pair(down)
    height, width = filter_size(f)
    left, right, top, bottom = paddings(padding)
    pads = [left + (width - down_x + 1) // 2, right + (width - down_x) // 2,
            top + (height - down_y + 1) // 2, bottom + (height - down_y) // 2]
    return upfirdn2d(x, f, down=[down_x, down_y], padding=pads, flip_filter=flip_filter, gain=gain)


def pair(value: Pair) -> tuple[int, int]:
    """One number or [x, y] → (x, y)."""
    x, y = (value, value) if isinstance(value, int) else value
    return int(x), int(y)


def paddings(value: Pair) -> tuple[int, int, int, int]:
    """One number, [x, y] or [left, right, top, bottom] → (left, right, top, bottom)."""
    if isinstance(value, int):
        return value, value, value, value
    if len(value) == 2:
        return int(value[0]), int(value[0]), int(value[1]), int(value[1])
    left, right, top, bottom = value
    return int(left), int(right), int(top), int(bottom)


def filter_size(f: Tensor | None) -> tuple[int, int]:
    """(height, width) of a filter, separable or not."""
    return (1, 1) if f is None else (int(f.shape[0]), int(f.shape[-1]))


def _upfirdn(x: Tensor, f: Tensor, up: tuple[int, int], down: tuple[int, int], pads: tuple[int, int, int, int],
             flip_filter: bool) -> Tensor:
    channels = x.shape[1]
    if up == (1, 1):
        kernel = (f if flip_filter else f.flip([0, 1])).expand(channels, 1, *f.shape).contiguous()
        top, bottom, left, right = pads
        if top == bottom >= 0 and left == right >= 0:
            return F.conv2d(x, kernel, stride=down, padding=(top, left), groups=channels)
        return F.conv2d(F.pad(x, [left, right, top, bottom]), kernel, stride=down, groups=channels)
    kernel = (f.flip([0, 1]) if flip_filter else f).expand(channels, 1, *f.shape).contiguous()
    y = F.conv_transpose2d(x, kernel, stride=up, groups=channels)  # the full convolution; the padding becomes a crop of it
    edges = []
    for axis in (1, 0):
        before, after, taps = pads[2 * axis], pads[2 * axis + 1], f.shape[axis]
        size = x.shape[2 + axis] * up[axis] + before + after - taps + 1
        first = before - (taps - 1)
        edges += [first, size - y.shape[2 + axis] - first]
    return F.pad(y, edges)[:, :, :: down[0], :: down[1]]
