"""StyleGAN in plain PyTorch: networks, operators, checkpoints, losses, data. Names are imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "load_generator": "stylegan_core.checkpoints.registry",
    "load_discriminator": "stylegan_core.checkpoints.registry",
    "load_features": "stylegan_core.features",
    "load_image": "stylegan_core.images",
    "save_image": "stylegan_core.images",
    "Generator": "stylegan_core.generator",
    "LatentSpace": "stylegan_core.latent",
    "Latent": "stylegan_core.latent",
    "Noise": "stylegan_core.noise",
    "Inversion": "stylegan_core.inversion",
    "StepInfo": "stylegan_core.progress",
    "InvertError": "stylegan_core.errors",
}

__all__ = [  # noqa: RUF022  (reading order)
    "load_generator",
    "load_discriminator",
    "load_features",
    "load_image",
    "save_image",
    "Generator",
    "LatentSpace",
    "Latent",
    "Noise",
    "Inversion",
    "StepInfo",
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
