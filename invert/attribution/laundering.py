"""What was done to a picture before it came here: JPEG from the file's tables or from its blocks, blur and noise from its pixels."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from invert.attribution.channel import BLOCK, LUMA, Quantiser, block_cosines
from stylegan_core.image_reader import FORMATS

QUALITIES = range(20, 99)  # that are told from pixels
LOWEST_STEP = 3.0  # grey levels: finer rounding drowns in that of the pixels
FEWEST_COSINES = 60  # that must be more than half a step
COMB = 0.55  # how well cosines must sit on multiples of the steps, 1 = exactly, 0 = anywhere
SMALLEST_COMBED = 32  # px


@dataclass(frozen=True)
class Laundering:
    """quality: of the last JPEG, on the scale of libjpeg; None = none was found. from_tables: told by the file itself. offset:
    (down, right) of its first block in the pixels. detail: log10 of the energy of the finest cosines beside middle ones.
    grain: noise in grey levels, by the median of the finest wavelets.
    """

    quality: int | None
    from_tables: bool
    offset: tuple[int, int]
    quantiser: Quantiser | None
    detail: float
    grain: float

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"jpeg_quality": self.quality, "from_tables": self.from_tables, "block_offset": list(self.offset),
                "detail": round(self.detail, 4), "grain": round(self.grain, 4)}  # fmt: skip


def laundering_of(picture: Tensor, file: str | os.PathLike[str] | bytes | None = None) -> Laundering:
    """picture: [1, 3, h, w] as read. file: where it came from; None = only its pixels are known."""
    tables = None if file is None else tables_of(file)
    detail, grain = spectrum_of(picture)
    if tables is not None:
        return Laundering(quality_of(tables), True, (0, 0), tables, detail, grain)
    quality, offset = quality_from_pixels(picture)
    quantiser = None if quality is None else standard_quantiser(quality)
    return Laundering(quality, False, offset, quantiser, detail, grain)


def tables_of(file: str | os.PathLike[str] | bytes) -> Quantiser | None:
    """JPEG's own tables, where the pixels come out of the file as they went in (not turned by EXIF); else None."""
    source = io.BytesIO(file) if isinstance(file, bytes) else Path(file)
    try:
        with Image.open(source, formats=[name for name in FORMATS if name == "JPEG"]) as image:
            tables = getattr(image, "quantization", None)
            layers = getattr(image, "layer", [])
            if not tables or image.mode not in ("RGB", "L") or image.getexif().get(0x0112, 1) != 1:
                return None
            luma = tables[0]
            chroma = tables.get(1, luma)
            is_halved = len(layers) == 3 and (layers[0][1], layers[0][2]) == (2, 2) and (layers[1][1], layers[1][2]) == (1, 1)
    except (OSError, ValueError, SyntaxError, LookupError, TypeError, AttributeError, Image.DecompressionBombError):
        return None
    if len(luma) != BLOCK * BLOCK or len(chroma) != BLOCK * BLOCK:
        return None
    return Quantiser(_square(luma), _square(chroma), is_halved)


def quality_of(quantiser: Quantiser) -> int:
    """1 to 100: whose standard table is nearest in its luma steps."""
    luma = np.log(np.maximum(np.array(quantiser.luma), 1.0))
    gaps = [np.abs(np.log(np.array(standard_quantiser(quality).luma)) - luma).mean() for quality in range(1, 101)]
    return int(np.argmin(gaps)) + 1


@lru_cache(maxsize=128)
def standard_quantiser(quality: int) -> Quantiser:
    """What Pillow (libjpeg) writes at this quality."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", quality=quality)
    quantiser = tables_of(file.getvalue())
    assert quantiser is not None
    return quantiser


def quality_from_pixels(picture: Tensor) -> tuple[int | None, tuple[int, int]]:
    """(quality, offset of the first block) of a picture [1, 3, h, w] that was decompressed and saved again; (None, (0, 0)) where
    its luma cosines sit on no multiples.
    """
    grey = _luma(picture)
    if min(grey.shape) < SMALLEST_COMBED:
        return None, (0, 0)
    offset = (_seam(grey), _seam(grey.t()))
    grey = grey[offset[0] :, offset[1] :]
    height, width = (size // BLOCK * BLOCK for size in grey.shape)
    cosines = block_cosines(grey[:height, :width][None, None])[0, 0]
    blocks = cosines.view(height // BLOCK, BLOCK, width // BLOCK, BLOCK).permute(0, 2, 1, 3).reshape(-1, BLOCK, BLOCK).double()
    best, found = COMB, None
    for quality in QUALITIES:
        steps = torch.tensor(standard_quantiser(quality).luma, dtype=torch.float64)
        is_told = (blocks.abs() > 0.6 * steps) & (steps >= LOWEST_STEP)
        is_told[:, 0, 0] = False
        count = int(is_told.sum())
        if count < FEWEST_COSINES:
            continue
        comb = float((torch.cos(2 * torch.pi * blocks / steps) * is_told).sum() / count)
        if comb > best:
            best, found = comb, quality
    return found, offset if found is not None else (0, 0)


def spectrum_of(picture: Tensor) -> tuple[float, float]:
    """(detail, grain) of `Laundering`, of a picture [1, 3, h, w]."""
    grey = _luma(picture)
    height, width = (max(BLOCK, size // BLOCK * BLOCK) for size in grey.shape)
    if min(grey.shape) < BLOCK:
        grey = F.interpolate(grey[None, None], size=(height, width), mode="bilinear", align_corners=False)[0, 0]
    power = block_cosines(grey[:height, :width][None, None])[0, 0].square()
    power = power.view(height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean(dim=(0, 2))
    order = torch.arange(BLOCK)[:, None] + torch.arange(BLOCK)[None, :]
    finest, middle = power[order >= 9].mean(), power[(order >= 3) & (order <= 5)].mean()
    detail = float(torch.log10((finest + 0.05) / (middle + 0.05)))
    even = grey[: grey.shape[0] // 2 * 2, : grey.shape[1] // 2 * 2]
    wavelet = (even[::2, ::2] - even[1::2, ::2] - even[::2, 1::2] + even[1::2, 1::2]) / 2
    return detail, float(wavelet.abs().median() / 0.6745)


def _luma(picture: Tensor) -> Tensor:
    """[h, w] in grey levels."""
    return torch.einsum("c,chw->hw", picture.new_tensor(LUMA[0]), picture[0]) * 127.5


def _seam(grey: Tensor) -> int:
    """Where the first block begins: the row, modulo 8, before which neighbours differ most beside what their slopes promise."""
    jump = (grey[1:-2] - grey[2:-1]) - 0.5 * ((grey[:-3] - grey[1:-2]) + (grey[2:-1] - grey[3:]))
    strength = jump.abs().clamp_max(20.0).mean(dim=1)  # of the seam before row i + 2
    places = (torch.arange(len(strength)) + 2) % BLOCK
    means = torch.stack([strength[places == place].mean() for place in range(BLOCK)])
    others = (means.sum() - means.max()) / (BLOCK - 1)
    return int(means.argmax()) if float(means.max()) > 1.1 * float(others) else 0


def _square(values: Any) -> tuple[tuple[float, ...], ...]:
    rows = [float(value) for value in values]
    return tuple(tuple(rows[first : first + BLOCK]) for first in range(0, BLOCK * BLOCK, BLOCK))
