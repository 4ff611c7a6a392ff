"""Finders of directions by name. A finder is a frozen dataclass of options with one verb: `find(generator) → directions`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from importlib import import_module
from typing import Any, Protocol

from invert.editing.direction import Direction
from invert.editing.labels import Counting
from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator


class Finder(Protocol):
    """One way to find directions in a generator."""

    def find(self, generator: Generator, *, callback: Counting | None = None) -> list[Direction]:
        """Best first where there is an order. callback: (done, count) of the slow part; False stops it early."""
        ...


FINDERS: Mapping[str, str] = {  # name on the command line → where it lives
    "interfacegan": "invert.editing.interfacegan:InterFaceGAN",
    "regression": "invert.editing.regression:Regression",
    "ganspace": "invert.editing.ganspace:GANSpace",
    "sefa": "invert.editing.sefa:SeFa",
    "stylespace": "invert.editing.stylespace:StyleSpace",
    "jacobian": "invert.editing.jacobian:Jacobian",
    "text": "invert.editing.text:TextDriven",
}


def finder_class(name: str) -> type:
    """The dataclass of a finder. Raises UsageError for an unknown name, with the one that is meant."""
    if name not in FINDERS:
        close = difflib.get_close_matches(name, FINDERS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(FINDERS)}"
        raise UsageError(f"method {name!r} is not known; {hint}")
    module, _, attribute = FINDERS[name].partition(":")
    return getattr(import_module(module), attribute)  # type: ignore[no-any-return]


def finder(name: str, **options: Any) -> Finder:
    """A finder with options; None leaves an option at its default. Raises UsageError for options that it does not have."""
    kind = finder_class(name)
    known = [field.name for field in fields(kind)]
    given = {key: value for key, value in options.items() if value is not None}
    unknown = [key for key in given if key not in known]
    if unknown:
        raise UsageError(f"method {name}: it has no option {unknown[0]!r}; it has {', '.join(known)}")
    needed = [part.name for part in fields(kind) if part.default is MISSING and part.default_factory is MISSING and part.name not in given]
    if needed:
        raise UsageError(f"method {name} needs {needed[0]} (--{needed[0]})")
    return kind(**given)  # type: ignore[no-any-return]
