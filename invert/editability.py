"""How well the inversions of a method can be edited: known directions on held-out portraits, whose true counterfactuals can be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from invert.editing.direction import Direction
from invert.editing.library import find_direction
from invert.evaluate import PORTRAIT_SEED
from invert.evaluate_edits import STRENGTHS, EditRow, Law, Subjects, evaluate_direction, law_of_portraits, looked_at
from stylegan_core.inversion import Inversion
from stylegan_core.provenance import model_sha256


@dataclass(frozen=True)
class Edits:
    """directions: what is done to every inversion. portraits: how to draw the pictures that were inverted."""

    directions: tuple[Direction, ...]
    portraits: list[Any]
    law: Law


@dataclass(frozen=True)
class Editability:
    """Means over directions. moved: by a unit of strength, in standard deviations of the attribute; others: what attributes change
    that the data do not correlate with it; distance: of the judge to the true counterfactuals, and psnr to them in dB."""

    moved: float | None
    others: float
    distance: float | None
    psnr: float | None


def edits_for(generator: Any, names: Sequence[str], count: int) -> Edits:
    """Directions by name for this model, and held-out portraits 0 … count - 1."""
    from stylegan_core.data.portraits import sample_portrait

    sha256 = model_sha256(generator)
    directions = tuple(find_direction(name, generator, sha256) for name in names)
    return Edits(directions, [sample_portrait(PORTRAIT_SEED, i) for i in range(count)], law_of_portraits())


def editability(generator: Any, inversion: Inversion, images: Tensor, edits: Edits, judge: Any) -> Editability:
    """images: [N, C, R, R], the portraits that the N inversions are of. judge: a network that no objective uses."""
    subjects = Subjects(inversion, edits.portraits, images, "given")
    before = looked_at(generator, inversion, judge)
    rows = [evaluate_direction(generator, direction, judge, subjects, edits.law, before, "") for direction in edits.directions]
    return summary(rows)


def summary(rows: Sequence[EditRow]) -> Editability:
    """One figure of each kind."""
    span = STRENGTHS[1] - STRENGTHS[0]
    return Editability(
        _mean([row.moved_range / span for row in rows if row.moved_range is not None]), float(np.mean([row.others for row in rows])),
        _mean([row.distance for row in rows if row.distance is not None]), _mean([row.psnr for row in rows if row.psnr is not None]))


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
