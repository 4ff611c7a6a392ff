"""Where pictures to pack come from: a folder, a zip archive, or a data base of LSUN (LMDB)."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from stylegan_core.errors import MissingExtraError, UsageError
from stylegan_core.files import display
from stylegan_core.image_reader import MAX_FILE_BYTES, SUFFIXES

LABELS_FILE = "dataset.json"  # beside the pictures, as the official scripts write it: {"labels": [[name, class], …]}
LMDB_FILE = "data.mdb"
MAX_LABELS_BYTES = 1 << 30
Label = int | list[float]


@dataclass(frozen=True)
class Picture:
    """One picture of a source. name: inside the source; read: its bytes, or OSError, ValueError when they cannot be had."""

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Source:
    """count: of pictures. pictures: in their order. labels: name inside the source → class or vector; empty = none are known."""

    name: str
    count: int
    pictures: Callable[[], Iterator[Picture]]
    labels: Mapping[str, Label] = field(default_factory=dict)


def open_source(path: Path) -> Source:
    """The pictures at a path, sorted by name. Raises UsageError for what is none of the three or holds none."""
    if path.is_dir() and (path / LMDB_FILE).is_file():
        return lmdb_source(path)
    if path.is_dir():
        return folder_source(path)
    if path.is_file() and path.name == LMDB_FILE:
        return lmdb_source(path.parent)
    if path.is_file() and zipfile.is_zipfile(path):
        return zip_source(path)
    raise UsageError(f"{display(path)} is neither a folder of pictures, nor a zip of them, nor an LMDB data base")


def folder_source(folder: Path) -> Source:
    """With its sub-folders."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise UsageError(f"the folder {display(folder)} holds no pictures")
    labels = folder / LABELS_FILE
    known = labels_of(labels.read_bytes(), labels) if labels.is_file() else {}
    pictures = [Picture(path.relative_to(folder).as_posix(), path.read_bytes) for path in files]
    return Source(str(folder), len(pictures), lambda: iter(pictures), known)


def zip_source(path: Path) -> Source:
    """An archive; a member that is larger than pictures may be counts as one that cannot be read."""
    archive = zipfile.ZipFile(path)
    members = [info for info in archive.infolist() if Path(info.filename).suffix.lower() in SUFFIXES and not info.is_dir()]
    if not members:
        raise UsageError(f"{display(path)} holds no pictures")

    def reader(info: zipfile.ZipInfo) -> Callable[[], bytes]:
        def read() -> bytes:
            if info.file_size > MAX_FILE_BYTES:
                raise ValueError(f"declares {info.file_size / 1e9:.3g} GB")
            try:
                return archive.read(info)
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:  # damaged, packed otherwise, encrypted
                raise ValueError(str(error)) from None

        return read

    pictures = [Picture(info.filename, reader(info)) for info in sorted(members, key=lambda info: info.filename)]
    labels = next((info for info in archive.infolist() if info.filename == LABELS_FILE), None)
    known = {}
    if labels is not None and labels.file_size <= MAX_LABELS_BYTES:
        known = labels_of(archive.read(labels), path / LABELS_FILE)
    return Source(str(path), len(pictures), lambda: iter(pictures), known)


def lmdb_source(folder: Path) -> Source:
    """A data base whose values are picture files, as LSUN's are; names are the keys."""
    try:
        import lmdb
    except ImportError:
        raise MissingExtraError(
            f"{display(folder)} is an LMDB data base, which needs the extra 'lsun': pip install 'invert-gan[lsun]'"
        ) from None
    try:
        base: Any = lmdb.open(str(folder), readonly=True, lock=False, readahead=False, max_readers=1)
        with base.begin() as transaction:
            count = int(transaction.stat()["entries"])
    except lmdb.Error as error:
        raise UsageError(f"{display(folder)} is not an LMDB data base that can be read ({display(error, max_length=120)})") from None
    if not count:
        raise UsageError(f"the data base {display(folder)} holds no pictures")

    def pictures() -> Iterator[Picture]:
        with base.begin(buffers=False) as transaction, transaction.cursor() as cursor:
            for key, value in cursor:
                yield Picture(bytes(key).decode("utf-8", "backslashreplace"), partial(bytes, value))

    return Source(str(folder), count, pictures)


def labels_of(content: bytes, path: Path) -> dict[str, Label]:
    """name → class or vector, of a dataset.json; {} when it says that there are none. Raises UsageError for anything else."""
    try:
        entries = json.loads(content)["labels"]
    except (ValueError, KeyError, TypeError):
        raise UsageError(f'{display(path)} is not {{"labels": [[name, class], …]}}') from None
    if entries is None:
        return {}
    known: dict[str, Label] = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and _is_label(entry[1])):
            raise UsageError(f"{display(path)}: {display(json.dumps(entry), max_length=80)} is not [name, class]")
        known[entry[0].replace("\\", "/")] = entry[1]
    return known


def _is_label(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in value)
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
