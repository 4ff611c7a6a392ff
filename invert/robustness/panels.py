"""Rows of pictures as one sheet of bounded size, whatever the model draws."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stylegan_core.images import to_rgb
from stylegan_core.losses.perceptual import shrink
from stylegan_core.sheet import rows_of

PANEL_PX = 128  # with up to WIDE panels in a row, else half of it
WIDE = 9
ROWS = "Rows: the picture; what its latent draws with the stored noise; with the found noise."  # of sheets of these three


def strips(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    """rows: each a list of [N, C, H, W] side by side, of any sizes → [1, 3, H', W']."""
    side = PANEL_PX if max(sum(map(len, row)) for row in rows) <= WIDE else PANEL_PX // 2
    return rows_of([torch.cat([_sized(images, side) for images in row]) for row in rows])


def _sized(images: Tensor, side: int) -> Tensor:
    """Larger pictures are averaged, smaller ones are repeated by a whole factor, so that most come out at `side`."""
    small = shrink(to_rgb(images), side)
    factor = max(1, side // max(small.shape[2:]))
    return small.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
