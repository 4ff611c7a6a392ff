"""Loss terms by name: what presets, encoders and tuning put into their tables. One line adds one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.losses.perceptual import FeatureDistance, distance_to
from stylegan_core.losses.pixel import check_target, mean_absolute, mean_square, multi_scale_square
from stylegan_core.losses.regularisers import WPrior, in_domain, noise_correlation, noise_power, row_spread
from stylegan_core.losses.term import LossFunction, LossTerm, Objective, Rendering
from stylegan_core.networks.layers import best_memory_format


@dataclass(frozen=True)
class Goal:
    """What the terms of N images compare with.

    target: [N, C, H, W] in [-1, 1]. mask: [N, 1, H, W] in [0, 1]; None = all counts. measure: None = no perceptual
    distance, its term is 0. largest_side: of pictures for the perceptual distance; None = as they are. prior: of w.
    encode: pictures → ws [N, num_ws, w_dim] of an encoder; None = there is none. saturates: where the target is black or white
    to the end of its range, what a rendering has beyond that end is no difference, since no file could show it.
    """

    target: Tensor
    mask: Tensor | None = None
    measure: FeatureDistance | None = None
    largest_side: int | None = None
    prior: WPrior | None = None
    p_prior: WPrior | None = None
    encode: Callable[[Tensor], Tensor] | None = None
    saturates: bool = False

    def seen(self, images: Tensor) -> Tensor:
        """images [N, C, H, W] as the terms see them."""
        if not self.saturates:
            return images
        target = self.target.contiguous(memory_format=best_memory_format(images))
        is_beyond = ((target >= END) & (images > target)) | ((target <= -END) & (images < target))
        return torch.where(is_beyond, target, images)


def _perceptual(goal: Goal) -> LossFunction:
    if goal.measure is None:
        return _zero
    measured = distance_to(goal.measure, goal.target, goal.mask, largest_side=goal.largest_side)
    return lambda rendering: measured(rendering.images)


def _prior(prior: WPrior | None) -> LossFunction:
    if prior is None:
        raise UsageError("a prior of w needs samples of the mapping network; none were given")
    return lambda rendering: _zero(rendering) if rendering.ws is None else prior.penalty(rendering.ws)


def _in_domain(goal: Goal) -> LossFunction:
    encode = goal.encode
    if encode is None:
        raise UsageError("the term in-domain compares with an encoder, and there is none; give one with --encoder")
    spread = 1.0 if goal.prior is None else float(goal.prior.scales.square().sum().sqrt())
    return lambda rendering: _zero(rendering) if rendering.ws is None else in_domain(rendering.ws, encode(rendering.images), spread)


def _zero(rendering: Rendering) -> Tensor:
    return torch.zeros_like(rendering.images[:, 0, 0, 0])


TERMS: Mapping[str, Callable[[Goal], LossFunction]] = {
    "pixel": lambda goal: lambda r: mean_square(r.images, goal.target, goal.mask),
    "pixel-absolute": lambda goal: lambda r: mean_absolute(r.images, goal.target, goal.mask),
    "multi-scale": lambda goal: lambda r: multi_scale_square(r.images, goal.target, goal.mask),
    "perceptual": _perceptual,
    "noise-correlation": lambda goal: lambda r: noise_correlation(r.noise) if r.noise else _zero(r),
    "noise-power": lambda goal: lambda r: noise_power(r.noise) if r.noise else _zero(r),
    "w-prior": lambda goal: _prior(goal.prior),
    "p-prior": lambda goal: _prior(goal.p_prior),
    "in-domain": _in_domain,
    "row-spread": lambda goal: lambda r: _zero(r) if r.ws is None else row_spread(r.ws),
}
END = 1 - 1 / 255  # half a level of 8 bits below white
DISTANCES = ("pixel", "pixel-absolute", "multi-scale", "perceptual")  # how far a picture is; the others only regularise


def build_objective(weights: Mapping[str, float], goal: Goal) -> Objective:
    """weights: name of a term → weight; 0 leaves it out. Raises UsageError for a name, ImageError for a target."""
    unknown = [name for name in weights if name not in TERMS]
    if unknown:
        raise UsageError(f"loss term {unknown[0]!r}: one of {', '.join(TERMS)} is allowed")
    check_target(goal.target, goal.mask)
    terms = [LossTerm(name, weight, TERMS[name](goal)) for name, weight in weights.items() if weight]
    return Objective(terms, goal.seen if goal.saturates else None)
