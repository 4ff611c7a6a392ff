"""A folder or a zip of pictures as training data, looked at before the training starts: readable, of one size, labelled."""

from __future__ import annotations

import io
import json
import os
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stylegan_core.errors import ImageError, UsageError
from stylegan_core.files import display

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
LABELS_FILE = "dataset.json"
MAX_CLASSES = 100_000
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class StoredPictures:
    """The pictures of a folder (with its sub-folders) or a zip, sorted by name."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._read_file: Callable[[str], bytes]
        if self.path.is_dir():
            files = [file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file()]
            self._read_file = lambda name: (self.path / name).read_bytes()
        elif self.path.is_file() and zipfile.is_zipfile(self.path):
            archive, lock = zipfile.ZipFile(self.path), threading.Lock()
            files = [name for name in archive.namelist() if not name.endswith("/")]

            def read(name: str) -> bytes:
                with lock:
                    return archive.read(name)

            self._read_file = read
        else:
            raise UsageError(f"--data {display(self.path)!r} is neither a folder nor a zip of pictures, nor 'portraits', 'ink' or 'scenes'")
        self.names = sorted(name for name in files if Path(name).suffix.lower() in SUFFIXES)
        self.has_labels = LABELS_FILE in files
        if not self.names:
            raise UsageError(f"--data {display(self.path)!r} holds no pictures ({', '.join(SUFFIXES)})")

    def __len__(self) -> int:
        return len(self.names)

    def read(self, name: str) -> bytes:
        """The bytes of a file; ImageError when they cannot be had."""
        try:
            return self._read_file(name)
        except (OSError, zipfile.BadZipFile, KeyError, EOFError) as error:
            raise ImageError(f"{display(name)}: cannot be read ({error}); remove it from the data set") from None

    def decode(self, index: int, channels: int, shape: tuple[int, int] | None) -> np.ndarray:
        """[H, W, C] uint8, cropped at the centre and resized (Lanczos) to the shape where it has another; None = as it is."""
        name = self.names[index]
        if channels not in MODES:
            raise UsageError(f"pictures have 1, 3 or 4 channels, not {channels}")
        try:
            with Image.open(io.BytesIO(self.read(name)), formats=FORMATS) as image:
                image = image.convert(MODES[channels])
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ImageError(f"{display(name)}: not a readable picture ({error}); remove it from the data set") from None
        if shape is not None and (image.height, image.width) != shape:
            height, width = shape
            scale = min(image.height / height, image.width / width)
            left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
            box = (left, top, left + width * scale, top + height * scale)
            image = image.resize((width, height), Image.Resampling.LANCZOS, box=box)
        picture = np.asarray(image)
        return picture[:, :, None] if picture.ndim == 2 else picture

    def check(self) -> Counter[tuple[int, int]]:
        """Reads every file; how many pictures there are of every (H, W). Raises ImageError that names those that are damaged."""
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            found = list(pool.map(self._look_at, self.names))
        damaged = [(name, size) for name, size in zip(self.names, found) if isinstance(size, str)]
        if damaged:
            name, reason = damaged[0]
            others = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
            raise ImageError(f"{display(self.path)}: {display(name)}{others} of {len(self)} cannot be read ({reason}); remove them, "
                             "or write a clean set with `invert data pack`, which leaves them out and says which")
        return Counter(size for size in found if not isinstance(size, str))

    def _look_at(self, name: str) -> tuple[int, int] | str:
        """(H, W), or what is wrong."""
        try:
            content = io.BytesIO(self.read(name))
            with Image.open(content, formats=FORMATS) as image:
                size = image.height, image.width
                if image.format == "PNG":
                    image.verify()  # reads all and compares the sums of every part, without decoding
                else:
                    image.draft("L", (1, 1))  # a JPEG decodes to an eighth of its size
                    image.load()
            return size
        except (OSError, ValueError, SyntaxError, ImageError, Image.DecompressionBombError) as error:
            return display(error, max_length=100)

    def one_size(self, sizes: Counter[tuple[int, int]]) -> tuple[int, int]:
        """The size that all pictures have. Raises UsageError when they differ."""
        if len(sizes) == 1:
            return next(iter(sizes))
        common = [f"{height}x{width} ({count})" for (height, width), count in sizes.most_common(3)]
        raise UsageError(f"{display(self.path)} holds pictures of {len(sizes)} sizes, such as {', '.join(common)}; give --resolution R "
                         "or HxW, to which all are cropped and resized")

    def labels(self) -> np.ndarray:
        """[count, c_dim] float32 from dataset.json, or from the first sub-folder's name; classes become unit vectors."""
        return read_labels(json.loads(self.read(LABELS_FILE)), self.names) if self.has_labels else self._labels_of_folders()

    def _labels_of_folders(self) -> np.ndarray:
        folders = [name.split("/")[0] if "/" in name else None for name in self.names]
        classes = sorted({folder for folder in folders if folder is not None})
        if len(classes) < 2 or None in folders:
            raise UsageError(f"{display(self.path)} has no labels: neither {LABELS_FILE} nor a sub-folder for each of two classes or more; "
                             "leave --cond out, or write them with `invert data pack --class-by-folder`")
        return unit_vectors([classes.index(folder) for folder in folders if folder is not None])


def read_labels(content: Any, names: Sequence[str]) -> np.ndarray:
    """content: {"labels": [[name, class or numbers], …]} → [len(names), c_dim] float32. Raises UsageError for what does not match."""
    entries = content.get("labels") if isinstance(content, dict) else None
    if isinstance(entries, dict):
        entries = list(entries.items())
    if not isinstance(entries, list) or not all(isinstance(entry, (list, tuple)) and len(entry) == 2 for entry in entries):
        raise UsageError(f'{LABELS_FILE} holds no labels; {{"labels": [["a.png", 0], …]}} is expected')
    held = {str(name).replace("\\", "/"): label for name, label in entries}
    missing = [name for name in names if name not in held]
    if missing:
        raise UsageError(f"labels do not match: {len(missing)} of {len(names)} pictures have none in {LABELS_FILE}, such as "
                         f"{display(missing[0])}")
    unknown = sorted(set(held) - set(names))
    if unknown:
        raise UsageError(f"labels do not match: {LABELS_FILE} names {len(unknown)} pictures that are not there, such as "
                         f"{display(unknown[0])}")
    values = [held[name] for name in names]
    if all(type(value) is int for value in values):
        return unit_vectors(values)
    lengths = {len(value) if isinstance(value, list) else -1 for value in values}
    if len(lengths) != 1 or min(lengths) < 1:
        raise UsageError(f"labels do not match: {LABELS_FILE} mixes classes and vectors, or vectors of {sorted(lengths)} numbers")
    try:
        vectors = np.array(values, dtype=np.float32)
    except (TypeError, ValueError):
        vectors = np.array(np.nan)
    if not np.isfinite(vectors).all():
        raise UsageError(f"labels do not match: {LABELS_FILE} holds vectors of something else than finite numbers")
    return vectors


def unit_vectors(classes: Sequence[int]) -> np.ndarray:
    """[count, number of classes] float32. Raises UsageError for numbers below 0 or far too high."""
    if min(classes) < 0 or max(classes) >= MAX_CLASSES:
        raise UsageError(f"labels do not match: classes are numbered from 0 to {MAX_CLASSES - 1}, not {min(classes)} to {max(classes)}")
    vectors = np.zeros([len(classes), max(classes) + 1], np.float32)
    vectors[np.arange(len(classes)), classes] = 1
    return vectors
