"""The StyleGAN3 generator (SG3 Sec. 3), bottom-up: Fourier features, layers, synthesis, generator.

Parameter names are those of the official release, so its weights load strictly. There are no noise inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from stylegan_core.errors import LatentError
from stylegan_core.networks.configs import StyleGAN3Config
from stylegan_core.networks.filters import design_lowpass_filter
from stylegan_core.networks.layer_schedule import LayerPlan, layer_plans
from stylegan_core.networks.layers import FullyConnectedLayer, best_memory_format, run_layer
from stylegan_core.networks.mapping import MappingNetwork
from stylegan_core.ops.filtered_lrelu import filtered_lrelu
from stylegan_core.ops.normalised_conv2d import normalised_conv2d

NOISE_MODES = ("const", "random", "none")
INPUT = "input"  # the name of its style among those of the layers
INPUT_STYLE = 4  # cosine and sine of a rotation, translation right and down
RNG = torch.Generator | Sequence[torch.Generator] | None


class SynthesisInput(nn.Module):
    """Fourier features on a plane that w and the user rotate and move (SG3 Sec. 3.1 and 3.2): style [N, 4] → [N, C, size, size].

    transform: [3, 3], or [N, 3, 3] one per image, of homogeneous coordinates in picture widths: where to look, so that the picture
    moves the other way.
    """

    transform: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(self, w_dim: int, channels: int, size: int, sampling_rate: float, bandwidth: float):
        super().__init__()
        self.channels, self.size, self.sampling_rate, self.bandwidth = channels, size, sampling_rate, bandwidth
        freqs = torch.randn(channels, 2)
        radii = freqs.square().sum(dim=1, keepdim=True).sqrt()
        freqs = freqs / (radii * radii.square().exp().pow(0.25)) * bandwidth  # about uniform in the disc of the bandwidth
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = FullyConnectedLayer(w_dim, INPUT_STYLE)
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", freqs)
        self.register_buffer("phases", torch.rand(channels) - 0.5)

    def forward(self, style: Tensor) -> Tensor:
        matrix = self.matrix(style)
        freqs = self.freqs.to(style.dtype) @ matrix[:, :2, :2]  # [N, C, 2]
        phases = self.phases.to(style.dtype) + (self.freqs.to(style.dtype) @ matrix[:, :2, 2:]).squeeze(2)
        fade = 1 - (freqs.norm(dim=2) - self.bandwidth) / (self.sampling_rate / 2 - self.bandwidth)
        amplitudes = fade.clamp(0, 1)  # frequencies that a magnifying transform raises too far die out

        # One sine for every position and channel, then a channel mix.
        place = (torch.arange(self.size, device=style.device, dtype=style.dtype) + (0.5 - self.size / 2)) / self.sampling_rate
        across = place[None, None, :, None] * freqs[:, None, None, :, 0]
        down = place[None, :, None, None] * freqs[:, None, None, :, 1] + phases[:, None, None, :]
        waves = torch.sin(2 * math.pi * (across + down)) * amplitudes[:, None, None, :]
        x = (waves @ (self.weight.t() / math.sqrt(self.channels)).to(waves.dtype)).permute(0, 3, 1, 2)
        return x.contiguous() if best_memory_format(x) == torch.contiguous_format else x

    def matrix(self, style: Tensor) -> Tensor:
        """[N, 3, 3]: the rotation and translation of the style, behind the user's."""
        cosine, sine, right, down = (style / style[:, :2].norm(dim=1, keepdim=True)).unbind(dim=1)
        zero, one = torch.zeros_like(cosine), torch.ones_like(cosine)
        rotation = torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one], dim=1).reshape(-1, 3, 3)
        translation = torch.stack([one, zero, -right, zero, one, -down, zero, zero, one], dim=1).reshape(-1, 3, 3)
        return rotation @ translation @ self.transform.to(style.dtype)


