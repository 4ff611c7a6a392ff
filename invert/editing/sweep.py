"""A direction at several strengths: strengths as people type them, file names, pictures, sheets and moving pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from invert.editing.direction import Direction
from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator
from stylegan_core.inversion import Inversion
from stylegan_core.sheet import grid, magnify

MAX_STRENGTHS = 101
LARGEST = 100.0
CELL_PX = 128


def parse_strengths(text: str) -> list[float]:
    """'2' → [2], '-2,0,2' → those, '-3:3:7' → seven from -3 to 3. Raises UsageError for anything else, or twice the same."""
    allowed = "write 2, a list -2,0,2, or FROM:TO:COUNT such as -3:3:7"
    match = re.fullmatch(r"\s*([^:]+):([^:]+):\s*(\d{1,4})\s*", text)
    if match is not None:
        first, last, count = _number(match[1], text, allowed), _number(match[2], text, allowed), int(match[3])
        if not 1 <= count <= MAX_STRENGTHS or (count == 1 and first != last):
            raise UsageError(f"strength {text!r}: 2 to {MAX_STRENGTHS} steps between two ends are allowed; {allowed}")
        values = [first + (last - first) * k / max(1, count - 1) for k in range(count)]
    else:
        values = [_number(part, text, allowed) for part in text.split(",")]
    values = [round(value, 6) + 0.0 for value in values]
    if len(values) > MAX_STRENGTHS:
        raise UsageError(f"strength {text!r}: {len(values)} strengths; at most {MAX_STRENGTHS} are allowed")
    labels = [strength_label(value) for value in values]
    double = [label for label in labels if labels.count(label) > 1]
    if double:
        raise UsageError(f"strength {text!r}: {double[0]} occurs twice (strengths are told apart to 0.01)")
    return values


def strength_label(strength: float) -> str:
    """'+2.00', '-0.50', '+0.00'."""
    return f"{strength if abs(strength) >= 0.005 else 0.0:+.2f}"


def safe_name(name: str) -> str:
    """A direction's name as part of a file name: letters, digits, - and _ stay, everything else becomes -."""
    return re.sub(r"[^\w-]+", "-", name).strip("-") or "direction"


def sweep(
    inversion: Inversion, direction: Direction, strengths: Sequence[float], generator: Generator, *, is_absolute: bool = False
) -> list[Inversion]:
    """The inversion at every strength. is_absolute: moved to that strength (`set`) instead of by it (`apply`)."""
    move = direction.set if is_absolute else direction.apply
    return [move(inversion, strength, generator=generator) for strength in strengths]


def strip(pictures: Sequence[Tensor], *, min_px: int = CELL_PX) -> Tensor:
    """Pictures [1, C, H, W] side by side → [1, 3, H', W']."""
    return grid(magnify(torch.cat(list(pictures)), min_px), columns=len(pictures))


def sheet(rows: Sequence[Sequence[Tensor]], *, min_px: int = CELL_PX) -> Tensor:
    """One row of pictures [1, C, H, W] for each direction or seed → [1, 3, H', W']."""
    widest = max(len(row) for row in rows)
    cells = [picture for row in rows for picture in [*row, *[torch.ones_like(row[0])] * (widest - len(row))]]
    return grid(magnify(torch.cat(cells), min_px), columns=widest)


def there_and_back(frames: Sequence[Any]) -> list[Any]:
    """The frames forwards, then backwards without the ends, so that a moving picture has no jump."""
    return [*frames, *list(frames[-2:0:-1])]


def _number(part: str, text: str, allowed: str) -> float:
    try:
        value = float(part)
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:
        raise UsageError(f"strength {text!r}: {part.strip()!r} is no number from -{LARGEST:g} to {LARGEST:g}; {allowed}")
    return value
