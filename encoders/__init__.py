"""Encoders: networks that turn pictures into inversions. Names are imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "load_encoder": "encoders.checkpoints",
    "save_encoder": "encoders.native",
    "encoder_for": "encoders.build",
    "load_arcface": "encoders.arcface",
    "load_moco": "encoders.moco",
    "Encoder": "encoders.base",
}

__all__ = [  # noqa: RUF022  (reading order)
    "load_encoder",
    "save_encoder",
    "encoder_for",
    "load_arcface",
    "load_moco",
    "Encoder",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
