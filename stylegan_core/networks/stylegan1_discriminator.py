"""The discriminator of StyleGAN and of the progressive GAN (PG Table 2), bottom-up; labels as in R1, one logit per class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan_core.errors import LatentError
from stylegan_core.networks.discriminator import MinibatchStdLayer
from stylegan_core.networks.layers import FullyConnectedLayer, best_memory_format, run_layer
from stylegan_core.networks.stylegan1 import GAIN, NEGATIVE_SLOPE, blurred, downscaling_convolution
from stylegan_core.networks.stylegan1_configs import StyleGAN1DiscriminatorConfig, check_lod
from stylegan_core.ops.upfirdn2d import setup_filter


class ConvolutionLayer(nn.Module):
    """Convolution, bias, activation: [N, in, H, W] → [N, out, H/down, W/down]; down = 2 filters first and takes means of 2×2 pixels."""

    blur: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, down: int = 1, activation: str = "lrelu",
                 resample_filter: Sequence[float] = (1, 2, 1)):
        super().__init__()
        self.down, self.slope, self.padding = down, NEGATIVE_SLOPE[activation], kernel_size // 2
        self.is_checkpointed = False
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = GAIN / math.sqrt(in_channels * kernel_size**2)
        self.register_buffer("blur", setup_filter(list(resample_filter)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return run_layer(self._convolve, x, is_checkpointed=self.is_checkpointed)

    def _convolve(self, x: Tensor) -> Tensor:
        weight, bias = (self.weight * self.weight_gain).to(x.dtype), self.bias.to(x.dtype)
        if self.down == 1:
            x = F.conv2d(x, weight, bias, padding=self.padding)
        else:
            x = downscaling_convolution(blurred(x, self.blur), weight, bias)
        return F.leaky_relu(x, self.slope)


class DiscriminatorBlock(nn.Module):
    """The layers of one resolution from 8 px: fromrgb where there is one, conv0, conv1 (downsamples)."""

    def __init__(self, config: StyleGAN1DiscriminatorConfig, resolution: int):
        super().__init__()
        channels, out_channels = config.width(resolution), config.width(resolution // 2)
        if config.is_growing or resolution == config.img_resolution:
            self.fromrgb = ConvolutionLayer(config.img_channels, channels, 1, activation=config.activation)
        self.conv0 = ConvolutionLayer(channels, channels, 3, activation=config.activation)
        self.conv1 = ConvolutionLayer(channels, out_channels, 3, down=2, activation=config.activation,
                                      resample_filter=config.resample_filter)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv1(self.conv0(x))


class DiscriminatorEpilogue(nn.Module):
    """The last layers at 4 px: minibatch statistic, convolution, two dense layers."""

    def __init__(self, config: StyleGAN1DiscriminatorConfig):
        super().__init__()
        channels, extra = config.width(4), config.mbstd_num_channels
        if config.is_growing or config.img_resolution == 4:
            self.fromrgb = ConvolutionLayer(config.img_channels, channels, 1, activation=config.activation)
        self.mbstd = MinibatchStdLayer(config.mbstd_group_size, extra) if extra > 0 else None
        self.conv = ConvolutionLayer(channels + extra, channels, 3, activation=config.activation)
        self.fc = FullyConnectedLayer(channels * 16, config.width(2), activation=config.activation)
        self.out = FullyConnectedLayer(config.width(2), max(config.c_dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.mbstd is not None:
            x = self.mbstd(x)
        return self.out(self.fc(self.conv(x).flatten(1)))


class StyleGAN1Discriminator(nn.Module):
    """images [N, C, H, W], c [N, c_dim] → logits [N, 1]; higher means real."""

    def __init__(self, config: StyleGAN1DiscriminatorConfig):
        super().__init__()
        self.config = config
        self.c_dim, self.img_resolution, self.img_channels = config.c_dim, config.img_resolution, config.img_channels
        for resolution in reversed(config.resolutions[1:]):
            setattr(self, f"b{resolution}", DiscriminatorBlock(config, resolution))
        self.b4 = DiscriminatorEpilogue(config)

    def set_lod(self, lod: float) -> None:
        """The level of detail that calls have by themselves from now on; a file keeps it."""
        self.config = replace(self.config, lod=float(lod)).validate()

    def forward(self, images: Tensor, c: Tensor | None = None, lod: float | None = None) -> Tensor:
        """lod: level of detail, for images of H / 2^⌊lod⌋ pixels; None = the network's own, for images of all its pixels."""
        level = float(self.config.lod if lod is None else lod)
        check_lod(level, self.img_resolution, self.config.is_growing)
        resolution, fade = self.img_resolution >> int(level), level - int(level)
        given = self.img_resolution if lod is None else resolution
        if images.ndim != 4 or images.shape[1:] != (self.img_channels, given, given):
            wanted = f"[N, {self.img_channels}, {given}, {given}]"
            raise LatentError(f"images have the shape {tuple(images.shape)}; this discriminator takes {wanted}")
        if given > resolution:
            images = F.avg_pool2d(images, given // resolution)
        x = getattr(self, f"b{resolution}").fromrgb(images.contiguous(memory_format=best_memory_format(images)))
        while resolution > 4:
            x = getattr(self, f"b{resolution}")(x)
            resolution //= 2
            if fade > 0:
                x = x.lerp(getattr(self, f"b{resolution}").fromrgb(F.avg_pool2d(images, 2)), fade)
                fade = 0.0
        logits = self.b4(x)
        return logits if self.c_dim == 0 else (logits * self._labels(c, logits)).sum(dim=1, keepdim=True)

    def _labels(self, c: Tensor | None, logits: Tensor) -> Tensor:
        if c is None or c.shape != logits.shape:
            given = "none was given" if c is None else f"its shape is {tuple(c.shape)}"
            raise LatentError(f"this network is conditional and needs a label c [N, {self.c_dim}]; {given} (command line: --class)")
        return c.to(logits.dtype)
