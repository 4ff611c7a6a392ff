"""Laundering for calibration and evaluation: what happens to pictures on their way, as files in memory.

A chain is a pure function of a picture and a stream of random numbers, so that a calibration can be repeated.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from stylegan_core.images import from_u8

FILTERS = (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX)


@dataclass(frozen=True)
class Laundered:
    """content: the bytes of the file. pixels: [1, 3, h, w] in [-1, 1], as read from it."""

    content: bytes
    pixels: Tensor


Chain = Callable[[Image.Image, np.random.Generator], Laundered]


def as_png(picture: Image.Image) -> Laundered:
    """Saved as it is."""
    return _saved(picture, format="PNG", compress_level=1)


def as_jpeg(picture: Image.Image, quality: int) -> Laundered:
    """Saved as Pillow does by default, chroma at half size."""
    return _saved(picture, format="JPEG", quality=quality)


def clean(picture: Image.Image, rng: np.random.Generator) -> Laundered:
    """Nothing."""
    return as_png(picture)


def jpeg(picture: Image.Image, rng: np.random.Generator) -> Laundered:
    """JPEG of quality 30 to 95; one in three is decompressed and saved as PNG."""
    saved = as_jpeg(picture, int(rng.integers(30, 96)))
    return as_png(_opened(saved)) if rng.random() < 1 / 3 else saved


def resized(picture: Image.Image, rng: np.random.Generator) -> Laundered:
    """0.5 to 2 times the size by a filter of the usual ones; half of them also JPEG of quality 60 to 95."""
    factor = float(2.0 ** rng.uniform(-1, 1))
    size = (max(8, round(picture.width * factor)), max(8, round(picture.height * factor)))
    picture = picture.resize(size, FILTERS[int(rng.integers(len(FILTERS)))])
    return as_jpeg(picture, int(rng.integers(60, 96))) if rng.random() < 0.5 else as_png(picture)


def cropped(picture: Image.Image, rng: np.random.Generator) -> Laundered:
    """70 to 95 % of each side, anywhere; one in three enlarged again, one in four mirrored."""
    width, height = (max(8, round(size * rng.uniform(0.7, 0.95))) for size in picture.size)
    left, top = int(rng.integers(picture.width - width + 1)), int(rng.integers(picture.height - height + 1))
    part = picture.crop((left, top, left + width, top + height))
    if rng.random() < 1 / 3:
        part = part.resize((round(width * 1.3), round(height * 1.3)), Image.Resampling.BICUBIC)
    if rng.random() < 1 / 4:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return as_png(part)


def processed(picture: Image.Image, rng: np.random.Generator) -> Laundered:
    """Blur of 0.3 to 1 pixel, or noise of 1 to 6 grey levels, by turns."""
    if rng.random() < 0.5:
        return as_png(picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.0)))))
    values = np.asarray(picture, dtype=np.float64) + rng.normal(0.0, rng.uniform(1.0, 6.0), (picture.height, picture.width, 3))
    return as_png(Image.fromarray(values.round().clip(0, 255).astype(np.uint8)))


def screenshot(picture: Image.Image, rng: np.random.Generator) -> Laundered:
    """Enlarged by a screen, JPEG, shrunk to near its size, JPEG again: what calibration never saw."""
    factor = float(rng.uniform(1.2, 1.8))
    shown = picture.resize([round(size * factor) for size in picture.size], Image.Resampling.BILINEAR)
    once = _opened(as_jpeg(shown, int(rng.integers(70, 91))))
    back = once.resize([round(size * rng.uniform(0.8, 1.1)) for size in picture.size], Image.Resampling.BICUBIC)
    return as_jpeg(back, int(rng.integers(60, 91)))


FAMILY: Mapping[str, Chain] = {"clean": clean, "jpeg": jpeg, "resized": resized, "cropped": cropped, "processed": processed}
CHAINS: Mapping[str, Chain] = {**FAMILY, "screenshot": screenshot}


def launder(name: str, image: Tensor, *seed: int) -> Laundered:
    """image: [1, 3, H, W] in [-1, 1] → through the chain of this name, with random numbers of these seeds."""
    from stylegan_core.images import to_pil

    rng = np.random.default_rng(np.random.SeedSequence([*seed, sorted(CHAINS).index(name)]))
    return CHAINS[name](to_pil(image).convert("RGB"), rng)


def _saved(picture: Image.Image, **options: object) -> Laundered:
    file = io.BytesIO()
    picture.save(file, **options)  # type: ignore[arg-type]
    content = file.getvalue()
    opened = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
    return Laundered(content, from_u8(torch.from_numpy(np.array(opened.convert("RGB")))[None]))


def _opened(laundered: Laundered) -> Image.Image:
    return Image.open(io.BytesIO(laundered.content), formats=("PNG", "JPEG")).convert("RGB")
