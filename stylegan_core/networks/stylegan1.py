"""The StyleGAN generator (SG Fig. 1b) and, by switches, the progressive GAN that it grew out of (PG Table 2).

Bottom-up: layers, blocks, synthesis, generator. Weights of convolutions, biases and noise strengths are the numbers of the official
release. Pictures of level of detail `lod` have img_resolution / 2^⌊lod⌋ pixels; a fraction fades from the next smaller size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan_core.errors import LatentError
from stylegan_core.generator import RNG
from stylegan_core.networks.layers import (
    FullyConnectedLayer,
    Kept,
    best_memory_format,
    is_frozen,
    is_plain_call,
    normalize_2nd_moment,
    run_layer,
)
from stylegan_core.networks.mapping import MappingNetwork
from stylegan_core.networks.noise_inputs import noise_maps
from stylegan_core.networks.stylegan1_configs import StyleGAN1Config, check_lod
from stylegan_core.ops.bias_act import bias_act
from stylegan_core.ops.upfirdn2d import filter2d, setup_filter

NEGATIVE_SLOPE = {"lrelu": 0.2, "relu": 0.0}
GAIN = math.sqrt(2)  # of a layer that an activation follows, in its weights (He et al. 2015)


def upscaling_convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 3×3 convolution of the nearest-neighbour upsampled x: [N, in, H, W] → [N, out, 2H, 2W], in one step with 4×4 kernels."""
    return F.conv_transpose2d(x, upscaling_kernel(weight), bias, stride=2, padding=1)


def upscaling_kernel(weight: Tensor) -> Tensor:
    """[out, in, 3, 3] → [in, out, 4, 4], for a transposed convolution of stride 2."""
    return widened(weight.flip([2, 3])).transpose(0, 1)


