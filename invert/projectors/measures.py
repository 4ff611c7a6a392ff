"""Which perceptual distance a projection uses, by name."""

from __future__ import annotations

import torch
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator, place_of
from stylegan_core.losses.perceptual import DISTANCES, TRUNKS, FeatureDistance, load_lpips


class Pixels:
    """No network at all: the mean squared difference of pixels takes the place of the perceptual distance."""

    def __init__(self) -> None:
        self.name = "none"

    def features(self, images: Tensor) -> list[Tensor]:
        """images: [N, C, H, W] → the pixels, scaled so that the distance is a mean."""
        return [images / images[0].numel() ** 0.5]


class BundledFeatures:
    """The feature network of the package behind the interface of a distance."""

    def __init__(self, name: str, network: torch.nn.Module):
        self.name = name
        self.network = network

    def features(self, images: Tensor) -> list[Tensor]:
        """images: [N, C, H, W] in [-1, 1] → its maps."""
        return self.network.maps(images)  # type: ignore[operator]


def load_measure(name: str, generator: Generator) -> FeatureDistance:
    """name: auto, vgg, alex, squeeze, features or none. Raises UsageError, WeightsNotFoundError."""
    if name == "none":
        return Pixels()
    device, dtype = place_of(generator)
    if name in TRUNKS:
        return load_lpips(name).to(device, dtype)
    raise UsageError(f"perceptual {name!r}: one of auto, {', '.join(DISTANCES)} is allowed")
