"""Convolution modulated per sample, whose input is scaled to unit magnitude by a running mean (SG3 Sec. 3.1, config D).

As in SG2 Eqs. 1 and 3 the styles scale the input channels and the norms divide the output channels of one shared convolution. Bias
and activation gain join the division by the norms, in one pass.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.ops.modulated_conv2d import demodulation
from stylegan_core.ops.upfirdn2d import Pair, pair


def normalised_conv2d(x: Tensor, weight: Tensor, styles: Tensor, b: Tensor | None = None, *, input_gain: Tensor | None = None,
                      demodulate: bool = True, padding: Pair = 0, gain: float = 1.0) -> Tensor:
    """(conv(x · input_gain · styles, weight) / norms + b) · gain.

    x: [N, I, H, W]. weight: [O, I, k, k]. styles: [N, I]. input_gain: [], [I] or [N, I], left out of the norms; None = 1. b: [O] or
    None. padding: of both sides, one number or [y, x].
    """
    scales = styles if input_gain is None else styles * input_gain
    y = F.conv2d(x * scales.to(x.dtype)[:, :, None, None], weight.to(x.dtype), padding=pair(padding))
    bias = None if b is None else (b if gain == 1 else b * gain).to(y.dtype)[:, None, None]
    if not demodulate:
        y = y if gain == 1 else y * gain
        return y if bias is None else y + bias
    size = (styles.square().mean(dim=1, keepdim=True) + torch.finfo(styles.dtype).tiny).rsqrt()  # so that no style is small beside eps
    factors = demodulation(weight, styles * size) * size
    norms = (factors if gain == 1 else factors * gain).to(y.dtype)[:, :, None, None]
    return y * norms if bias is None else torch.addcmul(bias, y, norms)
