"""The StyleGAN2 generator (SG2 Fig. 2 and 7), bottom-up: modulated layers, blocks, synthesis, generator.

Parameter names are those of the official PyTorch release, so its weights load strictly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_core.errors import LatentError
from stylegan_core.generator import RNG
from stylegan_core.networks.configs import StyleGAN2Config
from stylegan_core.networks.layers import (
    Conv2dLayer,
    FullyConnectedLayer,
    Kept,
    best_memory_format,
    is_frozen,
    is_plain_call,
    run_layer,
)
from stylegan_core.networks.mapping import MappingNetwork
from stylegan_core.networks.noise_inputs import noise_maps
from stylegan_core.ops.bias_act import ACTIVATIONS, bias_act
from stylegan_core.ops.frozen_conv import FrozenConv
from stylegan_core.ops.modulated_layer import Shape, is_known, mix_channels, modulated_layer, plain_layer
from stylegan_core.ops.upfirdn2d import setup_filter, upsample2d, upsampling_matrices

LARGEST_MATRIX = 128  # pictures up to this size are upsampled by matrix products


class SynthesisLayer(nn.Module):
    """Modulated 3×3 convolution, noise, bias, activation: x [N, in, H, W], style [N, in] → [N, out, H·up, W·up]."""

    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, size: tuple[int, int], *, up: int = 1, use_noise: bool = True,
                 activation: str = "lrelu", resample_filter: Sequence[float] = (1, 3, 3, 1), conv_clamp: float | None = None,
                 demodulate: bool = True):
        super().__init__()
        self.in_channels, self.up, self.demodulate = in_channels, up, demodulate
        self.use_noise, self.activation, self.conv_clamp = use_noise, activation, conv_clamp
        self.act_gain, self.is_checkpointed = ACTIVATIONS[activation].gain, False
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("resample_filter", setup_filter(list(resample_filter)))
        if use_noise:
            self.register_buffer("noise_const", torch.randn(*size))
            self.noise_strength = nn.Parameter(torch.zeros([]))
        self.style_gain = 1.0 if demodulate else 1 / math.sqrt(9 * in_channels)  # else the norms see to the scale
        self._kept = Kept()

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None = None, gain: float = 1.0) -> Tensor:
        """noise: [N or 1, 1, H·up, W·up], scaled here by the learned strength; None = no noise."""
        return self.with_colours(x, style, noise, None, gain)[0]

    def with_colours(self, x: Tensor, style: Tensor, noise: Tensor | None, colours: Tensor | None,
                     gain: float = 1.0) -> tuple[Tensor, Tensor | None]:
        """The same, and its channels mixed by colours [N, K, out] to [N, K, H·up, W·up]; None = not."""
        if noise is not None:
            noise = noise * self.noise_strength
        if not self.demodulate:
            style = style * self.style_gain
        shape = Shape(self.up, self.resample_filter, self.activation, self.act_gain * gain,
                      None if self.conv_clamp is None else self.conv_clamp * gain, self.demodulate)
        if is_frozen(self.weight, self.bias) and is_plain_call(x, style, noise, colours, self.weight) and is_known(self.weight, shape):
            conv = self._kept.get(self.weight, lambda weight: FrozenConv(weight, self.up > 1))
            return modulated_layer(x, style, noise, colours, self.weight, self.bias, shape, conv)
        return run_layer(plain_layer, x, style, noise, colours, self.weight, self.bias, shape, is_checkpointed=self.is_checkpointed)


class ToRGBLayer(nn.Module):
    """Modulated 1×1 convolution to picture channels, without demodulation (SG2 Sec. 2.2)."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, *, conv_clamp: float | None = None):
        super().__init__()
        self.in_channels, self.conv_clamp = in_channels, conv_clamp
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def colours(self, style: Tensor) -> Tensor:
        """[N, out, in]: the weights, modulated."""
        return self.weight[:, :, 0, 0] * (style * self.weight_gain)[:, None]

    def finish(self, picture: Tensor) -> Tensor:
        """Bias and clamp, for a picture [N, out, H, W] of mixed channels; float32 at least."""
        picture = picture if picture.dtype == torch.float64 else picture.float()
        return bias_act(picture, self.bias, clamp=self.conv_clamp)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return self.finish(mix_channels(x, self.colours(style).to(x.dtype)))


