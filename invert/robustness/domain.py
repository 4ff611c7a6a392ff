"""Pictures from outside the domain into w+, against inside (I2S Sec. 3.1)."""

from __future__ import annotations

from typing import Any

import torch

from invert.robustness.embedding import embedded_subject, figures_of
from invert.robustness.own_domain import OwnDomain
from invert.robustness.pictures import SUBJECTS
from invert.robustness.setting import Outcome, Setting
from stylegan_core.sheet import difference, rows_of

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
    columns = [torch.cat([cell.targets[:SHOWN] for cell in shown]), torch.cat([cell.latent_images[:SHOWN] for cell in shown]),
               torch.cat([cell.images[:SHOWN] for cell in shown])]  # fmt: skip
    picture = rows_of([*columns, difference(columns[0], columns[2])], min_px=setting.generator.img_resolution * 2)
    return Outcome(rows, picture, f"Columns: {SHOWN} each of {', '.join(SUBJECTS)}. Rows: the picture; what its latent draws with the stored "
                                  "noise; with the found noise; the difference, four times as strong.")
