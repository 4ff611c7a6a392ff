"""Edits with a rule: as strong as it takes to reach a score, no stronger than a bound on distance or identity allows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from invert.editing.direction import Direction
from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator
from stylegan_core.inversion import Inversion

STEP = 0.25  # between strengths that are looked at first
HALVINGS = 5  # of the last step, to find the strength itself
MAX_STRENGTH = 5.0


class Rule(Protocol):
    """What a picture is asked: images [N, C, H, W] → one number each."""

    def __call__(self, images: Tensor, unedited: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Outcome:
    """inversion: the edited one. strength: found. reason: 'reached', 'bound' (a bound came first) or 'limit' (the largest strength)."""

    inversion: Inversion
    strength: float
    reason: str


@torch.no_grad()
def apply_until(
    direction: Direction,
    inversion: Inversion,
    generator: Generator,
    *,
    reached: Rule | None = None,
    bounds: Sequence[Rule] = (),
    max_strength: float | None = None,
) -> Outcome:
    """The smallest strength from 0 at which `reached` is at least 0, or the largest at which all `bounds` are at least 0.

    inversion: one image. reached: None = go on until a bound. max_strength: its sign says which way; None = 5, the way that brings the
    score nearer. Strengths are looked at in steps and then halved, so a score that rises and falls within a step may be missed.
    """
    if len(inversion) != 1:
        raise UsageError(f"an edit with a rule takes one image, not {len(inversion)}; edit them one by one")
    if reached is None and not bounds:
        raise UsageError("an edit with a rule needs a score to reach or a bound to keep")
    if max_strength == 0:
        raise UsageError("max_strength 0: a number above 0 (or below, for the other way) is needed")
    unedited = inversion.render(generator).clamp(-1, 1)

    def picture(strength: float) -> Tensor:
        return direction.apply(inversion, strength, generator=generator).render(generator).clamp(-1, 1)

    def state(strength: float) -> str:
        images = picture(strength)
        if any(float(bound(images, unedited)) < 0 for bound in bounds):
            return "bound"
        return "reached" if reached is not None and float(reached(images, unedited)) >= 0 else "limit"

    low, reason = 0.0, state(0.0)
    if max_strength is None:
        is_up = reached is None or float(reached(picture(1.0), unedited)) >= float(reached(picture(-1.0), unedited))
        max_strength = MAX_STRENGTH if is_up else -MAX_STRENGTH
    if reason == "limit":
        sign, steps = (1 if max_strength > 0 else -1), max(1, round(abs(max_strength) / STEP))
        for k in range(1, steps + 1):
            high = sign * abs(max_strength) * k / steps
            reason = state(high)
            if reason != "limit":
                low, reason = _between(state, low, high)
                break
            low = high
    moved = direction.apply(inversion, low, generator=generator)
    return Outcome(moved, low, reason)


def _between(state: Callable[[float], str], low: float, high: float) -> tuple[float, str]:
    """Halves the step in which something happens: the first strength that reaches, or the last that keeps the bounds."""
    what = state(high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found = state(middle)
        if found == "limit":
            low = middle
        else:
            high, what = middle, found
    return (high if what == "reached" else low), what


@dataclass(frozen=True)
class Score:
    """At least 0 where a scorer's attribute is at least (is_below: at most) `value`."""

    scorer: Any
    attribute: str
    value: float
    is_below: bool = False

    def __call__(self, images: Tensor, unedited: Tensor) -> Tensor:
        scores = self.scorer(images)
        if self.attribute not in scores:
            raise UsageError(f"attribute {self.attribute!r} has no score; there are {', '.join(scores)}")
        return (self.value - scores[self.attribute]) if self.is_below else (scores[self.attribute] - self.value)


@dataclass(frozen=True)
class Distance:
    """At least 0 while the perceptual distance to the unedited picture is at most `bound`. features: with `.distance(a, b)`."""

    features: Any
    bound: float

    def __call__(self, images: Tensor, unedited: Tensor) -> Tensor:
        return self.bound - self.features.distance(images, unedited)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Identity:
    """At least 0 while the cosine of the embeddings of both pictures is at least `bound`. features: with `.embed(images)`."""

    features: Any
    bound: float

    def __call__(self, images: Tensor, unedited: Tensor) -> Tensor:
        return (self.features.embed(images) * self.features.embed(unedited)).sum(dim=1) - self.bound  # type: ignore[no-any-return]


def parse_rule(text: str, features: Any) -> Rule:
    """'smile>=0.8', 'smile<=-0.5', 'distance<=0.3', 'identity>=0.9' → a rule. features: `FeatureScorer`. Raises UsageError."""
    match = re.fullmatch(r"\s*([A-Za-z_][\w-]*)\s*(>=|<=)\s*(-?\d+(?:\.\d+)?)\s*", str(text))
    if match is None:
        raise UsageError(f"rule {text!r}: write smile>=0.8, age<=0, distance<=0.3 or identity>=0.9")
    name, sign, value = match[1], match[2], float(match[3])
    if name in ("distance", "identity"):
        if sign != ("<=" if name == "distance" else ">="):
            raise UsageError(f"rule {text!r}: distance is kept small (<=), identity large (>=)")
        return (Distance if name == "distance" else Identity)(features.features, value)
    if name not in features.features.attribute_names:
        raise UsageError(f"rule {text!r}: attributes are {', '.join(features.features.attribute_names)}; or distance, identity")
    return Score(features, name, value, is_below=sign == "<=")
