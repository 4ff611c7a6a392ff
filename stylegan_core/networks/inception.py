"""The Inception network of 5 December 2015, in which FID, KID and the Inception score are defined (Heusel et al. 2017).

Blocks are torchvision's; where TensorFlow's network of that day pooled otherwise, the pooled branch is replaced. Parameter
names are those of the weights that torch-fidelity publishes and torchmetrics uses.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import inception

SIDE = 299
NUM_FEATURES, NUM_CLASSES = 2048, 1008
CENTRE = 128.0  # of 8-bit values: (x - 128) / 128


def average_pooled(x: Tensor) -> Tensor:
    """3×3 averages whose padding does not count."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class BlockA(inception.InceptionA):
    """torchvision's, with averages whose padding does not count."""

    def _forward(self, x: Tensor) -> list[Tensor]:
        return [*super()._forward(x)[:-1], self.branch_pool(average_pooled(x))]


class BlockC(inception.InceptionC):
    """The same of the seven-wide block."""

    def _forward(self, x: Tensor) -> list[Tensor]:
        return [*super()._forward(x)[:-1], self.branch_pool(average_pooled(x))]


class BlockE(inception.InceptionE):
    """The last two blocks; the second one takes maxima where the first one averages."""

    def __init__(self, in_channels: int, *, takes_maxima: bool):
        super().__init__(in_channels)
        self.takes_maxima = takes_maxima

    def _forward(self, x: Tensor) -> list[Tensor]:
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.takes_maxima else average_pooled(x)
        return [*super()._forward(x)[:-1], self.branch_pool(pooled)]


class Inception2015(nn.Module):
    """uint8-valued pictures → features [N, 2048] and logits without bias [N, 1008], as the Inception score takes them."""

    def __init__(self) -> None:
        super().__init__()
        conv: Any = inception.BasicConv2d
        self.Conv2d_1a_3x3 = conv(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = conv(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = conv(32, 64, kernel_size=3, padding=1)
        self.Conv2d_3b_1x1 = conv(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = conv(80, 192, kernel_size=3)
        for name, (width, pool) in {"5b": (192, 32), "5c": (256, 64), "5d": (288, 64)}.items():
            setattr(self, f"Mixed_{name}", BlockA(width, pool_features=pool))
        self.Mixed_6a = inception.InceptionB(288)
        for name, width in {"6b": 128, "6c": 160, "6d": 160, "6e": 192}.items():
            setattr(self, f"Mixed_{name}", BlockC(768, channels_7x7=width))
        self.Mixed_7a = inception.InceptionD(768)
        self.Mixed_7b = BlockE(1280, takes_maxima=False)
        self.Mixed_7c = BlockE(2048, takes_maxima=True)
        self.fc = nn.Linear(NUM_FEATURES, NUM_CLASSES)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images: [N, 3, H, W] with values 0 to 255, of any size."""
        x = (resized(images.to(self.fc.weight.dtype), SIDE) - CENTRE) / CENTRE
        for name, block in self.named_children():
            if name == "fc":
                break
            x = block(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = F.max_pool2d(x, 3, stride=2)
        features = x.mean(dim=(2, 3))
        return features, features @ self.fc.weight.T


def resized(images: Tensor, side: int) -> Tensor:
    """[N, C, H, W] → [N, C, side, side] as TensorFlow 1 interpolates: corners at corner 0, no antialiasing."""
    rows, columns = (interpolation(size, side).to(images) for size in images.shape[2:])
    return rows @ images @ columns.T


def interpolation(size: int, side: int) -> Tensor:
    """[side, size] weights: output i reads between the inputs around i · size / side."""
    place = torch.arange(side, dtype=torch.float32) * (size / side)
    low = place.floor().long().clamp(max=size - 1)
    high = (low + 1).clamp(max=size - 1)
    share = place - low
    matrix = torch.zeros(side, size)
    row = torch.arange(side)
    matrix[row, low] += 1 - share
    matrix[row, high] += share
    return matrix
