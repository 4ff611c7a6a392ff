"""HyperStyle's hypernetwork (Alaluf et al. 2022): target and picture so far → changes of the generator's weights.

Parameter names are those of the published files: refinement_blocks.N.convs.N, shared_weight_hypernet.w1, …
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from encoders.backbones.build import build_backbone
from encoders.configs import HyperStyleConfig, ModulatedWeight
from encoders.heads import COARSE, num_halvings, strided_convs
from stylegan_core.networks.layers import FullyConnectedLayer

INITIAL_SPREAD = 1 / 40  # of the shared hypernetwork's weights
LARGEST_INITIAL = 2.0


class SharedOutput(nn.Module):
    """code [N, code_dim] → change [N, out, in, k, k]; two layers that all weights of one shape share (HS Sec. 3.2)."""

    def __init__(self, code_dim: int, weight: ModulatedWeight):
        super().__init__()
        self.out_channels, self.code_dim = weight.out_channels, code_dim
        self.kernel = (weight.in_channels, weight.kernel_size, weight.kernel_size)
        taps = weight.in_channels * weight.kernel_size**2
        self.w1, self.b1 = initial(code_dim, taps), initial(taps)
        self.w2, self.b2 = initial(code_dim, weight.out_channels * code_dim), initial(weight.out_channels * code_dim)

    def forward(self, code: Tensor) -> Tensor:
        filters = torch.addmm(self.b2, code, self.w2).view(-1, self.out_channels, self.code_dim)
        return (filters @ self.w1 + self.b1).unflatten(2, self.kernel)


def initial(*shape: int) -> nn.Parameter:
    """Small normal numbers."""
    return nn.Parameter(torch.fmod(torch.randn(*shape) * INITIAL_SPREAD, LARGEST_INITIAL))


class SharedBlock(nn.Module):
    """map [N, C, h, w] → the code that the shared output layers turn into a change (HS Fig. 4, right)."""

    def __init__(self, in_channels: int, config: HyperStyleConfig, side: float):
        super().__init__()
        count = num_halvings(side) + 1
        self.convs = strided_convs(in_channels, config.shared_width, count, first_stride=1, out_channels=config.code_dim)
        self.linear = FullyConnectedLayer(config.code_dim, config.code_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.convs(x).mean(dim=(2, 3)))


class OwnBlock(nn.Module):
    """map [N, C, h, w] → one number per filter and channel, the same at every tap: [N, out, in, 1, 1] (HS Fig. 4, left)."""

    def __init__(self, in_channels: int, weight: ModulatedWeight, config: HyperStyleConfig, side: float):
        super().__init__()
        is_wide = weight.kernel_size > 1  # what is left of the map is averaged; a 1×1 kernel takes one pixel
        count = num_halvings(side, 2 if is_wide else 1)
        self.shape = (weight.out_channels, weight.in_channels, 1, 1)
        self.convs = strided_convs(in_channels, config.own_width, count, out_channels=config.code_dim)
        output = nn.Conv2d(config.code_dim, weight.out_channels * weight.in_channels, 1)
        self.output = nn.Sequential(nn.AdaptiveAvgPool2d(1), output) if is_wide else nn.Sequential(output)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.convs(x)).flatten(1).unflatten(1, self.shape)


class SeparableBlock(nn.Module):
    """map [N, C, h, w] → products of a kernel over inputs and one over outputs, each mixed linearly: [N, out, in, k, k]."""

    def __init__(self, in_channels: int, weight: ModulatedWeight, config: HyperStyleConfig, side: float):
        super().__init__()
        self.convs = strided_convs(in_channels, config.own_width, num_halvings(side), out_channels=config.code_dim)
        self.output = nn.Sequential(SeparableOutput(config.code_dim, weight))

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.convs(x).mean(dim=(2, 3)))


class SeparableOutput(nn.Module):
    """code [N, code_dim] → [N, out, in, k, k]."""

    def __init__(self, code_dim: int, weight: ModulatedWeight):
        super().__init__()
        self.kernel_size = weight.kernel_size
        self.make_kernel_in = nn.Linear(code_dim, weight.kernel_size**2 * weight.in_channels)
        self.make_kernel_out = nn.Linear(code_dim, weight.kernel_size**2 * weight.out_channels)
        self.kernel_linear_in = nn.Linear(weight.in_channels, weight.in_channels)
        self.kernel_linear_out = nn.Linear(weight.out_channels, weight.out_channels)

    def forward(self, code: Tensor) -> Tensor:
        taps = (self.kernel_size, self.kernel_size, -1)
        inputs = self.make_kernel_in(code).unflatten(1, taps)[..., None, :]
        outputs = self.make_kernel_out(code).unflatten(1, taps)[..., :, None]
        kernel = self.kernel_linear_in(outputs @ inputs)  # [N, k, k, out, in]
        return self.kernel_linear_out(kernel.transpose(3, 4)).permute(0, 4, 3, 1, 2)


class HyperNetwork(nn.Module):
    """[N, 2·img_channels, H, W] → name of a weight → relative change [N, out, in, k, k] or [N, out, in, 1, 1]."""

    def __init__(self, config: HyperStyleConfig):
        super().__init__()
        self.weights = config.weights
        side, channels = max(config.input_shape) / COARSE, config.backbone.channels(COARSE)
        self.backbone = build_backbone(config.backbone)
        shared = [weight for weight in config.weights if weight.is_tuned and weight.is_shared]
        if shared:
            self.shared_weight_hypernet = SharedOutput(config.code_dim, shared[0])
        blocks: dict[str, nn.Module] = {}
        for number, weight in enumerate(config.weights):
            if weight.is_tuned and weight.is_shared:
                blocks[str(number)] = SharedBlock(channels, config, side)
            elif weight.is_tuned:
                kind = SeparableBlock if config.is_separable and weight.kernel_size > 1 else OwnBlock
                blocks[str(number)] = kind(channels, weight, config, side)
        self.refinement_blocks = nn.ModuleDict(blocks)

    def forward(self, seen: Tensor) -> dict[str, Tensor]:
        x = self.backbone(seen)[COARSE]
        changes = {}
        for number, block in self.refinement_blocks.items():
            weight = self.weights[int(number)]
            value = block(x)
            changes[weight.name] = self.shared_weight_hypernet(value) if weight.is_shared else value
        return changes


def start_without_change(network: Any) -> None:
    """Sets the last layers so that a fresh hypernetwork changes nothing."""
    for module in network.modules():
        if isinstance(module, SharedOutput):
            nn.init.zeros_(module.w1)
            nn.init.zeros_(module.b1)
        elif isinstance(module, OwnBlock):
            last: Any = module.output[-1]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        elif isinstance(module, SeparableOutput):
            nn.init.zeros_(module.kernel_linear_out.weight)
            nn.init.zeros_(module.kernel_linear_out.bias)
