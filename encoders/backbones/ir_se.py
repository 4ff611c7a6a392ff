"""IR and IR-SE networks (ArcFace Sec. 3.1; squeeze and excitation as in Hu et al. 2018), whose maps are read by stride.

Parameter names are those of the published encoders: input_layer.N, body.N.res_layer.N, body.N.shortcut_layer.N.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from encoders.configs import BackboneConfig

REDUCTION = 16  # of the channels inside squeeze and excitation


class SqueezeExcite(nn.Module):
    """x [N, C, H, W] · gate [N, C] of its mean (Hu et al. 2018, Eq. 3)."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(1, channels // REDUCTION)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=False)

    def gate(self, x: Tensor) -> Tensor:
        """[N, C, 1, 1]."""
        return torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)))))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class Subsample(nn.Module):
    """Every stride-th pixel."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x if self.stride == 1 else x[:, :, :: self.stride, :: self.stride]


class IRUnit(nn.Module):
    """shortcut(x) + BN, conv, PReLU, conv, BN [, gate]: [N, in, H, W] → [N, out, H/stride, W/stride]."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, has_gate: bool):
        super().__init__()
        self.shortcut_layer: nn.Module = Subsample(stride)
        if in_channels != out_channels:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))
        layers: list[nn.Module] = [
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, 3, 1, 1, bias=False), nn.PReLU(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, stride, 1, bias=False), nn.BatchNorm2d(out_channels)]
        self.res_layer = nn.Sequential(*layers, *([SqueezeExcite(out_channels)] if has_gate else []))

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class IRBackbone(nn.Module):
    """images [N, in_channels, H, W] → {stride: map [N, channels, H/stride, W/stride]}."""

    def __init__(self, config: BackboneConfig):
        super().__init__()
        first = config.widths[0]
        self.input_layer = nn.Sequential(
            nn.Conv2d(config.in_channels, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.PReLU(first))
        units, width, self.ends = [], first, {}
        for stage, (out, count) in enumerate(zip(config.widths, config.units)):
            for number in range(count):
                units.append(IRUnit(width, out, 2 if number == 0 else 1, has_gate=config.kind == "ir-se"))
                width = out
            self.ends[len(units) - 1] = 2 ** (stage + 1)  # last unit of the stage → its stride
        self.body = nn.Sequential(*units)

    def forward(self, images: Tensor, strides: Collection[int] = (16,)) -> dict[int, Tensor]:
        x = self.input_layer(images)
        maps = {}
        for number, unit in enumerate(self.body):
            x = unit(x)
            stride = self.ends.get(number)
            if stride in strides:
                maps[self.ends[number]] = x
        return maps
