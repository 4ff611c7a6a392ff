"""Training pictures from a folder, a zip or a renderer, as uint8 arrays by index, with their labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from stylegan_core.data.stored import MODES, StoredPictures
from stylegan_core.errors import UsageError

Indices = Sequence[int] | np.ndarray
Size = int | tuple[int, int]  # the side of a square, or (H, W)
READERS = 4  # threads that decode the next step's pictures while this one is computed
KEPT_BYTES = 4 << 30  # data sets up to this stay in memory once drawn; of larger ones every picture is read again
WORN = ("glasses", "beard", "hat")  # the eight classes of portraits


class ImageData(Protocol):
    """A finite set of pictures of one size."""

    name: str
    shape: tuple[int, int]  # (H, W)
    channels: int           # 1, 3 or 4
    c_dim: int              # 0 = no labels

    def __len__(self) -> int: ...

    def images_u8(self, indices: Indices) -> np.ndarray:
        """[n, C, H, W] uint8."""
        ...

    def labels(self, indices: Indices) -> np.ndarray:
        """[n, c_dim] float32."""
        ...

    def expect(self, indices: Indices) -> None:
        """These pictures will be asked for next: begin to read them."""
        ...


class RenderedImages:
    """Pictures that a function draws from an index, kept once drawn. draw: index → [H, W, C] uint8.

    labels: [count, c_dim]; None = none. workers: threads that draw what is expected; 0 = it is drawn when asked for.
    """

    def __init__(self, name: str, draw: Callable[[int], np.ndarray], count: int, size: Size, channels: int = 3,
                 labels: np.ndarray | None = None, workers: int = 0):
        self.name, self.channels = name, channels
        self.shape = (size, size) if isinstance(size, int) else size
        self.resolution = max(self.shape)
        self.c_dim = 0 if labels is None else labels.shape[1]
        self._draw, self._count, self._labels = draw, count, labels
        is_kept = count * channels * self.shape[0] * self.shape[1] <= KEPT_BYTES
        self._pictures = np.zeros([count if is_kept else 0, channels, *self.shape], dtype=np.uint8)
        self._is_drawn = np.zeros(len(self._pictures), dtype=bool)
        self._pool = ThreadPoolExecutor(workers) if workers else None
        self._coming: dict[int, Future[np.ndarray]] = {}

    def __len__(self) -> int:
        return self._count

    def images_u8(self, indices: Indices) -> np.ndarray:
        if not len(self._pictures):
            return np.stack([self._drawn(int(i)).transpose(2, 0, 1) for i in indices])
        for i in indices:
            if not self._is_drawn[i]:
                self._pictures[i] = self._drawn(int(i)).transpose(2, 0, 1)
                self._is_drawn[i] = True
        return self._pictures[list(indices)]

    def expect(self, indices: Indices) -> None:
        if self._pool is not None:
            missing = {int(i) for i in indices if not (len(self._is_drawn) and self._is_drawn[i])}
            self._coming = {i: self._coming.get(i) or self._pool.submit(self._draw, i) for i in missing}

    def _drawn(self, index: int) -> np.ndarray:
        coming = self._coming.get(index)
        return self._draw(index) if coming is None else coming.result()

    def labels(self, indices: Indices) -> np.ndarray:
        return np.zeros([len(indices), 0], np.float32) if self._labels is None else self._labels[list(indices)]


class PortraitImages(RenderedImages):
    """Procedural portraits 0 … count-1 of a seed, with the standard normal numbers that each was drawn from."""

    def __init__(self, count: int, size: Size, seed: int, law: str, style: str, channels: int = 3, has_labels: bool = False):
        from stylegan_core.data.labelled import shown_values
        from stylegan_core.data.portraits import portrait_normals, portrait_u8, sample_portrait, twin_normals

        def draw(index: int) -> np.ndarray:
            return with_channels(cropped(portrait_u8(seed, index, side, law=law, style=style)[0], size), channels)

        side = size if isinstance(size, int) else max(size)
        name = f"portraits(seed={seed}, count={count}, resolution={size_text(size)}, law={law}, style={style})"
        super().__init__(name, draw, count, size, channels)
        self.c_dim = 1 << len(WORN) if has_labels else 0
        self._attributes_of = lambda i: sample_portrait(seed, i, law=law, style=style).attributes
        self._classes: dict[int, int] = {}
        self._normals_of = lambda i: portrait_normals(seed, i)
        self._twin_of = lambda i, rng: twin_normals(seed, i, rng, law=law)
        self._normals: dict[int, np.ndarray] = {}
        self._shown_of = lambda i: shown_values(sample_portrait(seed, i, law=law, style=style))
        self._shown: dict[int, np.ndarray] = {}

    def labels(self, indices: Indices) -> np.ndarray:
        if self.c_dim:
            for i in indices:
                if i not in self._classes:
                    attributes = self._attributes_of(int(i))
                    self._classes[i] = sum(int(attributes[name]) << bit for bit, name in enumerate(WORN))
        return np.eye(self.c_dim, dtype=np.float32)[[self._classes[i] for i in indices]] if self.c_dim else super().labels(indices)

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


def portraits(count: int, size: Size, *, seed: int = 0, law: str = "correlated", style: str = "colour", channels: int = 3,
              has_labels: bool = False) -> PortraitImages:
    """The procedural portraits 0 … count-1 of a seed (training uses seed 0), labelled, if asked, by what is worn of WORN."""
    return PortraitImages(count, size, seed, law, style, channels, has_labels)


def scenes(count: int, size: Size, *, seed: int = 0, channels: int = 3) -> RenderedImages:
    """The procedural scenes 0 … count-1 of a seed."""
    from stylegan_core.data.scenes import scene_u8

    side = size if isinstance(size, int) else max(size)
    name = f"scenes(seed={seed}, count={count}, resolution={size_text(size)})"
    return RenderedImages(name, lambda i: with_channels(cropped(scene_u8(seed, i, side), size), channels), count, size, channels)


def open_images(path: str | Path, *, resolution: Size | None = None, channels: int = 3, has_labels: bool = False,
                is_checked: bool = False) -> RenderedImages:
    """The pictures of a folder (with its sub-folders) or a zip, sorted by name, decoded when first used.

    resolution: pictures of another size are centre-cropped and resized (Lanczos); None = the size of the first one. has_labels: read
    them too. is_checked: look at every file now, and refuse pictures of several sizes where no resolution is given. Raises ImageError
    for a picture that cannot be read, naming it; UsageError when there is none.
    """
    stored = StoredPictures(path)
    sizes = stored.check() if is_checked else None
    if resolution is None:
        size = stored.one_size(sizes) if sizes is not None else stored.decode(0, channels, None).shape[:2]
    else:
        size = (resolution, resolution) if isinstance(resolution, int) else resolution
    if sizes is None and resolution is None:
        size = (min(size), min(size))
    name = f"{stored.path.name} ({len(stored)} pictures)" if is_checked else stored.path.name
    labels = stored.labels() if has_labels else None
    return RenderedImages(name, lambda i: stored.decode(i, channels, size), len(stored), size, channels, labels, workers=READERS)


def parse_size(text: str) -> tuple[int, int]:
    """'64' → (64, 64), '48x32' → (48, 32), height first. Raises UsageError."""
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text.strip().lower(), flags=re.ASCII)
    if match is None:
        raise UsageError(f"--resolution {text!r}: a side such as 64, or height x width such as 512x384, is needed")
    return int(match[1]), int(match[2] or match[1])


def size_text(size: Size) -> str:
    """'64', or '48x32', height first."""
    height, width = (size, size) if isinstance(size, int) else size
    return str(height) if height == width else f"{height}x{width}"


def cropped(picture: np.ndarray, size: Size) -> np.ndarray:
    """The middle of a picture [R, R, C] in the given size."""
    height, width = (size, size) if isinstance(size, int) else size
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


def with_channels(picture: np.ndarray, channels: int) -> np.ndarray:
    """[H, W, 3] uint8 → [H, W, channels]: luma for 1, full opacity added for 4."""
    if channels == picture.shape[2]:
        return picture
    if channels not in MODES:
        raise UsageError(f"pictures have 1, 3 or 4 channels, not {channels}")
    converted = np.asarray(Image.fromarray(picture).convert(MODES[channels]))
    return converted[:, :, None] if converted.ndim == 2 else converted


def batch_indices(count: int, batch: int, step: int, seed: int) -> np.ndarray:
    """The pictures of a step: consecutive pieces of a stream of shuffled epochs, a pure function of (seed, step)."""
    return stream_indices(count, batch, step * batch, seed)


def stream_indices(count: int, batch: int, position: int, seed: int) -> np.ndarray:
    """`batch` pictures from a position of that stream on."""
    chosen: list[int] = []
    while len(chosen) < batch:
        epoch, offset = divmod(position + len(chosen), count)
        chosen.extend(_order(count, seed, epoch)[offset : offset + batch - len(chosen)].tolist())
    return np.array(chosen)


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng(np.random.SeedSequence([seed, epoch])).permutation(count)
