"""The StyleGAN2 discriminator (SG2 Fig. 7; labels by projection, Miyato and Koyama 2018, as in SG2-ADA), bottom-up."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_core.errors import LatentError
from stylegan_core.networks.configs import StyleGAN2DiscriminatorConfig
from stylegan_core.networks.layers import Conv2dLayer, FullyConnectedLayer, best_memory_format
from stylegan_core.networks.mapping import MappingNetwork
from stylegan_core.ops.upfirdn2d import downsample2d, setup_filter


class MinibatchStdLayer(nn.Module):
    """Appends the standard deviation over a group of images as constant channels (Karras et al. 2018, Sec. 3)."""

    def __init__(self, group_size: int | None, num_channels: int = 1):
        super().__init__()
        self.group_size, self.num_channels = group_size, num_channels

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        group = batch if self.group_size is None else min(self.group_size, batch)
        if batch % group:
            raise LatentError(f"a batch of {batch} does not divide into groups of {group} for the minibatch statistic")
        y = x.reshape(group, -1, self.num_channels, channels // self.num_channels, height, width)
        deviation = (y - y.mean(dim=0)).square().mean(dim=0).add(1e-8).sqrt()
        statistic = deviation.mean(dim=[2, 3, 4]).repeat(group, 1)
        return torch.cat([x, statistic[:, :, None, None].expand(-1, -1, height, width)], dim=1)


class DiscriminatorBlock(nn.Module):
    """The layers of one resolution: fromrgb where the architecture has one, conv0, conv1 (downsamples), skip."""

    resample_filter: Tensor

    def __init__(self, config: StyleGAN2DiscriminatorConfig, resolution: int):
        super().__init__()
        self.architecture = config.architecture
        channels, out_channels = config.width(resolution), config.width(resolution // 2)
        kwargs: dict[str, Any] = dict(activation=config.activation, resample_filter=config.resample_filter, conv_clamp=config.conv_clamp)
        self.register_buffer("resample_filter", setup_filter(list(config.resample_filter)))
        if resolution == config.img_resolution or config.architecture == "skip":
            self.fromrgb = Conv2dLayer(config.img_channels, channels, 1, **kwargs)
        self.conv0 = Conv2dLayer(channels, channels, 3, **kwargs)
        self.conv1 = Conv2dLayer(channels, out_channels, 3, down=2, **kwargs)
        if config.architecture == "resnet":
            self.skip = Conv2dLayer(channels, out_channels, 1, bias=False, down=2, resample_filter=config.resample_filter)

    def forward(self, x: Tensor | None, img: Tensor) -> tuple[Tensor, Tensor]:
        """x: features so far or None; img: the picture at this resolution."""
        if hasattr(self, "fromrgb"):
            y = self.fromrgb(img)
            x = y if x is None else x + y
            if self.architecture == "skip":
                img = downsample2d(img, self.resample_filter)
        assert x is not None
        if self.architecture == "resnet":
            y = self.skip(x, gain=math.sqrt(0.5))
            return y + self.conv1(self.conv0(x), gain=math.sqrt(0.5)), img
        return self.conv1(self.conv0(x)), img


class DiscriminatorEpilogue(nn.Module):
    """The last layers at 4 px (const_shape): minibatch statistic, convolution, two dense layers, projection of the label."""

    def __init__(self, config: StyleGAN2DiscriminatorConfig, cmap_dim: int):
        super().__init__()
        channels = config.width(4)
        self.architecture, self.cmap_dim = config.architecture, cmap_dim
        if config.architecture == "skip":
            self.fromrgb = Conv2dLayer(config.img_channels, channels, 1, activation=config.activation)
        extra = config.mbstd_num_channels
        self.mbstd = MinibatchStdLayer(config.mbstd_group_size, extra) if extra > 0 else None
        self.conv = Conv2dLayer(channels + extra, channels, 3, activation=config.activation, conv_clamp=config.conv_clamp)
        self.fc = FullyConnectedLayer(channels * math.prod(config.const_shape), channels, activation=config.activation)
        self.out = FullyConnectedLayer(channels, 1 if cmap_dim == 0 else cmap_dim)

    def forward(self, x: Tensor, img: Tensor, cmap: Tensor | None) -> Tensor:
        if hasattr(self, "fromrgb"):
            x = x + self.fromrgb(img)
        if self.mbstd is not None:
            x = self.mbstd(x)
        x = self.out(self.fc(self.conv(x).flatten(1)))
        return x if cmap is None else (x * cmap).sum(dim=1, keepdim=True) / math.sqrt(self.cmap_dim)


class StyleGAN2Discriminator(nn.Module):
    """images [N, C, H, W], c [N, c_dim] → logits [N, 1]; higher means real."""

    def __init__(self, config: StyleGAN2DiscriminatorConfig):
        super().__init__()
        self.config = config
        self.c_dim, self.img_resolution, self.img_channels = config.c_dim, max(config.img_shape), config.img_channels
        cmap_dim = 0 if config.c_dim == 0 else (config.width(4) if config.cmap_dim is None else config.cmap_dim)
        self.block_names = []
        for resolution in reversed(config.resolutions[1:]):
            setattr(self, f"b{resolution}", DiscriminatorBlock(config, resolution))
            self.block_names.append(f"b{resolution}")
        if config.c_dim > 0:
            self.mapping = MappingNetwork(
                0, config.c_dim, cmap_dim, None, num_layers=config.mapping_layers, embed_features=config.mapping_embed_features,
                layer_features=config.mapping_layer_features, lr_multiplier=config.mapping_lr_multiplier, w_avg_beta=None)
        self.b4 = DiscriminatorEpilogue(config, cmap_dim)

    @property
    def img_shape(self) -> tuple[int, int]:
        """(H, W) of a picture."""
        return self.config.img_shape

    def forward(self, images: Tensor, c: Tensor | None = None) -> Tensor:
        if images.ndim != 4 or images.shape[1:] != (self.img_channels, *self.img_shape):
            wanted = f"[N, {self.img_channels}, {self.img_shape[0]}, {self.img_shape[1]}]"
            raise LatentError(f"images have the shape {tuple(images.shape)}; this discriminator takes {wanted}")
        img = images.contiguous(memory_format=best_memory_format(images))
        x: Tensor | None = None
        for name in self.block_names:
            x, img = getattr(self, name)(x, img)
        cmap = self.mapping(None, c) if self.c_dim > 0 else None
        return self.b4(x, img, cmap)
