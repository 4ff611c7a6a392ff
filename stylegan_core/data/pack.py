"""A folder of pictures → one zip that the trainer reads: PNG, one size, stored without compression, in sorted order."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stylegan_core.errors import ImageError, UsageError
from stylegan_core.files import atomic_write, display
from stylegan_core.image_reader import SUFFIXES

FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the same pictures give the same bytes


@dataclass(frozen=True)
class PackResult:
    """How many pictures went in, and (file, reason) for those that did not."""

    num_packed: int
    failures: list[tuple[Path, str]]


@dataclass(frozen=True)
class _Square:
    """What `images.fit` needs to know: the size of the pictures."""

    resolution: int
    img_channels: int = 3

    @property
    def img_shape(self) -> tuple[int, int]:
        return self.resolution, self.resolution


def pack_folder(
    folder: Path,
    output: Path,
    *,
    resolution: int | None = None,
    mode: str = "crop",
    labels: Mapping[str, int] | None = None,
    callback: Callable[[int, int], bool | None] | None = None,
) -> PackResult:
    """Writes output (whole or not at all): img00000000.png … in the order of the sorted names, with sub-folders.

    resolution: side of the square pictures; None = that of the first one. mode: crop, pad or stretch, resampled by
    Lanczos. labels: path inside the folder → class, written as dataset.json; None = no labels. callback: called as
    callback(done, count). A picture that cannot be read is left out and named in the result.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise UsageError(f"the folder {display(folder)} holds no pictures")
    if output.suffix.lower() != ".zip":
        raise UsageError(f"-o {display(output)}: the name of a .zip file is needed")
    failures: list[tuple[Path, str]] = []
    classes: list[tuple[str, int]] = []
    with atomic_write(output) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        packed = 0
        for done, path in enumerate(files, start=1):
            try:
                resolution, data = _png_of(path, resolution, mode)
            except ImageError as error:
                failures.append((path, str(error)))
                continue
            name = f"img{packed:08d}.png"
            archive.writestr(zipfile.ZipInfo(name, FIXED_TIME), data)
            label = None if labels is None else labels.get(str(path.relative_to(folder)))
            if label is not None:
                classes.append((name, label))
            packed += 1
            if callback is not None and callback(done, len(files)) is False:
                raise UsageError("packing was stopped; nothing was written")
        if not packed:
            raise ImageError(f"no picture of {display(folder)} can be read; the first: {failures[0][1]}")
        if labels is not None:
            archive.writestr(
                zipfile.ZipInfo("dataset.json", FIXED_TIME), json.dumps({"labels": _complete(classes, packed)})
            )
    return PackResult(packed, failures)


def _png_of(path: Path, resolution: int | None, mode: str) -> tuple[int, bytes]:
    from stylegan_core.images import fit, load_image, to_pil

    image = load_image(path)
    side = resolution or min(image.shape[2:])
    buffer = io.BytesIO()
    to_pil(fit(image, _Square(side), mode=mode)[0]).save(buffer, "PNG", compress_level=6)
    return side, buffer.getvalue()


def _complete(classes: Sequence[tuple[str, int]], count: int) -> list[tuple[str, int]]:
    if len(classes) != count:
        raise UsageError(f"{count - len(classes)} picture(s) have no label; give one to each, or leave --labels out")
    return list(classes)
