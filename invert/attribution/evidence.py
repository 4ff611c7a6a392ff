"""The evidence for one picture and one generator, as numbers: how far, where, at what price, and how sure the search was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from invert.attribution.channel import BLOCK, GREY, Channel
from invert.attribution.fit import Effort, Fit, run_noise
from invert.attribution.groundwork import Groundwork
from invert.attribution.laundering import Laundering
from invert.attribution.registration import Placement
from invert.attribution.settle import Settled, settle
from stylegan_core.losses.perceptual import FeatureDistance

VERSION = 3  # of the numbers; it goes up when a picture gives others than before
FLOOR = 1e-3  # added before logarithms of whitened mean squares
ZONES = {"low": (0, 2), "middle": (3, 6), "high": (7, 14)}  # sums of the frequencies of a cosine block
GROUPS: dict[str, tuple[str, ...]] = {  # what an ablation leaves out together
    "distance in W": ("bare_low", "bare_middle", "bare_high", "bare_chroma"),
    "distance with noise": ("full_low", "full_middle", "full_high", "full_chroma", "likelihood"),
    "distance in W+": ("wide_gain", "wide_value", "row_spread"),
    "perceptual distance": ("feature_bare", "feature_full"),
    "price of w": ("w_price",),
    "price of noise": ("noise_coarse", "noise_fine", "noise_pattern"),
    "agreement of restarts": ("runner_up", "disagreement"),
    "first glance": ("first_glance",),
    "the picture itself": ("complexity_low", "complexity_high", "detail", "grain", "steps", "scale", "shown", "is_const", "blur"),
}
NAMES = tuple(name for names in GROUPS.values() for name in names)


@dataclass(frozen=True)
class Evidence:
    """values: the numbers, by NAMES. placement, laundering, blur: what was found of the picture. curve: the mean squared
    difference in grey levels after each step in W. pictures: target, w, noise, each [1, 3, H, W], for a report. ws: [1,
    num_ws, w_dim] and noise: the code in W+, for those who render it again.
    """

    values: dict[str, float]
    placement: Placement
    laundering: Laundering
    blur: float
    curve: tuple[float, ...] = ()
    pictures: dict[str, Tensor] = field(default_factory=dict)
    ws: Tensor | None = None
    noise: dict[str, Tensor] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """JSON-ready: all but the tensors."""
        return {"values": {name: round(value, 6) for name, value in self.values.items()}, "placement": self.placement.record(),
                "laundering": self.laundering.record(), "blur": self.blur}  # fmt: skip


def examine(pictures: Sequence[tuple[Tensor, Laundering]], ground: Groundwork, measure: FeatureDistance | None = None,
            effort: Effort | None = None) -> list[Evidence]:  # fmt: skip
    """pictures: ([1, 3, h, w] in [-1, 1] as read, what was done to it) each; all of them are one batch. measure: None = no
    perceptual distance.
    """
    effort = effort or Effort()
    settled = settle(pictures, ground, effort)
    found = run_noise(settled.channel, ground, settled.v, settled.is_const, effort, settled.curve, settled.searched)
    values = numbers(settled, found, ground, measure, [laundering for _, laundering in pictures])
    result = []
    for i, (_, laundering) in enumerate(pictures):
        shown = {"target": settled.channel.target[i : i + 1].cpu()}
        one = settled.channel.take(torch.tensor([i]))
        shown |= {name: one.shown(render[i : i + 1]).clamp(-1, 1).cpu() for name, render in (("w", found.bare), ("noise", found.full))}
        _, _, height, width = _corner(one.mask)
        shown = {name: picture[:, :, :height, :width] for name, picture in shown.items()}
        result.append(Evidence({name: float(values[name][i]) for name in NAMES}, settled.placements[i], laundering, settled.blurs[i],
                               tuple(float(x) for x in found.curve[:, i]), shown,
                               ground.prior.unwhiten(found.plus[i : i + 1]).cpu(), _maps(ground, found, i)))  # fmt: skip
    return result


@torch.no_grad()
def numbers(settled: Settled, found: Fit, ground: Groundwork, measure: FeatureDistance | None,
            launderings: Sequence[Laundering]) -> dict[str, Tensor]:  # fmt: skip
    """Name → [N] float64, each finite."""
    channel = settled.channel
    values: dict[str, Tensor] = {}
    for name, renders in (("bare", found.bare), ("full", found.full)):
        values |= {f"{name}_{zone}": value for zone, value in _zones(channel, channel.whitened(renders)).items()}
    count = channel.num_values.double()
    values["likelihood"] = torch.log10(2 * found.value.double() / count + FLOOR)
    values["wide_value"] = torch.log10(2 * found.wide_value.double() / count + FLOOR)
    wide = channel.whitened(found.wide).double().square().sum(dim=(1, 2, 3)) / count
    full = channel.whitened(found.full).double().square().sum(dim=(1, 2, 3)) / count
    values["wide_gain"] = torch.log10((full + FLOOR) / (wide + FLOOR))
    spread = (found.plus - found.plus.mean(dim=1, keepdim=True)).double().square().mean(dim=(1, 2))
    values["row_spread"] = torch.log10(spread + FLOOR)
    values["w_price"] = torch.log10(found.v.double().square().mean(dim=1) + FLOOR)
    values |= _noise_prices(found, ground)
    values |= _restarts(found)
    values["first_glance"] = torch.log10(found.curve[0].double() + FLOOR)
    values |= _features(channel, found, measure)
    planes = channel.target * channel.mask - _mean(channel) * channel.mask
    own = _zones(channel, channel.cosines(planes) / GREY)
    values["complexity_low"], values["complexity_high"] = own["low"], own["high"]
    values["detail"] = torch.tensor([laundering.detail for laundering in launderings])
    values["grain"] = torch.log10(torch.tensor([laundering.grain for laundering in launderings]) + 0.1)
    values["steps"] = torch.log10(channel.spread.double().mean(dim=(1, 2, 3)) / GREY)
    shape = ground.generator.img_shape
    values["scale"] = torch.log2(torch.tensor([placement.scale(shape) for placement in settled.placements]).clamp(0.1, 4.0))
    values["shown"] = channel.mask.double().mean(dim=(1, 2, 3))
    values["is_const"] = settled.is_const.double()
    values["blur"] = torch.tensor(settled.blurs)
    return {name: values[name].double().cpu().nan_to_num(0.0, 12.0, -12.0) for name in NAMES}


def _zones(channel: Channel, whitened: Tensor) -> dict[str, Tensor]:
    """log10 of the mean square of luma by frequency, and of chroma, each [N]."""
    order = torch.arange(BLOCK)[:, None] + torch.arange(BLOCK)[None]
    power, count = whitened.double().square(), channel.mask.double().sum(dim=(1, 2, 3))
    values = {}
    for zone, (first, last) in ZONES.items():
        inside = ((order >= first) & (order <= last)).double()
        tiled = channel.tiled(inside[None, None].to(power))
        values[zone] = torch.log10((power[:, :1] * tiled).sum(dim=(1, 2, 3)) / (count * float(inside.mean())).clamp_min(1) + FLOOR)
    chroma = torch.where(channel.is_halved, count / 2, count * 2).clamp_min(1)
    values["chroma"] = torch.log10(power[:, 1:].sum(dim=(1, 2, 3)) / chroma + FLOOR)
    return values


def _noise_prices(found: Fit, ground: Groundwork) -> dict[str, Tensor]:
    """What the noise had to explain: mean square of coarse maps and of the finest, and how alike its neighbours are."""
    like = found.value.double()
    coarse: list[Tensor] = []
    fine: list[Tensor] = []
    pattern: list[Tensor] = []
    side = max((shape[0] for shape in ground.generator.noise_shapes.values()), default=0)
    for name, shape in ground.generator.noise_shapes.items():
        value = found.noise[name].double()
        power = value.square().mean(dim=(1, 2, 3))
        (fine if shape[0] > side // 4 else coarse).append(power)
        if shape[0] == side:
            pairs = [(value * value.roll(1, dims=axis)).mean(dim=(1, 2, 3)) for axis in (2, 3)]
            pattern.append((pairs[0] + pairs[1]) / 2)
    zero = torch.zeros_like(like)
    sums = {"noise_coarse": torch.stack(coarse).sum(dim=0) if coarse else zero,
            "noise_fine": torch.stack(fine).sum(dim=0) if fine else zero}  # fmt: skip
    values = {name: torch.log10(value + FLOOR) for name, value in sums.items()}
    alike = torch.stack(pattern).sum(dim=0) if pattern else zero
    values["noise_pattern"] = alike / (sums["noise_fine"] + FLOOR)
    return values


def _restarts(found: Fit) -> dict[str, Tensor]:
    """How the second best start did beside the best, and how far apart the two ended."""
    ends, order = found.searched.ends.double(), found.searched.values.argsort(dim=1)
    if ends.shape[1] < 2:
        zero = torch.zeros_like(found.value.double())
        return {"runner_up": zero, "disagreement": zero}
    rows = torch.arange(len(ends), device=ends.device)
    first, second = order[:, 0], order[:, 1]
    values = found.searched.values.double()
    apart = (ends[rows, first] - ends[rows, second]).square().mean(dim=1)
    return {"runner_up": torch.log10(values[rows, second] / values[rows, first].clamp_min(1e-9)).clamp(0, 6),
            "disagreement": torch.log10(apart + FLOOR)}  # fmt: skip


def _features(channel: Channel, found: Fit, measure: FeatureDistance | None) -> dict[str, Tensor]:
    """log10 of the perceptual distance after W and after noise, where the picture is."""
    zero = torch.zeros_like(found.value.double())
    if measure is None or measure.name == "none":
        return {"feature_bare": zero, "feature_full": zero}
    wanted = measure.features(channel.target * channel.mask)
    values = {}
    for name, renders in (("feature_bare", found.bare), ("feature_full", found.full)):
        maps = measure.features(channel.shown(renders).clamp(-1, 1))
        gaps = torch.stack([(x - y).double().square().flatten(1).sum(dim=1) for x, y in zip(maps, wanted)])
        values[name] = torch.log10(gaps.sum(dim=0) + 1e-5)
    return values


def _mean(channel: Channel) -> Tensor:
    """[N, 3, 1, 1]: the mean colour."""
    count = channel.mask.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    return (channel.target * channel.mask).sum(dim=(2, 3), keepdim=True) / count


def _maps(ground: Groundwork, found: Fit, i: int) -> dict[str, Tensor]:
    """Noise maps of picture i after W+, each [1, 1, h, w]."""
    base = {name: ground.generator.get_buffer(f"synthesis.{name}") for name in ground.generator.noise_shapes}
    return {name: (value * found.is_const[i] + found.plus_noise[name][i]).cpu()[None] for name, value in base.items()}


def _corner(mask: Tensor) -> tuple[int, int, int, int]:
    """left, top, width's end, height's end of the picture in the frame, as (0, 0, h, w)."""
    return 0, 0, int(mask[0, 0].amax(dim=1).sum()), int(mask[0, 0].amax(dim=0).sum())


__all__ = ["GROUPS", "NAMES", "VERSION", "Evidence", "examine", "numbers"]