def downscaling_convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Means of 2×2 pixels of a 3×3 convolution: [N, in, H, W] → [N, out, H/2, W/2], in one step with 4×4 kernels."""
    return F.conv2d(x, widened(weight) / 4, bias, stride=2, padding=1)


def widened(weight: Tensor) -> Tensor:
    """[out, in, k, k] convolved with a box of 2×2: [out, in, k+1, k+1]."""
    rows = F.pad(weight, [0, 0, 0, 1]) + F.pad(weight, [0, 0, 1, 0])
    return F.pad(rows, [0, 1]) + F.pad(rows, [1, 0])


def upscale(images: Tensor, factor: int = 2) -> Tensor:
    """Every pixel becomes factor × factor of them."""
    return images if factor == 1 else images.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)


class SynthesisLayer(nn.Module):
    """Convolution, noise, bias, activation, norm, style: x [N, in, H, W], style [N, 2·out] → [N, out, H·up, W·up].

    in_channels: 0 = no convolution, x is [N, out, H, W]. A style is scale - 1 and shift of every channel (SG Eq. 1).
    """

    blur: Tensor
    noise_const: Tensor

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, resolution: int, *, up: int = 1, use_styles: bool = True,
                 use_instance_norm: bool = True, use_pixel_norm: bool = False, use_noise: bool = True, norm_eps: float = 1e-8,
                 activation: str = "lrelu", resample_filter: Sequence[float] = (1, 2, 1), blurs_bias: bool = False):
        super().__init__()
        self.out_channels, self.up, self.norm_eps = out_channels, up, norm_eps
        self.blurs_bias = blurs_bias and up > 1
        self.use_instance_norm, self.use_pixel_norm = use_instance_norm, use_pixel_norm
        self.slope, self.is_checkpointed = NEGATIVE_SLOPE[activation], False
        if in_channels > 0:
            self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
            self.weight_gain = GAIN / math.sqrt(in_channels * 9)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        if use_noise:
            self.register_buffer("noise_const", torch.randn(resolution, resolution))
            self.noise_strength = nn.Parameter(torch.zeros(out_channels))
        if use_styles:
            self.affine = FullyConnectedLayer(w_dim, 2 * out_channels)
        self.register_buffer("blur", setup_filter(list(resample_filter)), persistent=False)
        self._kept = Kept()

    def forward(self, x: Tensor, style: Tensor | None, noise: Tensor | None = None) -> Tensor:
        """style: None for a layer without one. noise: [N or 1, 1, H·up, W·up]; None = no noise."""
        return run_layer(self._convolve, x, style, noise, is_checkpointed=self.is_checkpointed)

    def _convolve(self, x: Tensor, style: Tensor | None, noise: Tensor | None) -> Tensor:
        bias = self.bias.to(x.dtype)
        if hasattr(self, "weight"):
            if is_frozen(self.weight) and is_plain_call(x, self.weight):
                kernel = self._kept.get(self.weight, self.kernel)
            else:
                kernel = self.kernel(self.weight).to(x.dtype)
            if self.up == 1:
                x = F.conv2d(x, kernel, padding=1)
            else:
                x = F.conv_transpose2d(x, kernel, bias if self.blurs_bias else None, stride=2, padding=1)
                x = blurred(x, self.blur)
        if noise is not None:
            x = torch.addcmul(x, noise.to(x.dtype), self.noise_strength.to(x.dtype)[:, None, None])
        x = bias_act(x, None if self.blurs_bias else bias, act="lrelu", alpha=self.slope, gain=1)
        if self.use_pixel_norm:
            x = normalize_2nd_moment(x)
        return self.normalised(x, style)

    def kernel(self, weight: Tensor) -> Tensor:
        """The weight as the convolution takes it; kept while it is frozen."""
        weight = weight * self.weight_gain
        return weight if self.up == 1 else upscaling_kernel(weight)

    def normalised(self, x: Tensor, style: Tensor | None) -> Tensor:
        """Instance norm and style (SG Eq. 1), each only where the layer has it; in float32 at least."""
        if style is None and not self.use_instance_norm:
            return x
        x = x if x.dtype == torch.float64 else x.float()  # 16 bits do not hold the mean of squares
        scale = shift = None
        if style is not None:
            scale, shift = (part[:, :, None, None] for part in style.to(x.dtype).split(self.out_channels, dim=1))
            scale = scale + 1
        if self.use_instance_norm:
            x = x - x.mean(dim=[2, 3], keepdim=True)
            inverse = (x.square().mean(dim=[2, 3], keepdim=True) + self.norm_eps).rsqrt()
            scale = inverse if scale is None else scale * inverse
        assert scale is not None
        return x * scale if shift is None else torch.addcmul(shift, x, scale)


def blurred(x: Tensor, f: Tensor) -> Tensor:
    """The low-pass filter of resampling, zeros beyond the edge; a filter of one tap leaves x as it is."""
    return x if f.numel() == 1 else filter2d(x, f)


class ToRGBLayer(nn.Module):
    """1×1 convolution to picture channels, without style: [N, in, H, W] → [N, out, H, W]."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor) -> Tensor:
        images = F.conv2d(x, (self.weight * self.weight_gain).to(x.dtype))
        return (images if images.dtype == torch.float64 else images.float()) + self.bias[:, None, None]


