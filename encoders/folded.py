"""The same encoder for inference, quicker: batch normalisation folded into convolutions, channels last, heads of a level together.

In float32 the latents are equal but for rounding; in bfloat16 they are nearly so. Weights are copied, the original stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from encoders.backbones.ir_se import IRBackbone, IRUnit, SqueezeExcite
from encoders.backbones.strided import StridedBackbone
from encoders.base import OnePass
from encoders.configs import EncoderConfig
from encoders.e4e import E4E
from encoders.heads import COARSE, MapToStyle, RowHeads, stacked, upsampled_sum
from encoders.psp import PSP
from encoders.restyle import ReStyle
from stylegan_core.errors import UsageError

MATRIX_PIXELS = 16  # of a map after a convolution: up to so many, a product with gathered pixels reads the weights once and is quicker
SLOPE = 0.01        # of the leaky ReLU of heads


def folded(encoder: Any, *, precision: str = "fp32") -> Any:
    """An encoder of the same latents. precision: fp32, or bf16, whose latents are returned in float32. Raises UsageError."""
    if precision not in ("fp32", "bf16"):
        raise UsageError(f"precision {precision!r}: fp32 or bf16 is allowed")
    if not isinstance(encoder, (OnePass, ReStyle)):
        raise UsageError("only encoders of one pass and ReStyle can be folded; HyperStyle spends its time in the generator")
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    network = FoldedNetwork(encoder.network, encoder.config, dtype)
    return type(encoder)(encoder.config, network, encoder.w_avg, encoder.generator, encoder.name).eval()


class FoldedNetwork(nn.Module):
    """images [N, in_channels, H, W] → offsets, as the network that it is made from."""

    @torch.no_grad()
    def __init__(self, network: Any, config: EncoderConfig, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype
        self.backbone = folded_backbone(network.backbone)
        self.stage = network.stage if isinstance(network, E4E) else None
        if isinstance(network, (PSP, E4E)) and not network.head.is_shared:
            self.head: nn.Module = FoldedHeads(network.head, config)
            self.strides = network.head.strides
        else:
            self.head, self.strides = copied(network.head), network.head.strides if isinstance(network.head, RowHeads) else (COARSE,)
        self.to(dtype=dtype).to(memory_format=torch.channels_last).eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        x = images.to(self.dtype).contiguous(memory_format=torch.channels_last)
        maps = self.backbone(x, self.strides)
        if isinstance(self.head, (FoldedHeads, RowHeads)):
            rows = self.head(maps) if isinstance(self.head, FoldedHeads) else stacked(self.head(maps))
        else:
            rows = self.head(maps[COARSE])
            rows = rows if rows.ndim == 3 else rows[:, None]
        rows = rows.to(images.dtype)
        if self.stage is None:
            return rows
        is_changed = torch.arange(rows.shape[1], device=rows.device)[None, :, None]
        return torch.where((is_changed > 0) & (is_changed <= self.stage), rows + rows[:, :1], rows[:, :1])


def copied(module: nn.Module) -> nn.Module:
    """Of its own memory."""
    import copy

    return copy.deepcopy(module)


def folded_backbone(backbone: Any) -> nn.Module:
    """The same maps without batch normalisation."""
    twin: Any = copied(backbone).eval()
    if isinstance(twin, StridedBackbone):  # has none
        return twin
    if isinstance(twin, IRBackbone):
        stem: list[Any] = list(twin.input_layer)
        units: list[Any] = list(twin.body)
        twin.input_layer = nn.Sequential(fuse_conv_bn_eval(*stem[:2]), stem[2])
        twin.body = nn.Sequential(*(FoldedUnit(unit) for unit in units))
        return twin
    twin.conv1, twin.bn1 = fuse_conv_bn_eval(twin.conv1, twin.bn1), nn.Identity()
    for block in twin.body:
        for number in (1, 2, 3):
            if hasattr(block, f"bn{number}"):
                setattr(block, f"conv{number}", fuse_conv_bn_eval(getattr(block, f"conv{number}"), getattr(block, f"bn{number}")))
                setattr(block, f"bn{number}", nn.Identity())
        if block.downsample is not None:
            block.downsample = nn.Sequential(fuse_conv_bn_eval(*block.downsample))
    return twin


def convolution(*sizes: Any, **options: Any) -> Any:
    """nn.Conv2d, whose bias is there."""
    return nn.Conv2d(*sizes, **options)


class FoldedUnit(nn.Module):
    """An IR unit: the normalisation before the first convolution is folded into it too, with what its padding lacks at the edges."""

    top: Tensor
    bottom: Tensor
    left: Tensor
    right: Tensor
    corners: Tensor
    taps: Tensor

    def __init__(self, unit: IRUnit):
        super().__init__()
        layers: list[Any] = list(unit.res_layer)
        norm, conv, self.slope, second, last = layers[:5]
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
        self.first = convolution(conv.in_channels, conv.out_channels, 3, 1, 1)
        self.first.weight.copy_(conv.weight * scale[:, None, None])
        taps = torch.einsum("oiyx,i->oyx", conv.weight, shift)  # what each tap adds, where it lies inside the picture
        self.first.bias.copy_(taps.sum(dim=(1, 2)))
        edges = {"top": taps[:, 0], "bottom": taps[:, 2], "left": taps[:, :, 0], "right": taps[:, :, 2]}
        for name, value in edges.items():
            self.register_buffer(name, value.sum(dim=1)[:, None].contiguous())
        self.register_buffer("taps", taps[:, None].contiguous())
        self.register_buffer("corners", taps[:, ::2, ::2].contiguous())
        self.second = fuse_conv_bn_eval(second, last)
        self.gate = next((layer for layer in unit.res_layer if isinstance(layer, SqueezeExcite)), None)
        self.shortcut: Any = unit.shortcut_layer
        if isinstance(self.shortcut, nn.Sequential):
            self.shortcut = nn.Sequential(fuse_conv_bn_eval(*self.shortcut))

    def forward(self, x: Tensor) -> Tensor:
        y = self._at_edges(self.first(x))
        y = self.second(self.slope(y))
        shortcut = self.shortcut(x)
        return y.add_(shortcut) if self.gate is None else torch.addcmul(shortcut, y, self.gate.gate(y))

    def _at_edges(self, y: Tensor) -> Tensor:
        """Without what taps outside the picture added: normalisation comes before the padding."""
        if min(y.shape[2:]) == 1:  # every pixel is an edge
            inside = F.conv2d(y.new_ones(1, 1, *y.shape[2:]), self.taps, padding=1)
            return y + (inside - self.first.bias[:, None, None])
        y[:, :, 0] -= self.top
        y[:, :, -1] -= self.bottom
        y[:, :, :, 0] -= self.left
        y[:, :, :, -1] -= self.right
        y[:, :, :: y.shape[2] - 1, :: y.shape[3] - 1] += self.corners  # were taken away twice
        return y


class FoldedHeads(nn.Module):
    """Maps by stride → [N, num_ws, w_dim]: the heads of a level run together."""

    def __init__(self, head: Any, config: EncoderConfig):
        super().__init__()
        self.pyramid = copied(head.pyramid)
        self.finest = min(head.strides)
        levels = {}
        for stride in sorted(set(head.stride_of), reverse=True):
            rows = [row for row, own in zip(head.styles, head.stride_of) if own == stride]
            size = (config.input_shape[0] // stride, config.input_shape[1] // stride)
            levels[str(stride)] = FoldedLevel(rows, size)
        self.levels = nn.ModuleDict(levels)

    def forward(self, maps: Mapping[int, Tensor]) -> Tensor:
        found = {COARSE: maps[COARSE]}
        for stride, layer in ((8, "latlayer1"), (4, "latlayer2")):
            if self.finest <= stride:
                found[stride] = upsampled_sum(found[2 * stride], getattr(self.pyramid, layer)(maps[stride]))
        return torch.cat([level(found[int(stride)]) for stride, level in self.levels.items()], dim=1)


class FoldedLevel(nn.Module):
    """A map [N, C, h, w] → [N, rows, w_dim]: one convolution for the first layers of all rows, then groups, then products."""

    weight: Tensor
    bias: Tensor

    def __init__(self, rows: list[MapToStyle], size: tuple[int, int]):
        super().__init__()
        self.count, self.num_joined = len(rows), 0
        chains = [[layer for layer in row.convs if isinstance(layer, nn.Conv2d)] for row in rows]
        sizes = [size]
        for _ in chains[0]:
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        self.steps = nn.ModuleList()
        for depth, (before, after) in enumerate(pairwise(sizes)):
            layers = [chain[depth] for chain in chains]
            is_small = after[0] * after[1] <= MATRIX_PIXELS and depth > 0
            self.num_joined += not is_small
            self.steps.append(GatheredConv(layers, before) if is_small else JoinedConv(layers, is_first=depth == 0))
        gain = rows[0].linear.weight_gain
        self.register_buffer("weight", torch.stack([row.linear.weight.t() * gain for row in rows]))
        self.register_buffer("bias", torch.stack([row.linear.bias for row in rows])[:, None])

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps[: self.num_joined]:
            x = step(x)
        x = x.unflatten(1, (self.count, -1)).permute(1, 0, 3, 4, 2)  # [rows, N, h, w, C]
        for step in self.steps[self.num_joined :]:
            x = step(x)
        x = x.mean(dim=(2, 3))
        return torch.baddbmm(self.bias, x, self.weight).transpose(0, 1)


class JoinedConv(nn.Module):
    """[N, C or rows·C, h, w] → [N, rows·out, h/2, w/2]: the rows' convolutions as one, of one input or of groups."""

    def __init__(self, layers: list[nn.Conv2d], *, is_first: bool):
        super().__init__()
        first = layers[0]
        groups = 1 if is_first else len(layers)
        self.conv = convolution(first.in_channels * groups, first.out_channels * len(layers), 3, 2, 1, groups=groups)
        self.conv.weight.copy_(torch.cat([layer.weight for layer in layers]))
        self.conv.bias.copy_(torch.cat([layer.bias for layer in layers if layer.bias is not None]))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu_(self.conv(x), SLOPE)


