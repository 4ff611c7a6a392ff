"""Pictures from outside the domain into w+, against inside (I2S Sec. 3.1)."""

from __future__ import annotations

from typing import Any

from invert.robustness.embedding import embedded_subject, figures_of
from invert.robustness.own_domain import OwnDomain
from invert.robustness.panels import ROWS, strips
from invert.robustness.pictures import SUBJECTS
from invert.robustness.setting import Outcome, Setting

SHOWN = 2  # pictures of each kind


def domain(setting: Setting) -> Outcome:
    """Every kind of picture, from the mean."""
    own = OwnDomain.of(setting)
    rows: list[dict[str, Any]] = []
    shown = []
    for name in SUBJECTS:
        embedded = embedded_subject(setting, name)
        near = {"target_domain": float(own.distance(embedded.targets).median()), "domain": float(own.distance(embedded.images).median())}
        rows.append({"pictures": name, **figures_of(setting, embedded), **near})
        shown.append(embedded)
    picture = strips([[getattr(cell, kind)[:SHOWN] for cell in shown] for kind in ("targets", "latent_images", "images")])
    caption = f"Columns: {SHOWN} each of {', '.join(SUBJECTS)}. {ROWS}"
    return Outcome(rows, picture, caption)
