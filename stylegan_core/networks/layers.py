"""The layers that mapping, synthesis and discriminators share, with equalised learning rate (Karras et al. 2018, Sec. 4.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

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


def is_plain_call(*tensors: Tensor | None) -> bool:
    """Whether an ordinary call is under way, on the CPU and without transforms: then a hand-written step may replace many small ones.

    Not so while something else reads the operations: torch.func transforms, forward-mode differentiation, autocast, tracing, compiling.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch._C._are_functorch_transforms_active() or is_autocast("cpu"):
        return False
    given = [tensor for tensor in tensors if tensor is not None]
    return all(tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64) and tensor.dtype == given[0].dtype
               and forward_ad.unpack_dual(tensor).tangent is None for tensor in given)


def is_autocast(device_type: str) -> bool:
    """Whether autocast is on for this kind of device."""
    try:
        return torch.is_autocast_enabled(device_type)
    except TypeError:  # torch before 2.4
        return torch.is_autocast_cpu_enabled() if device_type == "cpu" else torch.is_autocast_enabled()


def is_frozen(*parameters: Tensor) -> bool:
    """Whether no gradient will reach these."""
    return not torch.is_grad_enabled() or not any(parameter.requires_grad for parameter in parameters)


def checkpoint_layers(network: nn.Module, is_on: bool) -> None:
    """Whether the network's convolutions keep their inputs alone and compute the rest again for the gradient, of any order."""
    layers: list[Any] = [module for module in network.modules() if hasattr(module, "is_checkpointed")]
    for layer in layers:
        layer.is_checkpointed = is_on


def run_layer(forward: Callable[..., Any], *inputs: Any, is_checkpointed: bool) -> Any:
    """forward(*inputs), by checkpoint_layers' choice."""
    if is_checkpointed and torch.is_grad_enabled():
        return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=False)
    return forward(*inputs)


class Kept:
    """What was made from a tensor, for as long as that tensor stays the same one with the same numbers; copies start empty."""

    def __init__(self) -> None:
        self._entry: tuple[Tensor, tuple[Any, ...], Tensor, Any] | None = None

    def get(self, source: Tensor, make: Callable[[Tensor], Any], *variant: Any) -> Any:
        """make(source), or what it gave before for this variant. Changes through `.data` are seen too, unless they touch few numbers."""
        source = source.detach()
        version = 0 if source.is_inference() else source._version
        identity = (*variant, source.device, source.data_ptr(), source.shape, source.stride(), source.dtype, version)
        sample = source.flatten()[:: max(1, source.numel() // 61)]
        entry = self._entry
        if entry is not None and entry[1] == identity and torch.equal(entry[2], sample):
            return entry[3]
        value = make(source)
        self._entry = (source, identity, sample.clone(), value)  # holding the source keeps its address from being used again
        return value

    def __deepcopy__(self, memo: dict[int, Any]) -> Kept:
        return Kept()

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()


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
        x = torch.addmm(b.to(x.dtype), x, self.weight.to(x.dtype).t(), alpha=self.weight_gain)
        return x if self.activation == "linear" else bias_act(x, act=self.activation)


class Conv2dLayer(nn.Module):
    """Convolution with optional resampling, bias and activation: [N, in, H, W] → [N, out, H·up/down, W·up/down]."""

    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, bias: bool = True, activation: str = "linear",
                 up: int = 1, down: int = 1, resample_filter: Sequence[float] = (1, 3, 3, 1), conv_clamp: float | None = None):
        super().__init__()
        self.activation, self.up, self.down, self.conv_clamp = activation, up, down, conv_clamp
        self.is_checkpointed = False
        self.padding = kernel_size // 2
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.act_gain = ACTIVATIONS[activation].gain
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("resample_filter", setup_filter(list(resample_filter)))

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        return run_layer(self._convolve, x, gain, is_checkpointed=self.is_checkpointed)

    def _convolve(self, x: Tensor, gain: float) -> Tensor:
        w = (self.weight * self.weight_gain).to(x.dtype)
        x = conv2d_resample(x, w, f=self.resample_filter, up=self.up, down=self.down, padding=self.padding,
                            flip_weight=self.up == 1)
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return bias_act(x, self.bias, act=self.activation, gain=self.act_gain * gain, clamp=clamp)
