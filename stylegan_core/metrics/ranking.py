"""Whether a perceptual distance grows with damage: rank correlation with graded distortions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from scipy.stats import spearmanr
from torch import Tensor

from stylegan_core.data.distortions import DISTORTIONS, Distortion
from stylegan_core.errors import UsageError

LEVELS = (0.08, 0.16, 0.28, 0.4, 0.55, 0.7, 0.85, 1.0)
LADDERS = ("blur", "noise", "compression", "jpeg", "shift", "colour", "occlusion")
JPEG_QUALITIES = (95, 5)  # at amount 0 and at amount 1


def rank_correlation(
    distance: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    *,
    ladders: Sequence[str] = LADDERS,
    levels: Sequence[float] = LEVELS,
    seed: int = 0,
) -> dict[str, float]:
    """Spearman's correlation between amount of damage and distance to the undamaged picture, averaged over pictures.

    images: [N, 3, H, W] in [-1, 1]. distance: (images, images) → [N]. Returns ladder → mean over the pictures, and
    'mean' over the ladders; 1 says that more damage was always further away.
    """
    known = ladder_table()
    for name in ladders:
        if name not in known:
            raise UsageError(f"ladder {name!r}: one of {', '.join(known)} is allowed")
    if len(levels) < 3:
        raise UsageError(f"{len(levels)} levels are too few to rank; give 3 or more")
    result = {}
    for name in ladders:
        with torch.no_grad():
            measured = [distance(images, climbed(known[name], images, level, seed)).double().cpu() for level in levels]
        curves = torch.stack(measured, dim=1).numpy()
        # A curve that does not move ranks nothing.
        correlations = [float(spearmanr(levels, curve).statistic) if curve.std() > 0 else 0.0 for curve in curves]
        result[name] = round(sum(correlations) / len(correlations), 4)
    result["mean"] = round(sum(result[name] for name in ladders) / len(ladders), 4)
    return result


def climbed(distortion: Distortion, images: Tensor, level: float, seed: int) -> Tensor:
    """One rung: every rung of a picture has the same direction, place and noise, only more of it."""
    return distortion(images, torch.full([len(images)], float(level)), torch.Generator().manual_seed(seed))


def ladder_table() -> Mapping[str, Distortion]:
    """The distortions, and JPEG by Pillow."""
    return {**DISTORTIONS, "jpeg": jpeg}


def jpeg(images: Tensor, amounts: Tensor, rng: torch.Generator) -> Tensor:
    """JPEG files of falling quality, written and read by Pillow; no gradients."""
    import io

    import numpy as np
    from PIL import Image

    from stylegan_core.images import from_u8, to_u8

    best, worst = JPEG_QUALITIES
    pictures = []
    for picture, amount in zip(to_u8(images).cpu().numpy(), amounts.tolist(), strict=True):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=round(best + (worst - best) * amount))
        pictures.append(torch.from_numpy(np.array(Image.open(file, formats=("JPEG",)))))
    return from_u8(torch.stack(pictures)).to(images)