class SynthesisBlock(nn.Module):
    """The layers of one resolution: conv0 (upsamples; absent at 4 px), conv1, torgb where the architecture has one."""

    resample_filter: Tensor

    def __init__(self, config: StyleGAN2Config, resolution: int):
        super().__init__()
        self.resolution, self.architecture = resolution, config.architecture
        channels, first = config.width(resolution), resolution == 4
        in_channels = 0 if first else config.width(resolution // 2)
        size = config.shape_at(resolution)
        layer_kwargs: dict[str, Any] = dict(use_noise=config.use_noise, activation=config.activation,
                                            resample_filter=config.resample_filter, conv_clamp=config.conv_clamp,
                                            demodulate=config.demodulate)
        self.register_buffer("resample_filter", setup_filter(list(config.resample_filter)))
        self._kept = Kept()
        if first:
            self.const = nn.Parameter(torch.randn(channels, *config.const_shape))
        else:
            self.conv0 = SynthesisLayer(in_channels, channels, config.w_dim, size, up=2, **layer_kwargs)
        self.conv1 = SynthesisLayer(channels, channels, config.w_dim, size, **layer_kwargs)
        if resolution == config.img_resolution or config.architecture == "skip":
            self.torgb = ToRGBLayer(channels, config.img_channels, config.w_dim, conv_clamp=config.conv_clamp)
        if not first and config.architecture == "resnet":
            self.skip = Conv2dLayer(in_channels, channels, 1, bias=False, up=2, resample_filter=config.resample_filter)

    def modulated_layers(self) -> Iterator[tuple[str, SynthesisLayer | ToRGBLayer]]:
        """(name, layer) in execution order."""
        for name in ("conv0", "conv1", "torgb"):
            if hasattr(self, name):
                yield name, getattr(self, name)

    def forward(self, x: Tensor | None, img: Tensor | None, styles: Mapping[str, Tensor],
                noise: Mapping[str, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        """styles and noise are keyed conv0, conv1, torgb; x None at 4 px. Returns features and the picture so far."""
        if x is None:
            style = styles["conv1"]
            x = self.const.to(style.dtype).expand(style.shape[0], -1, -1, -1).contiguous(memory_format=best_memory_format(style))
        elif self.architecture == "resnet":
            y = self.skip(x, gain=math.sqrt(0.5))
            x = self.conv0(x, styles["conv0"], noise["conv0"])
            x = y + self.conv1(x, styles["conv1"], noise["conv1"], gain=math.sqrt(0.5))
            return x, self.torgb(x, styles["torgb"]) if hasattr(self, "torgb") else None
        else:
            x = self.conv0(x, styles["conv0"], noise["conv0"])
        colours = self.torgb.colours(styles["torgb"]) if hasattr(self, "torgb") else None
        x, picture = self.conv1.with_colours(x, styles["conv1"], noise["conv1"], colours)
        if img is not None:
            img = self._upsampled(img)
        if picture is not None:
            picture = self.torgb.finish(picture)
            img = picture if img is None else img + picture
        return x, img

    def _upsampled(self, img: Tensor) -> Tensor:
        height, width = img.shape[2:]
        if max(height, width) <= LARGEST_MATRIX and is_plain_call(img):  # two small matrix products
            matrices = self._kept.get(self.resample_filter, lambda f: upsampling_matrices(f.to(img.dtype), height, width), img.dtype)
            if matrices is not None:
                return matrices[0] @ img @ matrices[1]
        return upsample2d(img.contiguous(memory_format=best_memory_format(img)), self.resample_filter)


class SynthesisNetwork(nn.Module):
    """ws [N, num_ws, w_dim] → images [N, C, H, W], nominal [-1, 1], not clamped.

    `style_dims` maps every modulated layer, in execution order, to the width of its style; `rows` to the row of ws that it reads;
    `noise_shapes` maps every noise buffer to its (H, W).
    """

    b4: SynthesisBlock

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        self.w_dim, self.img_resolution, self.img_channels = config.w_dim, max(config.img_shape), config.img_channels
        self.style_dims: dict[str, int] = {}
        self.rows: dict[str, int] = {}
        self.noise_shapes: dict[str, tuple[int, int]] = {}
        row = 0
        for resolution in config.resolutions:
            block = SynthesisBlock(config, resolution)
            setattr(self, f"b{resolution}", block)
            for name, layer in block.modulated_layers():
                self.style_dims[f"b{resolution}.{name}"] = layer.in_channels
                self.rows[f"b{resolution}.{name}"] = row
                if name != "torgb":  # the torgb of a block reads the row of the next block's first convolution
                    row += 1
                    if config.use_noise:
                        self.noise_shapes[f"b{resolution}.{name}.noise_const"] = config.shape_at(resolution)
        self.num_ws = row + 1

    def blocks(self) -> Iterator[tuple[str, SynthesisBlock]]:
        """(name, block) from 4 px upwards."""
        for name, block in self.named_children():
            if isinstance(block, SynthesisBlock):
                yield name, block

    def affine(self, ws: Tensor) -> Tensor:
        """ws: [N, num_ws, w_dim] → styles: [N, sum(style_dims)], every layer's affine output in execution order."""
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise LatentError(f"ws has the shape {tuple(ws.shape)}; this generator takes [N, {self.num_ws}, {self.w_dim}]")
        dtype = self.b4.conv1.affine.weight.dtype
        parts = []
        for name, block in self.blocks():
            for part, layer in block.modulated_layers():
                parts.append(layer.affine(ws[:, self.rows[f"{name}.{part}"]].to(dtype)))
        return torch.cat(parts, dim=1)

    def render(self, styles: Tensor, noise_mode: str = "const", noise: Mapping[str, Tensor] | None = None, rng: RNG = None) -> Tensor:
        """styles: [N, sum(style_dims)] → images. noise: buffer name → [N or 1, 1, H, W] that replaces the stored maps.

        rng: where random noise comes from, one generator or one per image (drawn on its device, then moved); None = torch's own.
        """
        maps = self.noise_maps(styles, noise_mode, noise, rng)
        width = sum(self.style_dims.values())
        if styles.ndim != 2 or styles.shape[1] != width:
            raise LatentError(f"styles have the shape {tuple(styles.shape)}; this generator takes [N, {width}]")
        by_layer = dict(zip(self.style_dims, styles.split(list(self.style_dims.values()), dim=1)))
        x: Tensor | None = None
        img: Tensor | None = None
        for name, block in self.blocks():
            parts = [part for part, _ in block.modulated_layers()]
            block_styles = {part: by_layer[f"{name}.{part}"] for part in parts}
            block_noise = {part: maps.get(f"{name}.{part}.noise_const") for part in parts}
            x, img = block(x, img, block_styles, block_noise)
        assert img is not None
        return img

    def forward(self, ws: Tensor, noise_mode: str = "const", noise: Mapping[str, Tensor] | None = None, rng: RNG = None,
                force_fp32: bool | None = None) -> Tensor:
        """force_fp32 is accepted because official scripts pass it; the networks run in the dtype of their weights."""
        return self.render(self.affine(ws), noise_mode=noise_mode, noise=noise, rng=rng)

    def noise_maps(self, styles: Tensor, noise_mode: str = "const", noise: Mapping[str, Tensor] | None = None,
                   rng: RNG = None) -> dict[str, Tensor]:
        """Buffer name → [N or 1, 1, H, W], as `render` uses them, with the dtype and device of styles [N, …]; none: {}."""
        return noise_maps(styles, self.noise_shapes, self.get_buffer, noise_mode=noise_mode, noise=noise, rng=rng)


class StyleGAN2Generator(nn.Module):
    """z → ws → images. Facts of the network are attributes; calls have the signatures of the official PyTorch release."""

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        self.config = config
        self.z_dim, self.c_dim, self.w_dim = config.z_dim, config.c_dim, config.w_dim
        self.img_resolution, self.img_channels = max(config.img_shape), config.img_channels
        self.synthesis = SynthesisNetwork(config)
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(
            config.z_dim, config.c_dim, config.w_dim, self.num_ws, num_layers=config.mapping_layers,
            embed_features=config.mapping_embed_features, layer_features=config.mapping_layer_features,
            activation=config.mapping_activation, lr_multiplier=config.mapping_lr_multiplier, w_avg_beta=config.w_avg_beta)

    @property
    def img_shape(self) -> tuple[int, int]:
        """(H, W) of a picture."""
        return self.config.img_shape

    @property
    def style_dims(self) -> dict[str, int]:
        """Modulated layer → width of its style, in execution order."""
        return self.synthesis.style_dims

    @property
    def noise_shapes(self) -> dict[str, tuple[int, int]]:
        """Noise buffer → (H, W); empty for a generator without noise."""
        return self.synthesis.noise_shapes

    @property
    def w_avg(self) -> Tensor:
        """[w_dim], the mean of w that truncation pulls towards."""
        return self.mapping.w_avg

    def forward(self, z: Tensor, c: Tensor | None = None, truncation_psi: float = 1.0, truncation_cutoff: int | None = None,
                noise_mode: str = "const", noise: Mapping[str, Tensor] | None = None, rng: RNG = None,
                force_fp32: bool | None = None) -> Tensor:
        """z: [N, z_dim], c: [N, c_dim] → images [N, C, H, W]."""
        ws = self.mapping(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
        return self.synthesis(ws, noise_mode=noise_mode, noise=noise, rng=rng)
