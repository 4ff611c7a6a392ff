"""The layers of a StyleGAN3 as numbers: how size, sampling rate and the two cutoffs of each follow from few settings (SG3 Sec. 3.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stylegan_core.networks.configs import StyleGAN3Config


@dataclass(frozen=True)
class LayerPlan:
    """One layer. Sizes in samples a side, margins included; rates, cutoffs and half widths in cycles or samples per picture.

    rate: at which the nonlinearity runs. up, down: factors between it and the rates around. Taps of 1 = no filter.
    """

    name: str
    is_torgb: bool
    is_critical: bool           # critically sampled: its low-pass filter is the same along both axes, never radial
    in_channels: int
    out_channels: int
    in_size: int
    out_size: int
    in_rate: int
    out_rate: int
    rate: int
    in_cutoff: float
    out_cutoff: float
    in_half_width: float
    out_half_width: float
    kernel: int
    up_taps: int
    down_taps: int

    @property
    def up(self) -> int:
        """Upsampling factor in front of the nonlinearity."""
        return self.rate // self.in_rate

    @property
    def down(self) -> int:
        """Downsampling factor behind it."""
        return self.rate // self.out_rate

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """left, right, top, bottom, at the rate of the nonlinearity; the convolution before adds kernel - 1 samples."""
        total = (self.out_size - 1) * self.down + 1 - (self.in_size + self.kernel - 1) * self.up + self.up_taps + self.down_taps - 2
        low = (total + self.up) // 2
        return low, total - low, low, total - low


def layer_plans(config: StyleGAN3Config) -> tuple[LayerPlan, ...]:
    """num_layers + 1 layers, the last one to colours."""
    cutoffs, stopbands = bands(config)
    rates = [2 ** math.ceil(math.log2(min(2 * stopband, config.img_resolution))) for stopband in stopbands]
    half_widths = [max(stopband, rate / 2) - cutoff for cutoff, stopband, rate in zip(cutoffs, stopbands, rates)]
    sizes = [rate + 2 * config.margin_size for rate in rates]
    sizes[-2:] = [config.img_resolution] * 2
    widths = [*(config.widths or formula_widths(config)), config.img_channels]
    plans = []
    for i, width in enumerate(widths):
        before, is_torgb = max(i - 1, 0), i == config.num_layers
        rate = max(rates[before], rates[i]) * (1 if is_torgb else config.lrelu_upsampling)
        up, down = rate // rates[before], rate // rates[i]
        plans.append(LayerPlan(
            f"L{i}_{sizes[i]}_{width}", is_torgb, i >= config.num_layers - config.num_critical, widths[before], width,
            sizes[before], sizes[i], rates[before], rates[i], rate, cutoffs[before], cutoffs[i], half_widths[before], half_widths[i],
            1 if is_torgb else config.conv_kernel, _taps(config, up, is_torgb), _taps(config, down, is_torgb)))
    return tuple(plans)


def bands(config: StyleGAN3Config) -> tuple[list[float], list[float]]:
    """(cutoffs, stopbands) of all layers: geometric from the first to the last, which the critically sampled ones share."""
    last_cutoff = config.img_resolution / 2
    last_stopband = last_cutoff * config.last_stopband_rel
    steps = [min(i / (config.num_layers - config.num_critical), 1.0) for i in range(config.num_layers + 1)]
    cutoffs = [config.first_cutoff * (last_cutoff / config.first_cutoff) ** t for t in steps]
    stopbands = [config.first_stopband * (last_stopband / config.first_stopband) ** t for t in steps]
    return cutoffs, stopbands


def formula_widths(config: StyleGAN3Config) -> tuple[int, ...]:
    """Channels of layers 0 … num_layers - 1: inversely proportional to the cutoff, at most channel_max."""
    return tuple(round(min(config.channel_base / 2 / cutoff, config.channel_max)) for cutoff in bands(config)[0][:-1])


def fitting_base(widths: Sequence[int], cutoffs: Sequence[float]) -> tuple[int, int] | None:
    """(channel_base, channel_max) that give these widths by the formula, a power of two if one does; None = none do."""
    limit = max(widths)
    least, most = 1.0, math.inf
    for width, cutoff in zip(widths, cutoffs):
        least = max(least, (width - 0.5) * 2 * cutoff)
        if width < limit:
            most = min(most, (width + 0.5) * 2 * cutoff)
    power = 2 ** math.ceil(math.log2(least))
    for base in (power, math.ceil(least), math.ceil(least) + 1):
        if base <= most and all(round(min(base / 2 / cutoff, limit)) == width for width, cutoff in zip(widths, cutoffs)):
            return base, limit
    return None


def _taps(config: StyleGAN3Config, factor: int, is_torgb: bool) -> int:
    return config.filter_size * factor if factor > 1 and not is_torgb else 1
