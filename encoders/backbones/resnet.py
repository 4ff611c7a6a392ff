"""torchvision's residual networks (He et al. 2016) as ReStyle and HyperStyle use them: PReLU after the stem, no pooling.

Parameter names are those of the published encoders: conv1, bn1, relu, body.N.conv1, …
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from encoders.configs import BackboneConfig


class ResNetBackbone(nn.Module):
    """images [N, in_channels, H, W] → {stride: map [N, channels, H/stride, W/stride]}."""

    def __init__(self, config: BackboneConfig):
        super().__init__()
        block: type[nn.Module] = Bottleneck if config.kind == "resnet-bottleneck" else BasicBlock
        first = config.widths[0]
        self.conv1 = nn.Conv2d(config.in_channels, first, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.PReLU(first)
        units: list[nn.Module] = []
        width, self.ends = first, {}
        for stage, (planes, count) in enumerate(zip(config.widths, config.units)):
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                out = planes * config.expansion
                shortcut = None
                if stride > 1 or width != out:
                    shortcut = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))
                units.append(block(width, planes, stride, shortcut))
                width = out
            self.ends[len(units) - 1] = 2 ** (stage + 1)  # last unit of the stage → its stride
        self.body = nn.Sequential(*units)

    def forward(self, images: Tensor, strides: Collection[int] = (16,)) -> dict[int, Tensor]:
        x = self.relu(self.bn1(self.conv1(images)))
        maps = {}
        for number, unit in enumerate(self.body):
            x = unit(x)
            if self.ends.get(number) in strides:
                maps[self.ends[number]] = x
        return maps


def torchvision_names(name: str, units: tuple[int, ...]) -> str:
    """layer2.1.conv1.weight → body.4.conv1.weight for a network of so many units per stage; other names stay."""
    head, _, rest = name.partition(".")
    if not head.startswith("layer"):
        return name
    number, _, tail = rest.partition(".")
    return f"body.{sum(units[: int(head[5:]) - 1]) + int(number)}.{tail}"


@torch.no_grad()
def load_classifier(backbone: ResNetBackbone, state: dict[str, Tensor], config: BackboneConfig) -> None:
    """Starts from a torchvision classifier's weights: its RGB filters go to the first three channels, other channels start at 0.

    state: the classifier's own names; its last layer is left out, the PReLU of the stem starts as a ReLU.
    """
    renamed = {torchvision_names(name, config.units): value for name, value in state.items() if not name.startswith("fc.")}
    filters = torch.zeros_like(backbone.conv1.weight)
    filters[:, :3] = renamed["conv1.weight"]
    backbone.load_state_dict({**renamed, "conv1.weight": filters, "relu.weight": torch.zeros_like(backbone.relu.weight)})
