"""Directions out of directions: held conditions, sums, other spaces, fewer layers. Arguments stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from invert.editing.direction import Direction, style_move
from invert.editing.layers import describe_rows, parse_rows, row_of_layer, style_slices
from stylegan_core.errors import DirectionError
from stylegan_core.generator import Generator
from stylegan_core.latent import LatentSpace

LEAST_LEFT = 1e-3  # of a direction's length: below, it is one of its conditions


def orthogonalise(
    direction: Direction, others: Sequence[Direction], *, covariance: Tensor | None = None, name: str | None = None
) -> Direction:
    """The direction that leaves the readings of all others as they are: conditional manipulation (InterFaceGAN Sec. 3.2).

    The normals of the others are projected out of the vector, all at once, whatever their number and angles; the result is read
    by the same normal and is scaled so that strength 1 still moves that reading by 1. A direction that moves along another vector
    than its normal, such as a conditional one, keeps that vector as far as the others allow. covariance: [D, D] of latents in this
    space, flattened; with it the projection is the one along which latents move least in standard deviations (Mahalanobis)
    instead of in length. None = length, as in the paper. Raises DirectionError when nothing would be left.
    """
    if not others:
        return direction
    wrong = [other.name for other in others if (other.space, other.vector.shape) != (direction.space, direction.vector.shape)]
    if wrong:
        raise DirectionError(f"direction {direction.name!r} lies in {direction.space.value}, {wrong[0]!r} does not; use one space")
    own = direction.reader.flatten().double()
    held = torch.stack([other.reader.flatten().double() for other in others])
    held = held / held.norm(dim=1, keepdim=True).clamp_min(1e-12)

    def spread(rows: Tensor) -> Tensor:
        return rows if covariance is None else rows @ covariance.to(rows)

    start = spread(own[None])[0] if direction.normal is None else direction.vector.flatten().double()
    ways = spread(held)
    solved = torch.linalg.lstsq(held @ ways.T, (held @ start)[:, None], driver="gelsd").solution[:, 0]
    vector = start - solved @ ways
    reading = float(own @ vector)
    if reading < LEAST_LEFT * float(own @ start):
        names = ", ".join(other.name for other in others)
        raise DirectionError(f"direction {direction.name!r}: nothing is left of it when {names} are held; hold fewer")
    vector = (vector / reading).view_as(direction.vector).to(direction.vector)
    held_names: dict[str, Any] = {"held": [other.name for other in others]}
    held_names["metric"] = "length" if covariance is None else "standard deviations"
    if "conditional" in direction.provenance:
        held_names["before"] = direction.provenance["conditional"]
    return replace(
        direction,
        name=name or direction.name,
        vector=vector,
        normal=direction.reader,
        provenance={**direction.provenance, "conditional": held_names},
    )


def combine(directions: Sequence[Direction], weights: Sequence[float] | None = None, *, name: str | None = None) -> Direction:
    """The weighted sum: strength 1 is strength weights[k] of every direction k. weights: None = 1 each.

    Raises DirectionError when spaces, rows or models differ, or when the sum is nothing.
    """
    factors = [1.0] * len(directions) if weights is None else list(weights)
    if not directions or len(factors) != len(directions):
        raise DirectionError(f"{len(directions)} directions and {len(factors)} weights: one for each is needed")
    first = directions[0]
    for other in directions[1:]:
        if (other.space, other.vector.shape, other.rows) != (first.space, first.vector.shape, first.rows):
            raise DirectionError(
                f"directions {first.name!r} ({first.space.value}, rows {describe_rows(first.rows)}) and {other.name!r} "
                f"({other.space.value}, rows {describe_rows(other.rows)}) cannot be added; bring them to one space and the same rows"
            )
        if None not in (first.model_sha256, other.model_sha256) and other.model_sha256 != first.model_sha256:
            raise DirectionError(f"directions {first.name!r} and {other.name!r} were found in different models")
    vector = torch.stack([factor * direction.vector for factor, direction in zip(factors, directions)]).sum(dim=0)
    readings = torch.stack([(direction.reader * vector).sum() for direction in directions])
    if not bool(vector.any()) or float(readings.square().sum()) < 1e-12:
        raise DirectionError(f"the directions {', '.join(direction.name for direction in directions)} cancel out with these weights")
    shares = readings / readings.square().sum()  # the reader in their span that reads 1 along the sum
    normal = torch.stack([share * direction.reader for share, direction in zip(shares, directions)]).sum(dim=0)
    origin = float(sum(float(share) * direction.origin for share, direction in zip(shares, directions)))
    parts = [{"name": direction.name, "weight": factor} for factor, direction in zip(factors, directions)]
    title = name or " ".join(f"{factor:+g}×{direction.name}" for factor, direction in zip(factors, directions))
    return replace(
        first, name=title, vector=vector, normal=normal, origin=origin, limits=None, provenance={"method": "sum", "parts": parts}
    )


def restrict(direction: Direction, rows: str | Sequence[int] | None, generator: Generator) -> Direction:
    """The direction in these layers only: 'coarse', 'middle', 'fine', '0-3,7', a sequence of rows; None and 'all' = unchanged.

    In s the channels of the layers that read these rows are kept. Raises DirectionError for z, and when nothing is left.
    """
    chosen = parse_rows(rows, generator)
    if chosen is None:
        return direction
    direction.check(generator)
    title = f"{direction.name} in {rows if isinstance(rows, str) else describe_rows(chosen)}"
    if direction.space is LatentSpace.S:
        kept = torch.zeros_like(direction.vector)
        layers = row_of_layer(generator)
        for layer, part in style_slices(generator).items():
            if layers[layer] in chosen:
                kept[part] = direction.vector[part]
        return replace(direction, name=title, vector=kept, normal=None, limits=None, origin=_reading_of_centre(direction, kept, generator))
    if direction.space is LatentSpace.Z:
        raise DirectionError(f"direction {direction.name!r} acts in z, before there are layers; find it in w")
    left = tuple(row for row in chosen if direction.rows is None or row in direction.rows)
    if not left:
        raise DirectionError(f"direction {direction.name!r} acts on rows {describe_rows(direction.rows)}, none of {describe_rows(chosen)}")
    if direction.space is LatentSpace.W:
        return replace(direction, name=title, rows=left)
    kept = torch.zeros_like(direction.vector)
    kept[list(left)] = direction.vector[list(left)]
    return replace(
        direction, name=title, vector=kept, normal=None, limits=None, origin=_reading_of_centre(direction, kept, generator), rows=left
    )


def to_styles(direction: Direction, generator: Generator) -> Direction:
    """A w or w+ direction carried over to s: it moves every picture alike, because the affine layers are affine."""
    vector = style_move(direction, generator)
    origin = float(vector @ LatentSpace.S.centre(generator)[0] / vector.square().sum())
    return replace(direction, space=LatentSpace.S, vector=vector.cpu(), normal=None, origin=origin, rows=None, limits=None,
                   provenance={**direction.provenance, "carried_over_from": direction.space.value})  # fmt: skip


def to_w_plus(direction: Direction, generator: Generator) -> Direction:
    """A w direction as one of w+, row by row; where it acts stays the same."""
    if direction.space is LatentSpace.W_PLUS:
        return direction
    if direction.space is not LatentSpace.W:
        raise DirectionError(f"direction {direction.name!r} acts in {direction.space.value}; only one of w can be written as w+")
    direction.check(generator)
    rows = range(generator.num_ws) if direction.rows is None else direction.rows
    vector, normal = (torch.zeros(generator.num_ws, generator.w_dim) for _ in range(2))
    vector[list(rows)] = direction.vector.cpu().float()
    normal[list(rows)] = direction.reader.cpu().float() / len(rows)
    return replace(direction, space=LatentSpace.W_PLUS, vector=vector, normal=normal)


def _reading_of_centre(direction: Direction, kept: Tensor, generator: Generator) -> float:
    """Where the average latent stands along what is left of the vector. Raises DirectionError when nothing is."""
    if not bool(kept.any()):
        raise DirectionError(f"direction {direction.name!r} does nothing in these layers; choose others")
    centre = direction.space.centre(generator)[0].to(kept)
    return float((kept * centre).sum() / kept.square().sum())
