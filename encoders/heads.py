"""From feature maps to rows of W+: the pyramid and map-to-style heads of pSp (pSp Sec. 3), lighter ones, and those into W.

Parameter names are those of the published encoders: styles.N.convs.N, styles.N.linear, latlayer1, latlayer2, linear.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.configs import STRIDES, EncoderConfig
from stylegan_core.networks.layers import FullyConnectedLayer

COARSE, MIDDLE, FINE = 16, 8, 4  # strides
GRID_SIDE = 7  # of the pooled map of the single-layer head into W+
PATCH_SIDE = 2  # to which the heads of a level that share their convolutions shrink the map


def num_halvings(side: float, to: int = 1) -> int:
    """Convolutions of stride 2 that bring a side down to `to`; at least 1."""
    return max(1, math.ceil(math.log2(max(side, 2) / to)))


class MapToStyle(nn.Module):
    """A map [N, in, h, w] → [N, w_dim]: convolutions of stride 2 down to one pixel, then a linear layer (pSp Fig. 2)."""

    def __init__(self, in_channels: int, width: int, w_dim: int, num_convs: int):
        super().__init__()
        self.convs = strided_convs(in_channels, width, num_convs)
        self.linear = FullyConnectedLayer(width, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.convs(x).mean(dim=(2, 3)))  # one pixel is left where sides are powers of two


def strided_convs(in_channels: int, width: int, count: int, *, first_stride: int = 2, out_channels: int | None = None) -> nn.Sequential:
    """`count` times conv 3×3 and leaky ReLU; all halve the map but the first, which has `first_stride`."""
    layers: list[nn.Module] = []
    for number in range(count):
        out = width if out_channels is None or number < count - 1 else out_channels
        layers += [nn.Conv2d(in_channels, out, 3, first_stride if number == 0 else 2, 1), nn.LeakyReLU()]
        in_channels = out
    return nn.Sequential(*layers)


class Pyramid(nn.Module):
    """Maps by stride → maps of one width by stride, coarse ones added to finer ones (pSp Sec. 3; Lin et al. 2017)."""

    def __init__(self, channels: Mapping[int, int], strides: Sequence[int]):
        super().__init__()
        width = channels[COARSE]
        if MIDDLE in strides or FINE in strides:
            self.latlayer1 = nn.Conv2d(channels[MIDDLE], width, 1)
        if FINE in strides:
            self.latlayer2 = nn.Conv2d(channels[FINE], width, 1)

    def forward(self, maps: Mapping[int, Tensor], finest: int) -> dict[int, Tensor]:
        """finest: stride of the finest map that is needed."""
        found = {COARSE: maps[COARSE]}
        if finest <= MIDDLE:
            found[MIDDLE] = upsampled_sum(found[COARSE], self.latlayer1(maps[MIDDLE]))
        if finest <= FINE:
            found[FINE] = upsampled_sum(found[MIDDLE], self.latlayer2(maps[FINE]))
        return found


def upsampled_sum(coarse: Tensor, fine: Tensor) -> Tensor:
    """fine + coarse brought to its size; corner pixels keep their place, as in the published encoders."""
    return fine + F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=True)


class RowHeads(nn.Module):
    """Maps by stride → one [N, w_dim] for each of the first rows: coarse rows read the coarse map, and so on.

    head 'maps': convolutions of its own for every row; 'levels': the rows of a level share them and read a patch of 2×2.
    """

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.level_rows = config.level_rows
        self.is_shared = config.head == "levels"
        channels = {stride: config.backbone.channels(stride) for stride in STRIDES}
        used = [stride for stride, rows in zip((COARSE, MIDDLE, FINE), config.level_rows) if rows]
        self.pyramid = Pyramid(channels, used)
        self.stride_of = [stride for stride, rows in zip((COARSE, MIDDLE, FINE), config.level_rows) for _ in range(rows)]
        width, side = channels[COARSE], max(config.input_shape)
        if self.is_shared:
            halvings = {stride: num_halvings(side / stride, PATCH_SIDE) for stride in used}
            self.levels = nn.ModuleDict({str(stride): strided_convs(width, width, count) for stride, count in halvings.items()})
            self.rows = nn.ModuleList(FullyConnectedLayer(width * PATCH_SIDE**2, config.w_dim) for _ in self.stride_of)
        else:
            self.styles = nn.ModuleList(MapToStyle(width, width, config.w_dim, num_halvings(side / stride)) for stride in self.stride_of)

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the maps that are read."""
        return tuple(sorted(set(self.stride_of)))

    def forward(self, maps: Mapping[int, Tensor], count: int | None = None) -> list[Tensor]:
        """count: how many rows; None = all."""
        wanted = self.stride_of[:count]
        features = self.pyramid(maps, min(wanted))
        if not self.is_shared:
            return [self.styles[row](features[stride]) for row, stride in enumerate(wanted)]
        patches = {}
        for stride in set(wanted):
            x = self.levels[str(stride)](features[stride])
            patches[stride] = F.adaptive_avg_pool2d(x, PATCH_SIDE).flatten(1)
        return [self.rows[row](patches[stride]) for row, stride in enumerate(wanted)]


class PooledHead(nn.Module):
    """A map [N, in, h, w] → w [N, w_dim] of its mean."""

    def __init__(self, in_channels: int, w_dim: int):
        super().__init__()
        self.linear = FullyConnectedLayer(in_channels, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean(dim=(2, 3)))


class GridHead(nn.Module):
    """A map [N, in, h, w] → ws [N, num_ws, w_dim] from its 7×7 mean, by two linear layers."""

    def __init__(self, in_channels: int, w_dim: int, num_ws: int):
        super().__init__()
        self.num_ws = num_ws
        self.output_layer_2 = nn.Sequential(
            nn.BatchNorm2d(in_channels), nn.AdaptiveAvgPool2d(GRID_SIDE), nn.Flatten(), nn.Linear(in_channels * GRID_SIDE**2, w_dim))
        self.linear = FullyConnectedLayer(w_dim, w_dim * num_ws)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.output_layer_2(x)).unflatten(1, (self.num_ws, -1))


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """[N, w_dim] each → [N, rows, w_dim]."""
    return torch.stack(list(rows), dim=1)
