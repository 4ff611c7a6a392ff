"""What edits work with: a loaded model, where labels come from, and inversions by whatever names them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from invert.editing.arithmetic import orthogonalise, restrict
from invert.editing.direction import Direction
from invert.editing.library import find_direction
from invert.loaded import LoadedModel
from stylegan_core.errors import InversionError, UsageError
from stylegan_core.files import display
from stylegan_core.generator import Generator
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent

NO_SOURCE = "{} is neither a picture, an inversion nor seed:NUMBER"


@dataclass
class Setting:
    """model: on its device. project: options of `invert.project` for pictures that must be inverted. is_related: take directions and
    inversions of related models too. Directions and inversions are looked up once."""

    model: LoadedModel
    project: dict[str, Any] = field(default_factory=dict)
    is_related: bool = False
    _directions: dict[str, Direction] = field(default_factory=dict)
    _inversions: dict[str, Inversion] = field(default_factory=dict)

    @property
    def generator(self) -> Generator:
        """The network."""
        return self.model.generator

    def direction(self, direction: Direction | str, *, rows: Any = None, hold: Any = ()) -> Direction:
        """A direction by name, file or as it is; held conditions first, then the rows. Raises UsageError, DirectionError."""
        found = self._direction(direction)
        names = list(hold) if isinstance(hold, (list, tuple)) else [hold]
        if names:
            found = orthogonalise(found, [self._direction(other) for other in names])
        return restrict(found, rows, self.generator)

    def inversion(self, source: Inversion | str | os.PathLike[str]) -> Inversion:
        """An inversion as it is, from its file, 'seed:5', or a picture, which is projected. Raises InversionError, ImageError."""
        if isinstance(source, Inversion):
            return self.checked(source, "the inversion")
        name = _name_of(source)
        if name not in self._inversions:
            self._inversions[name] = self.checked(self._load(name), display(name))
        return self._inversions[name]

    def check_source(self, source: Inversion | str | os.PathLike[str]) -> None:
        """Whether `inversion` can find the source, without projecting a picture. Raises UsageError, InversionError."""
        name = "" if isinstance(source, Inversion) else _name_of(source)
        if isinstance(source, Inversion) or name.startswith("seed:") or name.endswith((".safetensors", ".npz")):
            self.inversion(source)
        elif not Path(name).is_file():
            raise UsageError(NO_SOURCE.format(display(name)))

    def checked(self, inversion: Inversion, name: str) -> Inversion:
        """An inversion of this model; one of a related model is taken for its own where that is allowed. Raises InversionError."""
        known = inversion.metadata.get("model_sha256")
        if isinstance(known, str) and known != self.model.sha256:
            if not self.is_related:
                raise InversionError(
                    f"{name} was made with {display(inversion.metadata.get('model', 'another model'))} ({known[:12]}…), not with "
                    f"{display(self.model.name)} ({self.model.sha256[:12]}…); give that model with --model, or say --related"
                )
            own = {"model": self.model.name, "model_sha256": self.model.sha256, "inverted_with": known}
            inversion = replace(inversion, metadata={**inversion.metadata, **own})
        inversion.check(self.generator)
        return inversion

    def _direction(self, direction: Direction | str) -> Direction:
        if isinstance(direction, Direction):
            direction.check(self.generator, None if self.is_related else self.model.sha256)
            return direction
        direction = os.fspath(direction) if isinstance(direction, os.PathLike) else direction
        if not isinstance(direction, str):
            raise UsageError(f"direction {direction!r} is of the type {type(direction).__name__}; a name, a file or a Direction is needed")
        if direction not in self._directions:
            self._directions[direction] = find_direction(
                direction, self.generator, self.model.sha256, model=self.model.name, is_related=self.is_related
            )
        return self._directions[direction]

    def _load(self, name: str) -> Inversion:
        kind, colon, number = name.partition(":")
        if kind == "seed" and colon:
            return self._sample(number)
        if name.endswith((".safetensors", ".npz")):
            return Inversion.load(name)
        if not Path(name).is_file():
            raise UsageError(NO_SOURCE.format(display(name)))
        from invert.api import project

        inversion = project(name, self.generator, **self.project)
        return replace(inversion, metadata={**inversion.metadata, "model": self.model.name})

    def _sample(self, number: str) -> Inversion:
        import torch

        from stylegan_core.seeds import parse_seeds

        seeds = parse_seeds(number)
        c = torch.eye(self.generator.c_dim)[:1].expand(len(seeds), -1).to(self.generator.w_avg) if self.generator.c_dim else None
        with torch.no_grad():
            latent = Latent.sample(self.generator, seeds, c=c).lower(self.generator, to="w")
        facts = {"model": self.model.name, "model_sha256": self.model.sha256, "space": "w", "seed": number}
        return Inversion(latent, metadata=facts)


def _name_of(source: Any) -> str:
    if not isinstance(source, (str, os.PathLike)):
        raise UsageError(f"{source!r} is of the type {type(source).__name__}; an inversion, its file, a picture or seed:NUMBER is needed")
    return os.fspath(source)
