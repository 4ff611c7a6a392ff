"""What strength 1 of a direction does to every attribute, measured on samples."""

from __future__ import annotations

import torch

from invert.editing.direction import Direction
from invert.editing.labels import BATCH_PIXELS, Scorer, checked_scores, draw
from stylegan_core.generator import Generator
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace

EFFECT_SAMPLES = 64
EFFECT_SEED = 7919  # not the seed from which directions are found


@torch.no_grad()
def effects(
    direction: Direction, generator: Generator, scorer: Scorer, *, num_samples: int = EFFECT_SAMPLES, seed: int = EFFECT_SEED
) -> dict[str, float]:
    """Attribute → mean change per unit of strength, from -1 to +1, in standard deviations of the attribute over samples."""
    space = direction.space if direction.space is LatentSpace.Z else LatentSpace.W
    samples = Inversion(draw(generator, num_samples, seed=seed, space=space))
    low, middle, high = (_scores(direction.apply(samples, s, generator=generator).latent, generator, scorer) for s in (-1, 0, 1))
    return {name: round(float((high[name] - low[name]).mean() / 2 / middle[name].std().clamp_min(1e-6)), 4) for name in middle}


def _scores(latent: Latent, generator: Generator, scorer: Scorer) -> dict[str, torch.Tensor]:
    step = max(1, BATCH_PIXELS // generator.img_resolution**2)
    parts = []
    for first in range(0, len(latent), step):
        images = latent[slice(first, first + step)].render(generator).clamp(-1, 1)
        parts.append(checked_scores(scorer(images), len(images)))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
