"""What a part of the evaluation is given, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.losses.perceptual import FeatureDistance
from stylegan_core.metrics.probe import Counted


@dataclass(frozen=True)
class Setting:
    """model: its name; generator: of it. judge: a network that no objective uses. measure: the perceptual distance of the objective.

    count: pictures per cell, from 2. preset, steps: of every embedding; None = the preset's. seed: of starts and noise. snapshots,
    also: name → other generators, see the parts of these names. told: (what, steps done, of how many) → False stops with a
    UsageError. kept: embeddings that several parts look at, made once.
    """

    model: str
    generator: Any
    judge: Any
    measure: FeatureDistance
    count: int = 4
    preset: str = "fast"
    steps: int | None = None
    seed: int = 0
    snapshots: Mapping[str, Any] = field(default_factory=dict)
    also: Mapping[str, Any] = field(default_factory=dict)
    told: Counted | None = None
    kept: dict[Any, Any] = field(default_factory=dict, repr=False)

    def tell(self, what: str, done: int, count: int) -> None:
        """Says how far it is."""
        if self.told is not None and self.told(what, done, count) is False:
            raise UsageError(f"stopped after {done} of {count} {what}")


@dataclass(frozen=True)
class Outcome:
    """rows: one dict per line of the table, all with the same keys, of `page.COLUMNS`. picture: [1, 3, H, W]. caption: what it shows."""

    rows: list[dict[str, Any]]
    picture: Tensor
    caption: str


@dataclass(frozen=True)
class Part:
    """One question. source: where it was asked first. asks: the question and how it is answered. needs: 'snapshots' or 'also', the
    other generators that decide the answer; "" = none."""

    name: str
    title: str
    source: str
    asks: str
    measure: Callable[[Setting], Outcome]
    needs: str = ""
