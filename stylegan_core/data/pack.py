"""Pictures of a folder, a zip or a data base → one zip that trainers read: PNG, one size, stored without compression.

Labels are written as the official scripts have them, as dataset.json: {"labels": [[name, class], …]}.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stylegan_core.data.sources import LABELS_FILE, Label, Picture, Source, open_source
from stylegan_core.errors import ImageError, UsageError
from stylegan_core.files import atomic_write, display
from stylegan_core.image_reader import read_image_bytes

FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the same pictures give the same bytes
CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class PackResult:
    """num_packed: how many pictures went in. failures: (picture, reason) of those that did not. size: (H, W) of all.

    enlarged: how many were smaller than that. classes: class → how many pictures; empty without labels.
    """

    num_packed: int
    failures: list[tuple[Path, str]]
    size: tuple[int, int] = (0, 0)
    enlarged: int = 0
    classes: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Shape:
    """What `images.fit` needs to know: the size of the pictures."""

    img_shape: tuple[int, int]
    img_channels: int = 3


def pack_folder(
    folder: Path,
    output: Path,
    *,
    resolution: int | tuple[int, int] | None = None,
    mode: str = "crop",
    labels: Mapping[str, Label] | None = None,
    channels: int = 3,
    limit: int | None = None,
    callback: Callable[[int, int], bool | None] | None = None,
) -> PackResult:
    """Writes output (whole or not at all): img00000000.png … in the order of the names in the source.

    folder: also a zip, or an LMDB data base. resolution: side of square pictures, or (H, W); None = that of the first one, square.
    mode: crop, pad or stretch, resampled by Lanczos. labels: name inside the source → class or vector; None = those of the
    source's own dataset.json, if it has one; {} = none. channels: 1 grey, 3, or 4 with opacity. limit: at most so many pictures;
    None = all. callback: called as callback(done, count). A picture that cannot be read is left out and named in the result.
    """
    if output.suffix.lower() != ".zip":
        raise UsageError(f"-o {display(output)}: the name of a .zip file is needed")
    if channels not in CHANNELS or (limit is not None and limit < 1):
        raise UsageError(f"channels {channels}, limit {limit}: 1, 3 or 4 channels and a limit of 1 or more are allowed")
    if output.exists() and folder.exists() and output.resolve() == folder.resolve():
        raise UsageError(f"-o {display(output)} is the source itself; choose another name")
    source = open_source(folder)
    known = source.labels if labels is None else labels
    packing = _Packing(resolution, mode, channels)
    with atomic_write(output) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        rows = _pack(source, archive, packing, known, limit, callback)
        if not rows:
            raise ImageError(f"no picture of {display(folder)} can be read; the first: {packing.failures[0][1]}")
        if known:
            check_labels(rows)
            entries = {"labels": [[name, label] for name, _, label in rows]}
            archive.writestr(zipfile.ZipInfo(LABELS_FILE, FIXED_TIME), json.dumps(entries))
    numbers = [label for _, _, label in rows if isinstance(label, int)]
    classes = {number: numbers.count(number) for number in sorted(set(numbers))}
    return PackResult(len(rows), packing.failures, packing.size or (0, 0), packing.enlarged, classes)


def _pack(source: Source, archive: zipfile.ZipFile, packing: _Packing, labels: Mapping[str, Label], limit: int | None,
          callback: Callable[[int, int], bool | None] | None) -> list[tuple[str, str, Label | None]]:  # fmt: skip
    """(name in the zip, name in the source, label or None) of every picture that went in."""
    rows: list[tuple[str, str, Label | None]] = []
    for done, picture in enumerate(source.pictures(), start=1):
        data = packing.png_of(picture, Path(source.name))
        if data is not None:
            name = f"img{len(rows):08d}.png"
            archive.writestr(zipfile.ZipInfo(name, FIXED_TIME), data)
            rows.append((name, picture.name, labels.get(picture.name)))
        if callback is not None and callback(done, source.count) is False:
            raise UsageError("packing was stopped; nothing was written")
        if limit is not None and len(rows) == limit:
            break
    return rows


@dataclass
class _Packing:
    """What all pictures of one run share, and what became of them."""

    resolution: int | tuple[int, int] | None
    mode: str
    channels: int
    size: tuple[int, int] | None = None
    enlarged: int = 0
    failures: list[tuple[Path, str]] = field(default_factory=list)

    def png_of(self, picture: Picture, place: Path) -> bytes | None:
        """The picture as PNG of the wanted size; None, and a line in `failures`, when it cannot be read."""
        from stylegan_core.images import fit, to_channels, to_pil

        shown = place / picture.name
        try:
            pixels = read_image_bytes(picture.read(), str(shown), background=None if self.channels == 4 else "white")
        except ImageError as error:
            self.failures.append((shown, str(error)))
            return None
        except (OSError, ValueError) as error:
            self.failures.append((shown, f"{display(shown)} cannot be read: {display(error, max_length=120)}"))
            return None
        image = tensor_of(pixels)
        height, width = image.shape[2:]
        if self.size is None:
            side = self.resolution or min(height, width)
            self.size = (side, side) if isinstance(side, int) else side
        self.enlarged += height < self.size[0] or width < self.size[1]
        fitted = fit(to_channels(image, self.channels), _Shape(self.size, self.channels), mode=self.mode)[0]
        buffer = io.BytesIO()
        to_pil(fitted).save(buffer, "PNG", compress_level=6)
        return buffer.getvalue()


def tensor_of(pixels: np.ndarray):  # type: ignore[no-untyped-def]
    """[H, W, C] in [0, 1] → [1, C, H, W] in [-1, 1]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].contiguous() * 2 - 1


def check_labels(rows: list[tuple[str, str, Label | None]]) -> None:
    """Raises UsageError unless all have a label, and labels of one kind."""
    missing = [source for _, source, label in rows if label is None]
    if missing:
        raise UsageError(
            f"{len(missing)} picture(s) have no label, {display(missing[0])} among them; give one to each, or pack with --no-labels"
        )
    kinds = {"a class" if isinstance(label, int) else f"{len(label)} numbers" for _, _, label in rows if label is not None}
    if len(kinds) > 1:
        raise UsageError(f"labels are of different kinds: {' and '.join(sorted(kinds))}; all must be of one")
