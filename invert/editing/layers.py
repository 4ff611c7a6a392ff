"""Which rows of ws and which style channels belong to a layer, and the layers as people name them: coarse, middle, fine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator, place_of

if TYPE_CHECKING:
    from collections.abc import Mapping

RANGES: Mapping[str, tuple[int, int]] = {"coarse": (0, 8), "middle": (16, 32), "fine": (64, 1 << 20)}  # pixels, both ends included


def style_slices(generator: Generator) -> dict[str, slice]:
    """Modulated layer → where its channels lie in styles [N, sum(style_dims)]."""
    slices, start = {}, 0
    for name, width in generator.style_dims.items():
        slices[name] = slice(start, start + width)
        start += width
    return slices


@torch.no_grad()
def affine_of_rows(generator: Generator) -> dict[str, Tensor]:
    """Modulated layer → [width, w_dim]: how its styles follow the row of ws that it reads, constants left out.

    Read off `synthesis.affine` itself, so it is the same for every architecture, learning-rate gains included.
    """
    device, dtype = place_of(generator)
    basis = torch.eye(generator.w_dim, device=device, dtype=dtype)
    ws = torch.cat([torch.zeros_like(basis[:1]), basis])[:, None].expand(-1, generator.num_ws, -1)
    styles = generator.synthesis.affine(ws)
    weights = (styles[1:] - styles[:1]).T
    return {name: weights[part] for name, part in style_slices(generator).items()}


@torch.no_grad()
def row_of_layer(generator: Generator) -> dict[str, int]:
    """Modulated layer → the row of ws that it reads; found by moving one row after the other."""
    device, dtype = place_of(generator)
    rng = torch.Generator().manual_seed(0)
    step = torch.randn(generator.w_dim, generator=rng).to(device, dtype)
    ws = torch.zeros(generator.num_ws + 1, generator.num_ws, generator.w_dim, device=device, dtype=dtype)
    for row in range(generator.num_ws):
        ws[row + 1, row] = step
    moved = (lambda styles: (styles[1:] - styles[:1]).abs())(generator.synthesis.affine(ws))
    return {name: int(moved[:, part].sum(dim=1).argmax()) for name, part in style_slices(generator).items()}


def is_torgb(layer: str) -> bool:
    """Whether a modulated layer makes picture channels, which are not demodulated."""
    return layer.rsplit(".", 1)[-1] == "torgb"


def resolution_of_rows(generator: Generator) -> list[int | None]:
    """For every row of ws the resolution of the convolutions that read it (of torgb where none does); None = not in the name.

    Names are b64.conv0 and the like; StyleGAN3's layers have no such resolution.
    """
    found: list[int | None] = [None] * generator.num_ws
    layers = sorted(row_of_layer(generator).items(), key=lambda item: is_torgb(item[0]))
    for name, row in layers:
        match = re.match(r"b(\d+)\.", name)
        if match is not None and found[row] is None:
            found[row] = int(match[1])
    return found


def rows_of_range(generator: Generator, name: str) -> tuple[int, ...]:
    """'coarse' (≤ 8 px), 'middle' (16–32 px) or 'fine' (≥ 64 px) → rows of ws. Raises UsageError."""
    low, high = RANGES[name]
    resolutions = resolution_of_rows(generator)
    if any(resolution is None for resolution in resolutions):
        last = generator.num_ws - 1
        raise UsageError(f"rows {name!r}: the layers of this model have no resolutions; give rows by number, 0 to {last}")
    rows = tuple(row for row, resolution in enumerate(resolutions) if resolution is not None and low <= resolution <= high)
    if not rows:
        raise UsageError(f"rows {name!r}: a model of {generator.img_resolution} px has no such layers")
    return rows


def parse_rows(rows: str | Sequence[int] | None, generator: Generator) -> tuple[int, ...] | None:
    """'coarse', 'middle', 'fine', '0-3,7', 'coarse,9', a sequence of rows, 'all' or None → rows in order; None = all of them.

    Raises UsageError for rows that this generator does not have.
    """
    if rows is None or rows == "all":
        return None
    if isinstance(rows, int):
        rows = (rows,)
    if not isinstance(rows, (str, Sequence)):
        raise UsageError(f"rows {rows!r}: a text or a list is needed, such as coarse or 0-3")
    last = generator.num_ws - 1
    allowed = f"coarse, middle, fine, all, or rows from 0 to {last} such as 0-3,{last}"
    found: list[int] = []
    for part in [part.strip() for part in rows.split(",")] if isinstance(rows, str) else rows:
        if isinstance(part, str) and part in RANGES:
            found += rows_of_range(generator, part)
            continue
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", str(part), flags=re.ASCII)
        if match is None:
            raise UsageError(f"rows {rows!r}: {part!r} is not understood; allowed are {allowed}")
        first, end = int(match[1]), int(match[2] or match[1])
        if end < first or end > last:
            raise UsageError(f"rows {rows!r}: this model has the rows 0 to {last}; allowed are {allowed}")
        found += range(first, end + 1)
    return tuple(sorted(set(found)))


def describe_rows(rows: Sequence[int] | None) -> str:
    """(0, 1, 2, 5) → '0-2,5'; None → 'all'."""
    if rows is None:
        return "all"
    parts: list[list[int]] = []
    for row in sorted(rows):
        if parts and row == parts[-1][-1] + 1:
            parts[-1].append(row)
        else:
            parts.append([row])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