class SynthesisLayer(nn.Module):
    """Modulated convolution, then a nonlinearity that does not alias: x [N, in, H, W], style [N, in] → [N, out, H', W']."""

    magnitude_ema: Tensor
    up_filter: Tensor | None
    down_filter: Tensor | None

    def __init__(self, plan: LayerPlan, w_dim: int, *, use_radial_filters: bool, conv_clamp: float | None, magnitude_ema_beta: float):
        super().__init__()
        self.plan, self.conv_clamp, self.magnitude_ema_beta = plan, conv_clamp, magnitude_ema_beta
        self.in_channels, self.is_checkpointed = plan.in_channels, False
        self.affine = FullyConnectedLayer(w_dim, plan.in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(plan.out_channels, plan.in_channels, plan.kernel, plan.kernel))
        self.bias = nn.Parameter(torch.zeros(plan.out_channels))
        self.register_buffer("magnitude_ema", torch.ones([]))
        self.register_buffer("up_filter", design_lowpass_filter(plan.up_taps, plan.in_cutoff, 2 * plan.in_half_width, plan.rate))
        self.register_buffer("down_filter", design_lowpass_filter(
            plan.down_taps, plan.out_cutoff, 2 * plan.out_half_width, plan.rate, radial=use_radial_filters and not plan.is_critical))

    def forward(self, x: Tensor, style: Tensor, update_emas: bool = False) -> Tensor:
        if update_emas:
            with torch.no_grad():
                power = x.float().square().mean()
                self.magnitude_ema.copy_(power.lerp(self.magnitude_ema.to(power.dtype), self.magnitude_ema_beta))
        return run_layer(self._convolve, x, style, is_checkpointed=self.is_checkpointed)

    def _convolve(self, x: Tensor, style: Tensor) -> Tensor:
        plan = self.plan
        if plan.is_torgb:
            style = style / math.sqrt(plan.in_channels * plan.kernel**2)
        activation_gain = 1.0 if plan.is_torgb else math.sqrt(2)
        x = normalised_conv2d(x, self.weight, style, self.bias, input_gain=self.magnitude_ema.to(style.dtype).rsqrt(),
                              demodulate=not plan.is_torgb, padding=plan.kernel - 1, gain=activation_gain)
        return filtered_lrelu(x, self.up_filter, self.down_filter, up=plan.up, down=plan.down, padding=plan.padding, gain=1.0,
                              slope=1.0 if plan.is_torgb else 0.2, clamp=self.conv_clamp)


