"""Directions by name: those that come with the package, files of the user's, and single channels of s."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import replace
from functools import lru_cache
from importlib import resources
from pathlib import Path

from invert.editing.direction import Direction
from invert.editing.direction_file import SUFFIX, is_direction_file, load_direction
from invert.editing.stylespace import channel_direction
from stylegan_core.errors import DirectionError, UsageError
from stylegan_core.files import display
from stylegan_core.generator import Generator

PACKAGE, FOLDER = "invert", "pretrained"
PUBLISHED = (".npy", ".npz", ".pt", ".pth")


def bundled_folder() -> Path:
    """Where the directions of the package lie: MODEL.NAME.direction.safetensors."""
    return Path(str(resources.files(PACKAGE) / FOLDER))


@lru_cache(maxsize=1)
def bundled_directions() -> tuple[Direction, ...]:
    """All of them, sorted by file name."""
    folder = bundled_folder()
    files = sorted(path for path in folder.iterdir() if is_direction_file(path)) if folder.is_dir() else []
    return tuple(load_direction(path) for path in files)


def directions_in(folder: str | os.PathLike[str]) -> list[tuple[Path, Direction]]:
    """The direction files of a folder, sorted by name. Raises DirectionError for a damaged one, UsageError for no folder."""
    place = Path(folder)
    if not place.is_dir():
        raise UsageError(f"{display(place)} is no folder")
    return [(path, load_direction(path)) for path in sorted(place.iterdir()) if is_direction_file(path)]


def find_direction(name: str, generator: Generator, model_sha256: str, *, model: str | None = None, is_related: bool = False) -> Direction:
    """A direction for this model by its name, its file, or LAYER:CHANNEL for a single channel of s.

    is_related: take one that was found in another, related model. Raises DirectionError for one of another model, UsageError for an
    unknown name with what is meant.
    """
    path = Path(name)
    if path.suffix.lower() in PUBLISHED and path.is_file():
        raise UsageError(f"{display(path)} is no direction file yet; `invert directions import {display(path)}` makes one of it")
    if path.is_file() or name.endswith(SUFFIX):
        return _fitting(load_direction(path), generator, model_sha256, model, is_related)
    match = re.fullmatch(r"([\w.]+):(\d{1,6})", name)
    if match is not None and match[1] in generator.style_dims:
        return channel_direction(generator, match[1], int(match[2]), model=model)
    named = [direction for direction in bundled_directions() if direction.name == name and _fits(direction, generator)]
    own = [direction for direction in named if direction.model_sha256 == model_sha256]
    if own or named:
        return _fitting((own or named)[0], generator, model_sha256, model, is_related)
    known = [direction.name for direction in bundled_directions() if direction.model_sha256 == model_sha256 or is_related]
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        hint = f"did you mean {close[0]}?"
    elif known:
        hint = f"there are {', '.join(known)}, files, and LAYER:CHANNEL such as {_example(generator)}"
    else:
        hint = "none come with this model; `invert directions find` finds some, `invert directions import` reads published ones"
    raise UsageError(f"direction {display(name)!r} is not known; {hint}")


def _fitting(direction: Direction, generator: Generator, model_sha256: str, model: str | None, is_related: bool) -> Direction:
    if is_related and direction.model_sha256 != model_sha256:
        direction = direction.for_model(model_sha256, model)
    direction.check(generator, model_sha256)
    return direction if direction.model_sha256 is not None else replace(direction, model_sha256=model_sha256, model=model)


def _fits(direction: Direction, generator: Generator) -> bool:
    return tuple(direction.vector.shape) == direction.space.shape(generator)


def _example(generator: Generator) -> str:
    layer = next(iter(generator.style_dims))
    return f"{layer}:0"


def check_names(names: list[str]) -> None:
    """Raises DirectionError when two directions of one sheet have the same name."""
    double = [name for name in names if names.count(name) > 1]
    if double:
        raise DirectionError(f"two directions are called {double[0]!r}; edit with one of them at a time")
