"""Morphs between two embedded pictures, inside and outside of the domain (I2S Sec. 4.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from invert.robustness.embedding import Embedded, embedded_subject
from invert.robustness.own_domain import OwnDomain
from invert.robustness.panels import strips
from invert.robustness.pictures import SUBJECTS
from invert.robustness.setting import Outcome, Setting

FRAMES = (0.0, 0.25, 0.5, 0.75, 1.0)


def morphs(setting: Setting) -> Outcome:
    """Straight lines in w+ with the stored noise; every picture with the next one of its kind."""
    own = OwnDomain.of(setting)
    rows: list[dict[str, Any]] = []
    shown: list[list[Tensor]] = []
    for name in SUBJECTS:
        embedded = embedded_subject(setting, name)
        if len(embedded.targets) < 2:
            continue
        films = [morph(embedded, one, other) for one, other in pairs_of(len(embedded.targets))]
        frames = torch.stack(films)
        faded = (frames[:, 0] + frames[:, -1]) / 2
        middle = frames[:, len(FRAMES) // 2]
        rows.append({
            "pictures": name, "pairs": len(films),
            "ends": float(own.distance(frames[:, [0, -1]].flatten(0, 1)).median()),
            "middle": float(own.distance(middle).median()),
            "faded": float(own.distance(faded).median()),
            "from_faded": float(setting.judge.distance(middle, faded).median()),
            "from_ends": float(torch.stack([setting.judge.distance(middle, frames[:, i]) for i in (0, -1)]).median()),
        })  # fmt: skip
        shown.append([films[0], faded[:1]])
    kinds = ", ".join(row["pictures"] for row in rows)
    caption = (f"Rows: {kinds}. Columns: a morph in five frames by the latents alone, and for comparison the mean of its two ends, pixel "
               "by pixel.")
    return Outcome(rows, strips(shown), caption)


def pairs_of(count: int) -> list[tuple[int, int]]:
    """Neighbours in a ring; two pictures are one pair."""
    return [(0, 1)] if count == 2 else [(i, (i + 1) % count) for i in range(count)]


@torch.no_grad()
def morph(embedded: Embedded, one: int, other: int) -> Tensor:
    """[frames, C, R, R], clamped."""
    latent = embedded.inversion.latent
    return torch.cat([latent[one].lerp(latent[other], t).render(embedded.generator, noise_mode="const") for t in FRAMES]).clamp(-1, 1)