class SynthesisBlock(nn.Module):
    """The layers of one resolution: conv0 (upsamples; at 4 px it takes the constant or what `dense` makes of w), conv1, torgb."""

    def __init__(self, config: StyleGAN1Config, resolution: int):
        super().__init__()
        self.resolution, self.use_styles = resolution, config.use_styles
        channels, first = config.width(resolution), resolution == 4
        layer_kwargs: dict[str, Any] = dict(
            use_styles=config.use_styles, use_instance_norm=config.use_instance_norm, use_pixel_norm=config.use_pixel_norm,
            use_noise=config.use_noise, norm_eps=config.norm_eps, activation=config.activation, resample_filter=config.resample_filter,
            blurs_bias=config.blurs_bias)
        if first and config.use_const:
            self.const = nn.Parameter(torch.ones(channels, 4, 4))
        elif first:
            self.dense = nn.Parameter(torch.randn(channels * 16, config.w_dim))
            self.dense_gain = GAIN / 4 / math.sqrt(config.w_dim)  # a quarter, as in the progressive GAN
        in_channels = 0 if first else config.width(resolution // 2)
        self.conv0 = SynthesisLayer(in_channels, channels, config.w_dim, resolution, up=1 if first else 2, **layer_kwargs)
        self.conv1 = SynthesisLayer(channels, channels, config.w_dim, resolution, **layer_kwargs)
        if config.is_growing or resolution == config.img_resolution:
            self.torgb = ToRGBLayer(channels, config.img_channels)

    def style_widths(self) -> Iterator[tuple[str, int]]:
        """(name, width) of what this block reads of styles, in order; `dense` reads w itself."""
        if hasattr(self, "dense"):
            yield "dense", self.dense.shape[1]
        if self.use_styles:
            yield "conv0", 2 * self.conv0.out_channels
            yield "conv1", 2 * self.conv1.out_channels

    def start(self, styles: Mapping[str, Tensor], like: Tensor) -> Tensor:
        """What conv0 of the first block takes, [N, C, 4, 4]; like: [N, …] of the dtype and device of the styles."""
        if hasattr(self, "dense"):
            w = styles["dense"]
            x = (w @ (self.dense.to(w.dtype) * self.dense_gain).t()).reshape(len(w), -1, 4, 4)
        else:
            x = self.const.to(like.dtype).expand(len(like), -1, -1, -1)
        return x.contiguous(memory_format=best_memory_format(x))

    def forward(self, x: Tensor, styles: Mapping[str, Tensor], noise: Mapping[str, Tensor | None]) -> Tensor:
        """styles and noise are keyed conv0, conv1."""
        x = self.conv0(x, styles.get("conv0"), noise["conv0"])
        return self.conv1(x, styles.get("conv1"), noise["conv1"])


class SynthesisNetwork(nn.Module):
    """ws [N, num_ws, w_dim] → images [N, C, H, W], nominal [-1, 1], not clamped.

    `style_dims` maps every layer that reads styles, in execution order, to the width of its part; `rows` to the row of ws behind it;
    `noise_shapes` maps every noise buffer to its (H, W).
    """

    b4: SynthesisBlock

    def __init__(self, config: StyleGAN1Config):
        super().__init__()
        self.w_dim, self.img_resolution, self.img_channels = config.w_dim, config.img_resolution, config.img_channels
        self.is_growing, self.lod = config.is_growing, float(config.lod)
        self.style_dims: dict[str, int] = {}
        self.rows: dict[str, int] = {}
        self.noise_shapes: dict[str, tuple[int, int]] = {}
        for index, resolution in enumerate(config.resolutions):
            block = SynthesisBlock(config, resolution)
            setattr(self, f"b{resolution}", block)
            for name, width in block.style_widths():
                self.style_dims[f"b{resolution}.{name}"] = width
                self.rows[f"b{resolution}.{name}"] = 2 * index + (name == "conv1")
            for name in ("conv0", "conv1") if config.use_noise else ():
                self.noise_shapes[f"b{resolution}.{name}.noise_const"] = (resolution, resolution)
        self.num_ws = max(self.rows.values()) + 1

    def blocks(self) -> Iterator[tuple[str, SynthesisBlock]]:
        """(name, block) from 4 px upwards."""
        for name, block in self.named_children():
            if isinstance(block, SynthesisBlock):
                yield name, block

    def affine(self, ws: Tensor) -> Tensor:
        """ws: [N, num_ws, w_dim] → styles: [N, sum(style_dims)], every layer's affine output in execution order."""
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise LatentError(f"ws has the shape {tuple(ws.shape)}; this generator takes [N, {self.num_ws}, {self.w_dim}]")
        ws = ws.to(self.b4.conv1.bias.dtype)
        parts = []
        for layer, row in self.rows.items():
            block, _, name = layer.partition(".")
            w = ws[:, row]
            parts.append(w if name == "dense" else getattr(getattr(self, block), name).affine(w))
        return torch.cat(parts, dim=1)

    def render(self, styles: Tensor, noise_mode: str = "const", noise: Mapping[str, Tensor] | None = None, rng: RNG = None,
               lod: float | None = None) -> Tensor:
        """styles: [N, sum(style_dims)] → images. noise: buffer name → [N or 1, 1, H, W] that replaces the stored maps.

        rng: where random noise comes from, one generator or one per image (drawn on its device, then moved); None = torch's own.
        lod: level of detail, for images of H / 2^⌊lod⌋ pixels; None = the network's own, enlarged to all of its pixels.
        """
        width = sum(self.style_dims.values())
        if styles.ndim != 2 or styles.shape[1] != width:
            raise LatentError(f"styles have the shape {tuple(styles.shape)}; this generator takes [N, {width}]")
        by_layer = dict(zip(self.style_dims, styles.split(list(self.style_dims.values()), dim=1)))
        level = self.lod if lod is None else float(lod)
        check_lod(level, self.img_resolution, self.is_growing)
        maps = self.noise_maps(styles, noise_mode, noise, rng, level)
        last, fade = self.img_resolution >> int(level), level - int(level)
        x: Tensor | None = None
        previous: Tensor | None = None
        for name, block in self.blocks():
            block_styles = {part: by_layer[f"{name}.{part}"] for part, _ in block.style_widths()}
            if x is None:
                x = block.start(block_styles, styles)
            elif block.resolution == last and fade > 0:
                previous = upscale(getattr(self, f"b{last // 2}").torgb(x))
            x = block(x, block_styles, {part: maps.get(f"{name}.{part}.noise_const") for part in ("conv0", "conv1")})
            if block.resolution == last:
                break
        images = getattr(self, f"b{last}").torgb(x)
        if previous is not None:
            images = images.lerp(previous, fade)
        return upscale(images, self.img_resolution // last) if lod is None else images

    def forward(self, ws: Tensor, noise_mode: str = "const", noise: Mapping[str, Tensor] | None = None, rng: RNG = None,
                force_fp32: bool | None = None, lod: float | None = None) -> Tensor:
        """force_fp32 is accepted because official scripts pass it; the networks run in the dtype of their weights."""
        return self.render(self.affine(ws), noise_mode=noise_mode, noise=noise, rng=rng, lod=lod)

    def noise_maps(self, styles: Tensor, noise_mode: str = "const", noise: Mapping[str, Tensor] | None = None,
                   rng: RNG = None, lod: float | None = None) -> dict[str, Tensor]:
        """Buffer name → [N or 1, 1, H, W], as `render` uses them at this level of detail; none: {}."""
        largest = self.img_resolution >> int(self.lod if lod is None else lod)
        shapes = {name: size for name, size in self.noise_shapes.items() if size[0] <= largest}
        return noise_maps(styles, shapes, self.get_buffer, noise_mode=noise_mode, noise=noise, rng=rng)


class StyleGAN1Generator(nn.Module):
    """z → ws → images. Facts of the network are attributes; calls have the signatures of the official PyTorch releases."""

    def __init__(self, config: StyleGAN1Config):
        super().__init__()
        self.config = config
        self.z_dim, self.c_dim, self.w_dim = config.z_dim, config.c_dim, config.w_dim
        self.img_resolution, self.img_channels = config.img_resolution, config.img_channels
        self.synthesis = SynthesisNetwork(config)
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(
            config.z_dim, config.c_dim, config.w_dim, self.num_ws, num_layers=config.mapping_layers,
            embed_features=config.mapping_embed_features, layer_features=config.mapping_layer_features,
            activation=config.mapping_activation, lr_multiplier=config.mapping_lr_multiplier, w_avg_beta=config.w_avg_beta,
            joint_norm=config.mapping_joint_norm)

    @property
    def img_shape(self) -> tuple[int, int]:
        """(H, W) of a picture."""
        return self.img_resolution, self.img_resolution

    @property
    def style_dims(self) -> dict[str, int]:
        """Layer → width of what it reads of styles, in execution order."""
        return self.synthesis.style_dims

    @property
    def noise_shapes(self) -> dict[str, tuple[int, int]]:
        """Noise buffer → (H, W); empty for a generator without noise."""
        return self.synthesis.noise_shapes

    @property
    def w_avg(self) -> Tensor:
        """[w_dim], the mean of w that truncation pulls towards."""
        return self.mapping.w_avg

    def set_lod(self, lod: float) -> None:
        """The level of detail that calls have by themselves from now on; a file keeps it."""
        self.config = replace(self.config, lod=float(lod)).validate()
        self.synthesis.lod = self.config.lod

    def forward(self, z: Tensor, c: Tensor | None = None, truncation_psi: float = 1.0, truncation_cutoff: int | None = None,
                noise_mode: str = "const", noise: Mapping[str, Tensor] | None = None, rng: RNG = None,
                force_fp32: bool | None = None, lod: float | None = None) -> Tensor:
        """z: [N, z_dim], c: [N, c_dim] → images [N, C, H, W]."""
        ws = self.mapping(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
        return self.synthesis(ws, noise_mode=noise_mode, noise=noise, rng=rng, lod=lod)
