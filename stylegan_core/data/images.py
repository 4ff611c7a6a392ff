"""Training pictures from a folder, a zip or a renderer, as uint8 arrays by index."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from stylegan_core.errors import ImageError, UsageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
Indices = Sequence[int] | np.ndarray


class ImageData(Protocol):
    """A finite set of pictures of one size."""

    name: str
    resolution: int

    def __len__(self) -> int: ...

    def images_u8(self, indices: Indices) -> np.ndarray:
        """[n, C, R, R] uint8."""
        ...


class RenderedImages:
    """Pictures that a function draws from an index, kept once drawn. draw: index → [R, R, C] uint8."""

    def __init__(self, name: str, draw: Callable[[int], np.ndarray], count: int, resolution: int, channels: int = 3):
        self.name, self.resolution = name, resolution
        self._draw = draw
        self._pictures = np.zeros([count, channels, resolution, resolution], dtype=np.uint8)
        self._is_drawn = np.zeros(count, dtype=bool)

    def __len__(self) -> int:
        return len(self._pictures)

    def images_u8(self, indices: Indices) -> np.ndarray:
        for i in indices:
            if not self._is_drawn[i]:
                self._pictures[i] = self._draw(int(i)).transpose(2, 0, 1)
                self._is_drawn[i] = True
        return self._pictures[list(indices)]


class PortraitImages(RenderedImages):
    """Procedural portraits 0 … count-1 of a seed, with the standard normal numbers that each was drawn from."""

    def __init__(self, count: int, resolution: int, seed: int, law: str, style: str):
        from stylegan_core.data.labelled import shown_values
        from stylegan_core.data.portraits import portrait_normals, portrait_u8, sample_portrait, twin_normals

        name = f"portraits(seed={seed}, count={count}, resolution={resolution}, law={law}, style={style})"
        super().__init__(name, lambda i: portrait_u8(seed, i, resolution, law=law, style=style)[0], count, resolution)
        self._normals_of = lambda i: portrait_normals(seed, i)
        self._twin_of = lambda i, rng: twin_normals(seed, i, rng, law=law)
        self._normals: dict[int, np.ndarray] = {}
        self._shown_of = lambda i: shown_values(sample_portrait(seed, i, law=law, style=style))
        self._shown: dict[int, np.ndarray] = {}

    def normals(self, indices: Indices) -> np.ndarray:
        """[n, 54] float32, see `portraits.portrait_normals`."""
        for i in indices:
            if i not in self._normals:
                self._normals[i] = self._normals_of(int(i)).astype(np.float32)
        return np.stack([self._normals[i] for i in indices])

    def shown(self, indices: Indices) -> np.ndarray:
        """[n, 54] float32, see `labelled.shown_values`."""
        for i in indices:
            if i not in self._shown:
                self._shown[i] = np.array(self._shown_of(int(i)), np.float32)
        return np.stack([self._shown[i] for i in indices])

    def twins(self, indices: Indices, rng: np.random.Generator) -> np.ndarray:
        """[n, 54] float32, see `portraits.twin_normals`."""
        return np.stack([self._twin_of(int(i), rng) for i in indices]).astype(np.float32)


def portraits(count: int, resolution: int, *, seed: int = 0, law: str = "correlated", style: str = "colour") -> PortraitImages:
    """The procedural portraits 0 … count-1 of a seed (training uses seed 0)."""
    return PortraitImages(count, resolution, seed, law, style)


def scenes(count: int, resolution: int, *, seed: int = 0) -> RenderedImages:
    """The procedural scenes 0 … count-1 of a seed."""
    from stylegan_core.data.scenes import scene_u8

    name = f"scenes(seed={seed}, count={count}, resolution={resolution})"
    return RenderedImages(name, lambda i: scene_u8(seed, i, resolution), count, resolution)


def open_images(path: str | Path, *, resolution: int | None = None, channels: int = 3) -> RenderedImages:
    """The pictures of a folder (with its sub-folders) or a zip, sorted by name, decoded when first used.

    resolution: pictures of another size are centre-cropped and resized (Lanczos); None = the size of the first one.
    Raises ImageError for a picture that cannot be read, naming it; UsageError when there is none.
    """
    path = Path(path)
    read: Callable[[str], bytes]
    if path.is_dir():
        names = sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        read = lambda name: (path / name).read_bytes()  # noqa: E731
    elif path.is_file() and zipfile.is_zipfile(path):
        archive = zipfile.ZipFile(path)
        names = sorted(name for name in archive.namelist() if Path(name).suffix.lower() in SUFFIXES)
        read = archive.read
    else:
        raise UsageError(f"--data {str(path)!r} is neither a folder nor a zip of pictures, nor 'portraits' or 'scenes'")
    if not names:
        raise UsageError(f"--data {str(path)!r} holds no pictures ({', '.join(SUFFIXES)})")
    size = resolution or min(_decode(names[0], read(names[0]), channels, None).shape[:2])
    return RenderedImages(path.name, lambda i: _decode(names[i], read(names[i]), channels, size), len(names), size, channels)


def _decode(name: str, content: bytes, channels: int, resolution: int | None) -> np.ndarray:
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    if channels not in modes:
        raise UsageError(f"pictures have 1, 3 or 4 channels, not {channels}")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image = image.convert(modes[channels])
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{name}: not a readable picture ({error}); remove it from the data set") from None
    if resolution is not None and image.size != (resolution, resolution):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.resize((resolution, resolution), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    picture = np.asarray(image)
    return picture[:, :, None] if picture.ndim == 2 else picture


def batch_indices(count: int, batch: int, step: int, seed: int) -> np.ndarray:
    """The pictures of a step: consecutive pieces of a stream of shuffled epochs, a pure function of (seed, step)."""
    return stream_indices(count, batch, step * batch, seed)


def stream_indices(count: int, batch: int, position: int, seed: int) -> np.ndarray:
    """`batch` pictures from a position of that stream on."""
    chosen: list[int] = []
    while len(chosen) < batch:
        epoch, offset = divmod(position + len(chosen), count)
        order = np.random.default_rng(np.random.SeedSequence([seed, epoch])).permutation(count)
        chosen.extend(order[offset : offset + batch - len(chosen)].tolist())
    return np.array(chosen)
