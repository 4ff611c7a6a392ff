"""Which perceptual distance a projection uses, by name."""

from __future__ import annotations

from torch import Tensor

from stylegan_core.checkpoints.catalog import DEFAULT_PERCEPTUAL, cards
from stylegan_core.errors import UsageError
from stylegan_core.features import load_features
from stylegan_core.generator import Generator, place_of
from stylegan_core.losses.perceptual import DISTANCES, TRUNKS, FeatureDistance, load_lpips
from stylegan_core.provenance import model_sha256


class Pixels:
    """No network at all: the mean squared difference of pixels takes the place of the perceptual distance."""

    def __init__(self) -> None:
        self.name = "none"

    def features(self, images: Tensor) -> list[Tensor]:
        """images: [N, C, H, W] → the pixels, scaled so that the distance is a mean."""
        return [images / images[0].numel() ** 0.5]


def load_measure(name: str, generator: Generator) -> FeatureDistance:
    """name: auto, vgg, alex, squeeze, features or none; 'auto' is what the generator's card names, else vgg.

    On the generator's device, in its precision. Raises UsageError, WeightsNotFoundError with the alternatives.
    """
    if name == "auto":
        return load_measure(perceptual_of(generator), generator)
    if name == "none":
        return Pixels()
    place = place_of(generator)
    if name == "features":
        return load_features().to(*place)
    if name in TRUNKS:
        return load_lpips(name).to(*place)
    raise UsageError(f"perceptual {name!r}: one of auto, {', '.join(DISTANCES)} is allowed")


def perceptual_of(generator: Generator) -> str:
    """The distance on the card of the model that this is, found by its hash."""
    sha256 = model_sha256(generator)  # type: ignore[arg-type]
    matching = [card.perceptual for card in cards().values() if card.facts.get("model_sha256") == sha256]
    return matching[0] if matching else DEFAULT_PERCEPTUAL
