"""Ways to find the directions of known attributes, by name, on the same labelled samples: what `evaluate edits` compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from invert.editing.direction import Direction
from invert.editing.ganspace import GANSpace
from invert.editing.interfacegan import InterFaceGAN
from invert.editing.labels import Labelled
from invert.editing.library import bundled_directions
from invert.editing.regression import Regression
from invert.editing.sefa import SeFa
from stylegan_core.errors import UsageError
from stylegan_core.provenance import model_sha256

COMPONENTS = 40
Method = Callable[[Any, Labelled], list[Direction]]


def best_components(found: list[Direction], data: Labelled) -> list[Direction]:
    """For each attribute the component whose reading follows its scores most, turned so that it goes up."""
    readings = torch.stack([direction.measure(data.latent) for direction in found])
    chosen = []
    for name, score in data.scores.items():
        together = torch.corrcoef(torch.cat([readings, score[None].to(readings)]))[-1, :-1].nan_to_num(0.0)
        best = int(together.abs().argmax())
        direction = found[best] if float(together[best]) >= 0 else found[best].reversed()
        notes = {**direction.provenance, "figures": {**direction.provenance["figures"], "correlation": abs(float(together[best]))}}
        chosen.append(replace(direction, name=name, provenance=notes))
    return chosen


def bundled(generator: Any, data: Labelled) -> list[Direction]:
    """The directions that come with the package for this model. Raises UsageError when there are none."""
    sha256 = model_sha256(generator)
    own = [direction for direction in bundled_directions() if direction.model_sha256 == sha256 and direction.name in data.scores]
    if not own:
        raise UsageError("no directions of this model come with the package; find some first, or compare other methods")
    return own


METHODS: Mapping[str, Method] = {
    "bundled": bundled,
    "interfacegan": lambda generator, data: InterFaceGAN(data).find(generator),
    "interfacegan-held": lambda generator, data: InterFaceGAN(data, conditions=("all",)).find(generator),
    "interfacegan-held-std": lambda generator, data: InterFaceGAN(data, conditions=("all",), metric="std").find(generator),
    "regression": lambda generator, data: Regression(data, conditions=()).find(generator),
    "regression-held": lambda generator, data: Regression(data).find(generator),
    "ganspace": lambda generator, data: best_components(GANSpace(num_components=COMPONENTS).find(generator), data),
    "sefa": lambda generator, data: best_components(SeFa(num_components=COMPONENTS).find(generator), data),
}


def directions_by(name: str, generator: Any, data: Labelled) -> list[Direction]:
    """data: labelled samples in w. Raises UsageError for an unknown name."""
    if name not in METHODS:
        raise UsageError(f"method {name!r}: of {', '.join(METHODS)}")
    return METHODS[name](generator, data)
