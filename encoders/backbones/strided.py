"""Strided convolutions without normalisation: the backbone of the bundled attribute networks, from whose weights it can start.

Parameter names are those of the attribute networks: stages.0.conv, stages.N.0.conv, …
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from encoders.configs import BackboneConfig
from stylegan_core.errors import UsageError
from stylegan_core.features import Features
from stylegan_core.networks.features import ConvUnit, plain_stages
from stylegan_core.networks.layers import best_memory_format


class StridedBackbone(nn.Module):
    """images [N, in_channels, H, W] → {stride: map [N, channels, H/stride, W/stride]}."""

    def __init__(self, config: BackboneConfig):
        super().__init__()
        self.stages = nn.ModuleList(plain_stages(config.widths, batch_norm=False))
        self.stages[0] = ConvUnit(config.in_channels, config.widths[0], 6, stride=2, activation=nn.SiLU())
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor, strides: Collection[int] = (16,)) -> dict[int, Tensor]:
        x = images.contiguous(memory_format=best_memory_format(images))
        maps = {}
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if 2 ** (number + 1) in strides:
                maps[2 ** (number + 1)] = x
        return maps


@torch.no_grad()
def load_features_into(backbone: nn.Module, features: Features) -> None:
    """Starts from an attribute network: its filters go to the first three channels, those of other channels start at 0.

    Raises UsageError for a backbone of another kind or of other widths.
    """
    state = {name: value for name, value in features.network.state_dict().items() if name.startswith("stages.")}
    own = backbone.state_dict()
    first = "stages.0.conv.weight"
    shapes = {name: tuple(value.shape) for name, value in state.items() if name != first}
    if first not in own or shapes != {name: tuple(value.shape) for name, value in own.items() if name != first}:
        raise UsageError(f"--backbone-start {features.name}: its layers are not those of this backbone; use --backbone strided "
                         "and a plain attribute network with as many filters")
    filters = torch.zeros_like(own[first])
    filters[:, :3] = state[first]
    backbone.load_state_dict({**state, first: filters})
