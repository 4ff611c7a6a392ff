"""The mean against a random start, inside and outside of the domain (I2S Sec. 5.1)."""

from __future__ import annotations

from typing import Any

import torch

from invert.robustness.embedding import Embedded, embedded_subject, figures_of
from invert.robustness.own_domain import OwnDomain
from invert.robustness.panels import strips
from invert.robustness.pictures import INSIDE, OUTSIDE
from invert.robustness.setting import Outcome, Setting

STARTS = {"mean": 1, "random": 2}  # how many starts of each kind


def starts(setting: Setting) -> Outcome:
    """The random starts are samples of the seed and the seed after it; their pictures count together."""
    own = OwnDomain.of(setting)
    rows: list[dict[str, Any]] = []
    shown = []
    for name in (INSIDE, OUTSIDE):
        for kind, number in STARTS.items():
            cells = [embedded_subject(setting, name, start=_named(kind, setting.seed + i)) for i in range(number)]
            images = torch.cat([cell.images for cell in cells])
            rows.append({"pictures": name, "start": kind, **figures_of(setting, *cells), "domain": float(own.distance(images).median())})
            shown += cells
    caption = (f"Columns: two of {INSIDE}, two of {OUTSIDE}. Rows: the picture; what the latent found from the mean draws with the stored "
               "noise; from one random start; from another.")
    return Outcome(rows, strips(_columns(shown)), caption)


def _named(kind: str, seed: int) -> str:
    return kind if kind == "mean" else f"seed:{seed}"


def _columns(cells: list[Embedded]) -> list[list[torch.Tensor]]:
    """cells: for each kind of picture those of all starts, in order."""
    half = len(cells) // 2
    targets = [cells[0].targets[:2], cells[half].targets[:2]]
    return [targets, *([cells[i].latent_images[:2], cells[half + i].latent_images[:2]] for i in range(half))]
