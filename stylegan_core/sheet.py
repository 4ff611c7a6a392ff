"""Contact sheets: several pictures on one, small ones magnified so that a person can judge them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from stylegan_core.images import to_rgb

PANEL_PX = 256  # panels of comparisons are magnified to at least this
DIFFERENCE_GAIN = 4.0  # differences are shown this much stronger, on black
GAP_PX = 4


def magnify(images: Tensor, min_px: int = PANEL_PX) -> Tensor:
    """[N, C, H, W] → the smallest whole multiple with at least min_px on its longer side; pixels are repeated."""
    factor = max(1, math.ceil(min_px / max(images.shape[2:])))
    return images.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)


def grid(images: Tensor, *, columns: int | None = None, gap: int = GAP_PX, background: float = 1.0) -> Tensor:
    """[N, C, H, W] → [1, 3, H', W'], row by row. columns: None = as square as can be. background: grey in [-1, 1]."""
    panels = to_rgb(images)
    count, _, height, width = panels.shape
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    rows = math.ceil(count / columns)
    filler = panels.new_full((rows * columns - count, 3, height, width), background)
    cells = pad(torch.cat([panels, filler]), (0, gap, 0, gap), value=background)
    joined = (
        cells.view(rows, columns, 3, height + gap, width + gap)
        .permute(2, 0, 3, 1, 4)
        .reshape(1, 3, rows * (height + gap), -1)
    )
    return pad(joined, (gap, 0, gap, 0), value=background)


def difference(target: Tensor, images: Tensor, *, gain: float = DIFFERENCE_GAIN) -> Tensor:
    """|target - images| · gain as a picture [N, 3, H, W]: black where they agree."""
    return ((to_rgb(target) - to_rgb(images)).abs() * gain - 1).clamp(-1, 1)


def compare(target: Tensor, images: Tensor, mask: Tensor | None = None, *, min_px: int = PANEL_PX) -> Tensor:
    """target | render | difference (four times stronger), each [1, C, H, W], → one picture [1, 3, H', W'].

    mask: [1, 1, H, W]; the difference is shown inside it only. None = everywhere.
    """
    error = difference(target, images)
    if mask is not None:
        error = (error + 1) * mask.to(error) - 1
    return grid(magnify(torch.cat([to_rgb(target).to(error), to_rgb(images), error]), min_px), columns=3)


def rows_of(groups: Sequence[Tensor], *, min_px: int = 0) -> Tensor:
    """One row per group [N_i, C, H, W]; shorter rows are filled with white → [1, 3, H', W']."""
    widest = max(group.shape[0] for group in groups)
    rows = [pad(to_rgb(group), (0, 0, 0, 0, 0, 0, 0, widest - group.shape[0]), value=1.0) for group in groups]
    return grid(magnify(torch.cat(rows), min_px) if min_px else torch.cat(rows), columns=widest)
