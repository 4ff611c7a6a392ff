"""The layers that mapping, synthesis and discriminators share, with equalised learning rate (Karras et al. 2018, Sec. 4.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stylegan_core.ops.bias_act import ACTIVATIONS, bias_act
from stylegan_core.ops.modulated_conv2d import conv2d_resample
from stylegan_core.ops.upfirdn2d import setup_filter


def normalize_2nd_moment(x: Tensor, eps: float = 1e-8) -> Tensor:
    """x: [N, features] scaled to unit mean square per row."""
    return x * (x.square().mean(dim=1, keepdim=True) + eps).rsqrt()


def best_memory_format(x: Tensor) -> torch.memory_format:
    """channels_last where convolutions are faster with it: on a CPU, and in half precision on CUDA."""
    is_half = x.dtype in (torch.float16, torch.bfloat16)
    return torch.channels_last if x.device.type == "cpu" or (x.device.type == "cuda" and is_half) else torch.contiguous_format


class FullyConnectedLayer(nn.Module):
    """act(x Wᵀ + b): [N, in] → [N, out]."""

    def __init__(self, in_features: int, out_features: int, *, activation: str = "linear", lr_multiplier: float = 1.0,
                 bias_init: float = 0.0):
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], float(bias_init)))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        b = self.bias if self.bias_gain == 1 else self.bias * self.bias_gain
        if self.activation == "linear":
            return torch.addmm(b.to(x.dtype), x, (self.weight * self.weight_gain).to(x.dtype).t())
        return bias_act(x @ (self.weight * self.weight_gain).to(x.dtype).t(), b, act=self.activation)


class Conv2dLayer(nn.Module):
    """Convolution with optional resampling, bias and activation: [N, in, H, W] → [N, out, H·up/down, W·up/down]."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, bias: bool = True, activation: str = "linear",
                 up: int = 1, down: int = 1, resample_filter: Sequence[float] = (1, 3, 3, 1), conv_clamp: float | None = None):
        super().__init__()
        self.activation, self.up, self.down, self.conv_clamp = activation, up, down, conv_clamp
        self.padding = kernel_size // 2
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.act_gain = ACTIVATIONS[activation].gain
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("resample_filter", setup_filter(list(resample_filter)))

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        w = (self.weight * self.weight_gain).to(x.dtype)
        x = conv2d_resample(x, w, f=self.resample_filter, up=self.up, down=self.down, padding=self.padding,
                            flip_weight=self.up == 1)
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return bias_act(x, self.bias, act=self.activation, gain=self.act_gain * gain, clamp=clamp)