class SynthesisNetwork(nn.Module):
    """ws [N, num_ws, w_dim] → images [N, C, H, W], nominal [-1, 1], not clamped.

    `style_dims` maps every modulated layer, the input first, to the width of its style; `rows` to the row of ws that it reads.
    """

    input: SynthesisInput

    def __init__(self, config: StyleGAN3Config):
        super().__init__()
        self.w_dim, self.img_resolution, self.img_channels = config.w_dim, config.img_resolution, config.img_channels
        self.output_scale = config.output_scale
        plans = layer_plans(config)
        first = plans[0]
        self.input = SynthesisInput(config.w_dim, first.in_channels, first.in_size, first.in_rate, first.in_cutoff)
        self.layer_names = [plan.name for plan in plans]
        for plan in plans:
            setattr(self, plan.name, SynthesisLayer(plan, config.w_dim, use_radial_filters=config.use_radial_filters,
                                                    conv_clamp=config.conv_clamp, magnitude_ema_beta=config.magnitude_ema_beta))
        self.style_dims = {INPUT: INPUT_STYLE, **{plan.name: plan.in_channels for plan in plans}}
        self.rows = {name: row for row, name in enumerate(self.style_dims)}
        self.noise_shapes: dict[str, tuple[int, int]] = {}
        self.num_ws = len(self.rows)

    def affine(self, ws: Tensor) -> Tensor:
        """ws: [N, num_ws, w_dim] → styles: [N, sum(style_dims)], every affine output in execution order."""
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise LatentError(f"ws has the shape {tuple(ws.shape)}; this generator takes [N, {self.num_ws}, {self.w_dim}]")
        ws = ws.to(self.input.affine.weight.dtype)
        return torch.cat([getattr(self, name).affine(ws[:, row]) for name, row in self.rows.items()], dim=1)

    def render(self, styles: Tensor, noise_mode: str = "const", noise: Mapping[str, Tensor] | None = None, rng: RNG = None,
               update_emas: bool = False) -> Tensor:
        """styles: [N, sum(style_dims)] → images. noise and rng have nothing to do here. update_emas: track magnitudes, in training."""
        self.noise_maps(styles, noise_mode)
        width = sum(self.style_dims.values())
        if styles.ndim != 2 or styles.shape[1] != width:
            raise LatentError(f"styles have the shape {tuple(styles.shape)}; this generator takes [N, {width}]")
        by_layer = dict(zip(self.style_dims, styles.split(list(self.style_dims.values()), dim=1)))
        x = self.input(by_layer[INPUT])
        for name in self.layer_names:
            x = getattr(self, name)(x, by_layer[name], update_emas)
        return x.to(styles.dtype) * self.output_scale

    def forward(self, ws: Tensor, noise_mode: str = "const", noise: Mapping[str, Tensor] | None = None, rng: RNG = None,
                force_fp32: bool | None = None, update_emas: bool = False) -> Tensor:
        """force_fp32 is accepted because official scripts pass it; the networks run in the dtype of their weights."""
        return self.render(self.affine(ws), noise_mode=noise_mode, noise=noise, rng=rng, update_emas=update_emas)

    def noise_maps(self, styles: Tensor, noise_mode: str = "const", noise: Mapping[str, Tensor] | None = None,
                   rng: RNG = None) -> dict[str, Tensor]:
        """{}: the calls are those of generators that have noise inputs."""
        if noise_mode not in NOISE_MODES:
            raise LatentError(f"noise_mode {noise_mode!r}: one of {', '.join(NOISE_MODES)} is allowed")
        return {}


class StyleGAN3Generator(nn.Module):
    """z → ws → images. Facts of the network are attributes; calls have the signatures of the official release."""

    def __init__(self, config: StyleGAN3Config):
        super().__init__()
        self.config = config
        self.z_dim, self.c_dim, self.w_dim = config.z_dim, config.c_dim, config.w_dim
        self.img_resolution, self.img_channels = config.img_resolution, config.img_channels
        self.synthesis = SynthesisNetwork(config)
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(
            config.z_dim, config.c_dim, config.w_dim, self.num_ws, num_layers=config.mapping_layers,
            embed_features=config.mapping_embed_features, layer_features=config.mapping_layer_features,
            activation=config.mapping_activation, lr_multiplier=config.mapping_lr_multiplier, w_avg_beta=config.w_avg_beta)

    @property
    def img_shape(self) -> tuple[int, int]:
        """(H, W) of a picture."""
        return self.img_resolution, self.img_resolution

    @property
    def style_dims(self) -> dict[str, int]:
        """Modulated layer → width of its style, in execution order; `input` holds rotation and translation."""
        return self.synthesis.style_dims

    @property
    def noise_shapes(self) -> dict[str, tuple[int, int]]:
        """Empty: there are no noise inputs."""
        return self.synthesis.noise_shapes

    @property
    def w_avg(self) -> Tensor:
        """[w_dim], the mean of w that truncation pulls towards."""
        return self.mapping.w_avg

    def forward(self, z: Tensor, c: Tensor | None = None, truncation_psi: float = 1.0, truncation_cutoff: int | None = None,
                noise_mode: str = "const", noise: Mapping[str, Tensor] | None = None, rng: RNG = None,
                force_fp32: bool | None = None, update_emas: bool = False) -> Tensor:
        """z: [N, z_dim], c: [N, c_dim] → images [N, C, H, W]."""
        ws = self.mapping(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff, update_emas=update_emas)
        return self.synthesis(ws, noise_mode=noise_mode, noise=noise, rng=rng, update_emas=update_emas)
