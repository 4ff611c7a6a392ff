"""What to say at the end of a projection: how the picture stands beside the model's own samples and, if poorly, why.

Causes: 'not aligned', 'out of domain', 'another model', 'w+' (the space is too narrow); None = nothing to complain of.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from invert.projectors.likeness import Gallery, Likeness
from invert.projectors.samples import WSamples
from stylegan_core.checkpoints.catalog import cards
from stylegan_core.generator import Generator
from stylegan_core.latent import LatentSpace

NULL_COUNT = 200  # samples whose distance to the others says what is usual
MOST_PICTURES, FEWEST_PICTURES = 2000, 64
GALLERY_PIXELS = 1000 * 64**2  # rendered for the gallery: 1000 samples of 64 px, fewer of larger pictures
BETTER_MODEL = 0.6  # another model whose nearest sample is nearer by this factor
POOR_PSNR = 30.0  # dB without found noise: below it a picture in Z or W is worth a wider space
GOOD_PERCENTILE = 95.0


# Cause → weights of 1 and of Likeness.cues(), fitted and tested by `python -m tests.planted` on planted cases.
SCORES = {
    "none": (3.85, -3.03, -3.94, 4.44, 6.61, -0.636, -3.16, -0.124, -0.384),
    "not aligned": (15.8, 1.6, -4.82, -6.69, -10.9, -1.1, 0.414, -3.34, 0.034),
    "another model": (-20.2, 0.504, 6.45, 3.66, 10.7, 1.4, 3.05, 1.8, 0.102),
    "out of domain": (0.542, 0.919, 2.31, -1.42, -6.45, 0.335, -0.299, 1.67, 0.247),
}


@dataclass(frozen=True)
class Advice:
    """text: one line. cause: see above. percentile: share of own samples that lie nearer to the others than the picture does."""

    text: str
    cause: str | None
    percentile: float

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


@torch.no_grad()
def advise(target: Tensor, generator: Generator, space: LatentSpace, psnr: float, psnr_without_noise: float) -> Advice:
    """target: [1, C, H, W]. psnr: of the result; psnr_without_noise: with the model's own noise in place of the found maps."""
    gallery = gallery_of(generator)
    likeness = gallery.likeness(target)
    own = gallery.own_distances(NULL_COUNT)
    percentile = float((own < likeness.distance).float().mean() * 100)
    cause, why = diagnosis(likeness)
    if cause in ("out of domain", "another model"):
        better = better_model(target, generator, likeness)
        if better is not None:
            cause, why = "another model", f"samples of {better} are nearer: try --model {better}"
    if cause is None and space.depth <= LatentSpace.W.depth and psnr_without_noise < POOR_PSNR:
        cause, why = "w+", f"the space {space.value} is too narrow for it: try --space w+"
    standing = f"{psnr:.1f} dB; {percentile:.0f} % of the model's own samples have a nearer look-alike"
    if cause is None:
        verdict = "as near as samples are" if percentile <= GOOD_PERCENTILE else "a rare picture for this model"
        return Advice(f"{standing}: {verdict}", None, percentile)
    return Advice(f"{standing}. {why[0].upper()}{why[1:]}", cause, percentile)


def diagnosis(likeness: Likeness) -> tuple[str | None, str]:
    """(cause, why and what to try), from the picture alone: the cause whose score over the cues is highest."""
    cues = (1.0, *likeness.cues())
    scores = {cause: sum(w * cue for w, cue in zip(weights, cues, strict=True)) for cause, weights in SCORES.items()}
    cause = max(scores, key=lambda name: scores[name])
    if cause == "not aligned":
        return cause, f"it is not aligned as the training pictures are: {placement_text(likeness)}"
    if cause == "another model":
        return cause, "the subject is right, its colours are none of this model's: try a model of this style"
    if cause == "out of domain":
        return cause, "it is out of this model's domain, no sample is like it: try a model of this subject"
    return None, ""


def placement_text(likeness: Likeness) -> str:
    """What to do to the picture, in words."""
    scale, right, down, degrees = likeness.placement
    words = []
    if abs(scale - 1) >= 0.15:
        words.append(f"crop to {scale:.0%} of the width" if scale < 1 else f"leave {scale:.1f} times as much around the subject")
    if abs(degrees) >= 15:
        words.append(f"turn it by {abs(degrees):.0f}°")
    if max(abs(right), abs(down)) >= 0.15:
        words.append("centre it")
    return " and ".join(words) if words else "crop it as the samples are cropped (`invert generate` shows some)"


def gallery_of(generator: Generator) -> Gallery:
    """Samples of the generator as thumbnails: those that the start has rendered already, or fewer."""
    samples = WSamples.of(generator)
    affordable = max(FEWEST_PICTURES, min(MOST_PICTURES, GALLERY_PIXELS // generator.img_resolution**2))
    return samples.gallery(min(MOST_PICTURES, max(samples.num_thumbnails, affordable)))


def better_model(target: Tensor, generator: Generator, likeness: Likeness) -> str | None:
    """The bundled model of this size whose samples are clearly nearer; None where there is none."""
    from stylegan_core.checkpoints.registry import load_generator

    own_hash = WSamples.of(generator).sha256
    best, name = BETTER_MODEL * likeness.distance, None
    for card in cards().values():
        is_candidate = card.kind == "generator" and card.is_bundled and card.is_present()
        if not is_candidate or card.facts.get("model_sha256") == own_hash:
            continue
        other = load_generator(card.name)
        if other.img_shape != generator.img_shape or other.img_channels != generator.img_channels:
            continue
        distance = gallery_of(other).likeness(target).distance
        if distance < best:
            best, name = distance, card.name
    return name
