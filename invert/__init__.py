"""GAN inversion: pictures into the latent space of a generator and back. Names are imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "project": "invert.api",
    "Pipeline": "invert.pipeline",
    "Direction": "invert.editing.direction",
    "mix": "invert.editing.mixing",
    "interpolate": "invert.editing.interpolation",
    "attribute": "invert.attribution.attribute",
    "Inversion": "stylegan_core.inversion",
    "load_generator": "stylegan_core.checkpoints.registry",
    "load_image": "stylegan_core.images",
    "save_image": "stylegan_core.images",
    "InvertError": "stylegan_core.errors",
}

__all__ = [  # noqa: RUF022  (reading order)
    "project",
    "Pipeline",
    "Direction",
    "mix",
    "interpolate",
    "attribute",
    "Inversion",
    "load_generator",
    "load_image",
    "save_image",
    "InvertError",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "__version__":
        from stylegan_core.provenance import version

        return version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