class GatheredConv(nn.Module):
    """[rows, N, h, w, C] → [rows, N, h/2, w/2, out]: products with gathered pixels, for maps of few pixels.

    Only taps that meet the picture somewhere are kept: of the last convolution of a head, four of nine.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, layers: list[nn.Conv2d], size: tuple[int, int]):
        super().__init__()
        self.out = ((size[0] + 1) // 2, (size[1] + 1) // 2)
        self.taps = [[tap for tap in range(3) if any(0 <= 2 * place + tap - 1 < side for place in range(out))]
                     for side, out in zip(size, self.out)]
        used = [layer.weight[:, :, self.taps[0]][:, :, :, self.taps[1]] for layer in layers]  # [out, in, y, x]
        self.register_buffer("weight", torch.stack([value.permute(2, 3, 1, 0).flatten(0, 2) for value in used]).contiguous())
        self.register_buffer("bias", torch.stack([layer.bias for layer in layers if layer.bias is not None])[:, None])

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 1, 1, 1, 1))
        windows = [x[:, :, y : y + 2 * self.out[0] : 2, z : z + 2 * self.out[1] : 2] for y in self.taps[0] for z in self.taps[1]]
        gathered = torch.stack(windows, dim=4)  # [rows, N, h', w', taps, C]
        rows, count = gathered.shape[:2]
        y = torch.baddbmm(self.bias, gathered.reshape(rows, -1, self.weight.shape[1]), self.weight)
        return F.leaky_relu_(y, SLOPE).view(rows, count, *self.out, -1)

