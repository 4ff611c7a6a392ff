"""Shift, rotation and scale of the input (I2S Sec. 3.2), and the shift again for models of another architecture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from invert.robustness.embedding import Embedded, embed, figures_of
from invert.robustness.pictures import MOVES, SHIFTS, STILL, Move, moved_portraits
from invert.robustness.setting import Outcome, Setting
from stylegan_core.errors import UsageError
from stylegan_core.input_transform import has_input_transform
from stylegan_core.sheet import rows_of


def moves(setting: Setting) -> Outcome:
    """The same portraits after every move, from the mean."""
    rows, cells = _moved(setting, setting.generator, MOVES)
    columns = [torch.cat([getattr(cell, name)[:1] for cell in cells]) for name in ("targets", "latent_images", "images")]
    picture = rows_of(columns, min_px=setting.generator.img_resolution)
    caption = "Columns: " + ", ".join(move.name for move in MOVES) + ". Rows: the picture; what its latent draws with the stored noise; " \
              "with the found noise."
    return Outcome(rows, picture, caption)


def shifts(setting: Setting) -> Outcome:
    """Portraits as drawn and shifted, for the setting's model and for every other one; a movable input is found too."""
    if not setting.also:
        raise UsageError("the part `shifts` compares with models of another architecture; name one with --also FILE")
    rows: list[dict[str, Any]] = []
    shown = []
    for name, generator in {setting.model: setting.generator, **setting.also}.items():
        for pose in (False, True) if has_input_transform(generator) else (False,):
            label = f"{name}, input moved too" if pose else name
            found, cells = _moved(setting, generator, (STILL, *SHIFTS), pose=pose)
            rows += [{"model": label, **row} for row in found]
            side = setting.generator.img_resolution
            shown.append(torch.nn.functional.interpolate(torch.cat([cell.images[:1] for cell in cells]), size=(side, side), mode="area"))
    picture = rows_of(shown, min_px=setting.generator.img_resolution * 2)
    return Outcome(rows, picture, "Columns: " + ", ".join(move.name for move in (STILL, *SHIFTS)) + ". Rows: as in the table, embedded.")


def _moved(setting: Setting, generator: Any, which: Sequence[Move], *, pose: bool = False) -> tuple[list[dict[str, Any]], list[Embedded]]:
    """`which` begins with the portraits as drawn, of which the others lose so many dB."""
    rows: list[dict[str, Any]] = []
    cells = []
    for move in which:
        targets = moved_portraits(generator, setting.count, move)
        cells.append(embed(setting, targets, generator=generator, pose=pose, what=f"portraits {move.name}"))
        rows.append({"move": move.name, **figures_of(setting, cells[-1])})
        rows[-1]["psnr_change"] = rows[-1]["psnr"] - rows[0]["psnr"]
    return rows, cells
