"""Small convolutional networks that read attributes off a picture and whose inner maps serve as a perceptual distance.

Two architectures share one interface: `plain` (strided 4x4 convolutions, SiLU) and `residual` (a 5x5 stem, residual
blocks, ReLU). A hidden layer over the last map makes the vector that the heads read. Batch normalisation exists while
training only; `fold` removes it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from stylegan_core.networks.configs import AttributeNetworkConfig
from stylegan_core.networks.layers import best_memory_format

UNIT_EPS = 1e-2  # of a mean square near 1/3; keeps flat places quiet and every derivative bounded


class ConvUnit(nn.Module):
    """Convolution, normalisation (nothing once folded), activation: [N, in, H, W] → [N, out, H/stride, W/stride]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        batch_norm: bool = False,
        activation: nn.Module | None = None,
    ):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, (kernel_size - stride + 1) // 2)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels) if batch_norm else nn.Identity()
        self.activation = activation or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(x)))

    def folded_state(self) -> tuple[Tensor, Tensor]:
        """(weight, bias) of the convolution that does the same as convolution and normalisation in eval mode."""
        weight, bias = self.conv.weight.detach(), self.conv.bias
        assert bias is not None
        if not isinstance(self.norm, nn.BatchNorm2d):
            return weight, bias.detach()
        mean, var = self.norm.running_mean, self.norm.running_var
        assert isinstance(mean, Tensor) and isinstance(var, Tensor)
        scale = self.norm.weight.detach() * (var + self.norm.eps).rsqrt()
        return weight * scale[:, None, None, None], (bias.detach() - mean) * scale + self.norm.bias.detach()


class ResidualBlock(nn.Module):
    """relu(x + conv(relu(conv(x)))) (He et al. 2016, Fig. 2): [N, C, H, W] → the same shape."""

    def __init__(self, channels: int, *, batch_norm: bool):
        super().__init__()
        self.first = ConvUnit(channels, channels, 3, batch_norm=batch_norm, activation=nn.ReLU())
        self.second = ConvUnit(channels, channels, 3, batch_norm=batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


def plain_stages(widths: tuple[int, ...], batch_norm: bool) -> list[nn.Module]:
    """One stage per width, each halving the size; kernels are multiples of the stride, so all pixels count alike."""
    stages: list[nn.Module] = [ConvUnit(3, widths[0], 6, stride=2, batch_norm=batch_norm, activation=nn.SiLU())]
    for narrow, wide in pairwise(widths):
        stages.append(
            nn.Sequential(
                ConvUnit(narrow, wide, 4, stride=2, batch_norm=batch_norm, activation=nn.SiLU()),
                ConvUnit(wide, wide, 3, batch_norm=batch_norm, activation=nn.SiLU()),
            )
        )
    return stages


def residual_stages(widths: tuple[int, ...], batch_norm: bool) -> list[nn.Module]:
    """One stage per width, each halving the size by a strided convolution before a residual block."""
    stages: list[nn.Module] = []
    for index, (narrow, wide) in enumerate(zip((3, *widths), widths)):
        kernel_size = 5 if index == 0 else 3
        down = ConvUnit(narrow, wide, kernel_size, stride=2, batch_norm=batch_norm, activation=nn.ReLU())
        stages.append(nn.Sequential(down, ResidualBlock(wide, batch_norm=batch_norm)))
    return stages


class AttributeNetwork(nn.Module):
    """Pictures → maps at several depths → a pooled vector → attributes and an embedding."""

    def __init__(self, config: AttributeNetworkConfig):
        super().__init__()
        self.config = config
        make_stages = plain_stages if config.architecture == "plain" else residual_stages
        self.stages = nn.ModuleList(make_stages(config.widths, config.batch_norm))
        last = config.widths[-1]
        side = config.img_resolution >> len(config.widths)
        self.hidden = nn.Linear(last * side * side, config.pooled_dim)
        self.hidden_activation = nn.SiLU() if config.architecture == "plain" else nn.ReLU()
        self.attributes = nn.Linear(config.pooled_dim, len(config.attributes))
        self.embedding = nn.Linear(config.pooled_dim, config.embed_dim) if config.embed_dim else None
        for index, width in enumerate(config.widths):  # of the distance, per channel, never negative
            self.register_buffer(f"distance_weight{index}", torch.ones(width))
        self.to(memory_format=torch.channels_last)

    def maps(self, images: Tensor) -> list[Tensor]:
        """images: [N, 3, R, R] with R = img_resolution → one map [N, width, h, w] per depth."""
        x = images.contiguous(memory_format=best_memory_format(images))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def pooled(self, images: Tensor) -> Tensor:
        """images: [N, 3, R, R] → [N, pooled_dim], what the heads read."""
        return self.hidden_activation(self.hidden(self.maps(images)[-1].flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        """images: [N, 3, R, R] → [N, A] before the squashing of `squashed`."""
        return self.attributes(self.pooled(images))

    def embed_pooled(self, pooled: Tensor) -> Tensor:
        """pooled: [N, pooled_dim] → [N, embed_dim or pooled_dim] of length 1."""
        vector = pooled if self.embedding is None else self.embedding(pooled)
        return vector * (vector.square().sum(dim=1, keepdim=True) + 1e-12).rsqrt()

    def squashed(self, logits: Tensor) -> Tensor:
        """[N, A] → tanh for continuous attributes, a probability for binary ones."""
        is_binary = torch.tensor([name in self.config.binary for name in self.config.attributes], device=logits.device)
        return torch.where(is_binary, logits.sigmoid(), logits.tanh())

    def distance_maps(self, images: Tensor) -> list[Tensor]:
        """images: [N, 3, R, R] → maps whose squared Euclidean distance is the perceptual one (after LPIPS Eq. 1).

        Differs in the normalisation: to unit mean square over the channels with an eps that keeps it smooth.
        """
        scaled = []
        for index, x in enumerate(self.maps(images)):
            unit = x * (x.square().mean(dim=1, keepdim=True) + UNIT_EPS).rsqrt()
            weight = getattr(self, f"distance_weight{index}") / (x.shape[1] * x.shape[2] * x.shape[3])
            scaled.append(unit * weight.sqrt()[:, None, None])
        return scaled


def fold(network: AttributeNetwork) -> AttributeNetwork:
    """The same function in eval mode without batch normalisation: what is saved and used. The argument stays as it is."""
    folded = AttributeNetwork(replace(network.config, batch_norm=False))
    units = {name: unit for name, unit in network.named_modules() if isinstance(unit, ConvUnit)}
    state = {}
    for key, value in network.state_dict().items():
        owner, _, field = key.rpartition(".")
        unit = units.get(owner.removesuffix(".conv"))
        if unit is None and ".norm." not in key:
            state[key] = value.clone()
        elif owner.endswith(".conv"):
            weight, bias = unit.folded_state()  # type: ignore[union-attr]
            state[key] = (weight if field == "weight" else bias).clone()
    folded.load_state_dict(state)
    return folded.eval()
