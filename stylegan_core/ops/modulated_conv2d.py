"""Convolution with resampling, and with weights modulated per sample (SG2 Eqs. 1 and 3).

The weights of sample n are w'[o, i] = w[o, i]·s[n, i], divided by their norm over i and the taps. A convolution is linear in both, so
the styles scale the input channels and the norms divide the output channels of ONE shared convolution: no weights per sample and no
grouped convolution, which would fall off a cliff on a CPU for batches above 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.ops.upfirdn2d import Pair, filter_size, paddings, upfirdn2d

DEMODULATION_EPS = 1e-8  # (SG2 Eq. 3)


def conv2d_resample(x: Tensor, w: Tensor, f: Tensor | None = None, up: int = 1, down: int = 1, padding: Pair = 0,
                    groups: int = 1, flip_weight: bool = True, flip_filter: bool = False) -> Tensor:
    """Upsample, convolve, downsample, with low-pass filter f where the rate changes.

    x: [N, I, H, W]. w: [O, I/groups, k, k]. flip_weight: True = correlation, as in torch; False = convolution.
    padding is counted at the upsampled rate, as if the steps ran one after another.
    """
    height, width = filter_size(f)
    left, right, top, bottom = paddings(padding)
    if up > 1:
        left, right = left + (width + up - 1) // 2, right + (width - up) // 2
        top, bottom = top + (height + up - 1) // 2, bottom + (height - up) // 2
    if down > 1:
        left, right = left + (width - down + 1) // 2, right + (width - down) // 2
        top, bottom = top + (height - down + 1) // 2, bottom + (height - down) // 2
    pads = [left, right, top, bottom]
    rows, columns = w.shape[2:]
    correlation = w if flip_weight or rows == columns == 1 else w.flip([2, 3])

    if up == 1 and down == 1:
        return _convolve(x, correlation, pads, groups)
    if rows == columns == 1 and up == 1:
        return F.conv2d(upfirdn2d(x, f, down=down, padding=pads, flip_filter=flip_filter), correlation, groups=groups)
    if rows == columns == 1 and down == 1:
        return upfirdn2d(F.conv2d(x, correlation, groups=groups), f, up=up, padding=pads, gain=up**2, flip_filter=flip_filter)
    if up == 1:
        return F.conv2d(upfirdn2d(x, f, padding=pads, flip_filter=flip_filter), correlation, stride=down, groups=groups)

    # A strided transposed convolution inserts the zeros; the filter follows, since convolutions commute.
    left, right, top, bottom = left - (columns - 1), right - (columns - up), top - (rows - 1), bottom - (rows - up)
    crop_x, crop_y = max(min(-left, -right), 0), max(min(-top, -bottom), 0)
    weight = w.flip([2, 3]) if flip_weight else w
    out_channels, _in_per_group = weight.shape[:2]
    weight = weight.unflatten(0, (groups, out_channels // groups)).transpose(1, 2).flatten(0, 1)
    x = F.conv_transpose2d(x, weight, stride=up, padding=(crop_y, crop_x), groups=groups)
    pads = [left + crop_x, right + crop_x, top + crop_y, bottom + crop_y]
    x = upfirdn2d(x, f, padding=pads, gain=up**2, flip_filter=flip_filter)
    return upfirdn2d(x, f, down=down, flip_filter=flip_filter) if down > 1 else x


def modulated_conv2d(x: Tensor, weight: Tensor, styles: Tensor, noise: Tensor | None = None, up: int = 1, down: int = 1,
                     padding: Pair = 0, resample_filter: Tensor | None = None, demodulate: bool = True,
                     flip_weight: bool = True) -> Tensor:
    """Modulate, convolve, demodulate, add noise (SG2 Fig. 2d).

    x: [N, I, H, W]. weight: [O, I, k, k]. styles: [N, I]. noise: broadcasts to the output [N, O, H', W']; None = no noise.
    """
    styles = styles.to(x.dtype)
    x = x * styles[:, :, None, None]
    x = conv2d_resample(x, weight.to(x.dtype), f=resample_filter, up=up, down=down, padding=padding, flip_weight=flip_weight)
    if not demodulate:
        return x if noise is None else x + noise.to(x.dtype)
    norms = demodulation(weight, styles).to(x.dtype)[:, :, None, None]
    return x * norms if noise is None else torch.addcmul(noise.to(x.dtype), x, norms)


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """1 / ‖w·s‖ of every output channel: [N, O] (SG2 Eq. 3), as one small matrix product."""
    power = weight.square().sum(dim=[2, 3])
    return (styles.to(power.dtype).square() @ power.t() + DEMODULATION_EPS).rsqrt()


def grouped_modulated_conv2d(x: Tensor, weight: Tensor, styles: Tensor, noise: Tensor | None = None, up: int = 1,
                             padding: Pair = 0, resample_filter: Tensor | None = None, demodulate: bool = True,
                             flip_weight: bool = True) -> Tensor:
    """The same by weights per sample and one grouped convolution: the form of most releases; kept to measure against."""
    batch, channels = x.shape[:2]
    weights = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        weights = weights * (weights.square().sum(dim=[2, 3, 4], keepdim=True) + DEMODULATION_EPS).rsqrt()
    x = conv2d_resample(x.reshape(1, batch * channels, *x.shape[2:]), weights.flatten(0, 1), f=resample_filter, up=up,
                        padding=padding, groups=batch, flip_weight=flip_weight)
    x = x.reshape(batch, -1, *x.shape[2:])
    return x if noise is None else x + noise


def _convolve(x: Tensor, w: Tensor, pads: list[int], groups: int) -> Tensor:
    left, right, top, bottom = pads
    if left == right >= 0 and top == bottom >= 0:
        return F.conv2d(x, w, padding=(top, left), groups=groups)
    return F.conv2d(F.pad(x, pads), w, groups=groups)
