"""Shift, rotation and scale of the input (I2S Sec. 3.2), and the shift again for models of another architecture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from invert.robustness.embedding import Embedded, embed, figures_of
from invert.robustness.panels import ROWS, strips
from invert.robustness.pictures import MOVES, SHIFTS, STILL, Move, moved_portraits
from invert.robustness.setting import Outcome, Setting
from stylegan_core.errors import UsageError
from stylegan_core.input_transform import has_input_transform


def moves(setting: Setting) -> Outcome:
    """The same portraits after every move, from the mean."""
    rows, cells = _moved(setting, setting.generator, MOVES)
    picture = strips([[getattr(cell, kind)[:1] for cell in cells] for kind in ("targets", "latent_images", "images")])
    return Outcome(rows, picture, f"Columns: {', '.join(move.name for move in MOVES)}. {ROWS}")


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
            shown.append([cell.images[:1] for cell in cells])
    columns = ", ".join(move.name for move in (STILL, *SHIFTS))
    return Outcome(rows, strips(shown), f"Columns: {columns}. Rows: the models in the order of the table, embedded with the found noise.")


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
