"""From a path to what the file holds: told by magic bytes and structure, never by the suffix."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylegan_core.checkpoints.inert_pickle import read_pickle
from stylegan_core.checkpoints.inert_tree import CHECKPOINT_NAMES
from stylegan_core.checkpoints.relative_names import raise_if_named
from stylegan_core.checkpoints.safetensors_header import SafetensorsHeader, read_header
from stylegan_core.checkpoints.torch_storage import LEGACY_MAGIC, TensorReader, read_legacy, read_zip
from stylegan_core.checkpoints.zip_records import read_records
from stylegan_core.errors import CheckpointError, InvertError, UnknownCheckpointError, UnsafeCheckpointError
from stylegan_core.files import display
from stylegan_core.provenance import bytes_sha256

_FOREIGN = (
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ", "an xz archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"Rar!", "a rar archive: unpack it first"),
    (b"\x89HDF", "an HDF5 file (Keras?), which is not supported"),
    (b"\x93NUMPY", "a NumPy array, not a network"),
    (b"\x89PNG", "a PNG picture, not a network"),
    (b"\xff\xd8\xff", "a JPEG picture, not a network"),
    (b"GIF8", "a GIF picture, not a network"),
    (b"RIFF", "a RIFF file (WebP, WAV?), not a network"),
    (b"%PDF", "a PDF document, not a network"),
    (b"version https://git-lfs", "a Git LFS pointer, not the weights: run `git lfs pull`, or download the file itself"),
)
_PICKLE_STARTS = b"\x80(c]}i"  # the protocol, or what a pickle of protocol 0 or 1 begins with


@dataclass
class Contents:
    """An opened file.

    container: 'safetensors', 'pickle', 'torch-zip' or 'torch-stream'. tree: the inert tree of a pickle (see
    `inert_pickle`), None for safetensors. tensors: finds the tensors of the tree. header: of safetensors, else None.
    warnings: plain sentences about what is odd in the file but did not keep it from being read.
    """

    path: Path
    data: memoryview
    container: str
    tree: Any = None
    tensors: TensorReader = field(default_factory=TensorReader)
    header: SafetensorsHeader | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.data)

    def sha256(self) -> str:
        """SHA-256 of the file's bytes."""
        return bytes_sha256(self.data)


def open_contents(path: str | os.PathLike[str]) -> Contents:
    """Opens and parses a file without executing anything from it; tensors stay views of the mapped file.

    Raises CheckpointError (missing, empty, truncated), UnknownCheckpointError (not a checkpoint; the message says what
    it looks like) or UnsafeCheckpointError, each naming the file.
    """
    target = Path(path)
    try:
        data = _map(target)
        try:
            return parse_contents(target, data)
        except UnsafeCheckpointError:
            raise_if_named(data)
            raise
    except InvertError as error:
        raise type(error)(f"{display(target)}: {error}") from None


def _map(path: Path) -> memoryview:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        code = error.errno or 0
        reasons = {errno.ENOENT: "no such file", errno.EACCES: "permission denied", errno.EISDIR: "is a folder"}
        raise CheckpointError(reasons.get(code, f"cannot be opened ({os.strerror(code)})")) from None
    try:
        facts = os.fstat(descriptor)
        if stat.S_ISDIR(facts.st_mode):
            raise CheckpointError("is a folder; give the file in it")
        if not stat.S_ISREG(facts.st_mode):
            raise CheckpointError("is a device or a pipe, not a file")
        try:
            return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) if facts.st_size else b"")
        except (OSError, ValueError):  # some network file systems do not map files
            with open(descriptor, "rb", closefd=False) as file:
                return memoryview(file.read())
    except OSError as error:
        raise CheckpointError(f"cannot be read ({error.strerror or type(error).__name__})") from None
    finally:
        os.close(descriptor)


def parse_contents(path: Path, data: memoryview) -> Contents:
    """The contents of bytes in memory; `path` is only kept. Raises as `open_contents`, without naming the file."""
    head = bytes(data[:512])
    if not head:
        raise CheckpointError("is empty (0 bytes): the download failed?")
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        records = read_records(data)
        if records and all(name.endswith(".npy") for name in records):
            raise UnknownCheckpointError("holds NumPy arrays (a projected_w.npz?), not a network")
        tree, tensors = read_zip(data, records)
        return Contents(path, data, "torch-zip", tree, tensors)
    if head.startswith(LEGACY_MAGIC):
        tree, tensors, end = read_legacy(data)
        contents = Contents(path, data, "torch-stream", tree, tensors)
        _note_trailing(contents, end)
        return contents
    foreign = _what_it_looks_like(head)
    if foreign:
        raise UnknownCheckpointError(f"is {foreign}")
    if _may_be_safetensors(head):
        return Contents(path, data, "safetensors", header=read_header(data))
    if head[0] not in _PICKLE_STARTS:
        raise UnknownCheckpointError(f"is of no known kind; it begins with {head[:8]!r}")
    tree, end = read_pickle(data, CHECKPOINT_NAMES)
    contents = Contents(path, data, "pickle", tree)
    _note_trailing(contents, end)
    return contents


def _what_it_looks_like(head: bytes) -> str | None:
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            return what
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        return "a web page, not weights: the address gave a page (login, quota, error); download it with a browser"
    if text.startswith(b"{") and not _may_be_safetensors(head):
        shown = display(head[:80].decode("utf-8", "backslashreplace"), max_length=80)
        return f"a JSON text, not weights (an error message of a server?): {shown}"
    return None


def _may_be_safetensors(head: bytes) -> bool:
    # Eight bytes of header length, most of them 0, then JSON.
    return head[8:9] in (b"{", b"[") and b"\0" in head[:8]


def _note_trailing(contents: Contents, end: int) -> None:
    rest = contents.data[end:]
    if not len(rest):
        return
    if rest[0] in b"\x80c(]}" or b"PK\x05\x06" in bytes(rest[-65_557:]):
        raise UnsafeCheckpointError("holds a second file behind the first; refused")
    contents.warnings.append(f"{len(rest)} bytes behind the end of the file's data were ignored")
