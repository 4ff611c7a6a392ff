"""Strength 1 is one standard deviation of what a direction reads, over samples of the model; 0 is where their average stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from invert.editing.direction import Direction
from invert.editing.labels import draw
from stylegan_core.errors import DirectionError
from stylegan_core.generator import Generator
from stylegan_core.latent import Latent

UNIT_SAMPLES = 2000
LIMIT_SHARE = 0.005  # of the samples beyond either limit


def unit_direction(name: str, normal: Tensor, latent: Latent, *, vector: Tensor | None = None, **facts: Any) -> Direction:
    """The direction that is read along `normal` and moves along `vector`, scaled by these samples.

    normal, vector: [*shape of the space], of any length; vector None = the normal itself. latent: samples in that space.
    facts: other fields of `Direction`. Raises DirectionError when the samples do not differ along the normal.
    """
    own = normal.double().flatten()
    readings = latent.value.double().flatten(1) @ own.to(latent.value.device)
    sigma, centre = float(readings.std()), float(readings.mean())
    way = own if vector is None else vector.double().flatten()
    reading = float(own @ way)
    if not (sigma > 0 and abs(reading) > 1e-12 * float(own.norm() * way.norm())):
        raise DirectionError(f"direction {name!r}: samples of this model do not differ along it")
    shape = latent.value.shape[1:]
    moved = (way * (sigma / reading)).view(shape).float()
    read = None if vector is None else (own / sigma).view(shape).float()
    return Direction(name, latent.space, moved, read, centre / sigma, **facts)


@torch.no_grad()
def with_unit(direction: Direction, generator: Generator, *, num_samples: int = UNIT_SAMPLES, seed: int = 0) -> Direction:
    """The same line with the unit of this generator's samples."""
    direction.check(generator)
    latent = draw(generator, num_samples, seed=seed, space=direction.space)
    vector = None if direction.normal is None else direction.vector
    made = unit_direction(direction.name, direction.reader, latent, vector=vector)
    return replace(direction, vector=made.vector, normal=made.normal, origin=made.origin, unit="std",
                   provenance={**direction.provenance, "unit_samples": num_samples})  # fmt: skip


@torch.no_grad()
def with_limits(direction: Direction, generator: Generator, *, num_samples: int = UNIT_SAMPLES, seed: int = 1) -> Direction:
    """The direction with the strengths between which nearly all samples of this generator stand, where edits are to stop.

    For attributes that end somewhere: beyond the last value of the data a generator draws what nobody has seen.
    """
    readings = direction.measure(draw(generator, num_samples, seed=seed, space=direction.space), generator=generator).double()
    low, high = (float(readings.quantile(share)) for share in (LIMIT_SHARE, 1 - LIMIT_SHARE))
    return replace(direction, limits=(round(low, 6), round(high, 6)))
