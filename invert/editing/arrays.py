"""Arrays in files that people bring, .npy, .npz and torch's .pt, read as data: nothing in them is executed."""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from stylegan_core.checkpoints.contents import open_contents
from stylegan_core.checkpoints.inert_tree import mapping_of
from stylegan_core.errors import CheckpointError, DirectionError
from stylegan_core.files import display

MAX_BYTES = 1 << 30  # of one array
WHOLE = ""  # the key of a file that is one array


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Name → float32 or integer array; a file that is one array has the name ''. Raises DirectionError in one line."""
    name = display(Path(path))
    try:
        with open(path, "rb") as file:
            head = file.read(8)
            if head[:6] == b"\x93NUMPY":
                file.seek(0)
                return {WHOLE: _read_npy(file, os.fstat(file.fileno()).st_size)}
        if head[:4] == b"PK\x03\x04" and _holds_npy(path):
            return _read_npz(path)
        contents = open_contents(path)
        found = _tensors(contents)
    except OSError as error:
        raise DirectionError(f"cannot read {name}: {error.strerror or type(error).__name__}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError) as error:
        raise DirectionError(f"{name} is damaged or holds no plain numbers ({display(error, max_length=120)})") from None
    except CheckpointError as error:
        raise DirectionError(str(error)) from None
    if not found:
        raise DirectionError(f"{name} holds no arrays")
    return found


def _tensors(contents: Any) -> dict[str, np.ndarray]:
    """Tensors of a pickle: one alone, or the tensors and arrays of a dictionary."""
    if contents.header is not None:
        return {key: view.to_tensor().numpy() for key, view in contents.header.views.items()}
    alone = contents.tensors.view(contents.tree)
    if alone is not None:
        return {WHOLE: alone.to_tensor().numpy()}
    found = {}
    entries = mapping_of(contents.tree) or {}
    entries = mapping_of(entries.get("state_dict")) or entries
    for key, node in entries.items():
        view = contents.tensors.view(node)
        if view is not None:
            found[str(key)] = view.to_tensor().numpy()
    return found


def _read_npy(file: BinaryIO, num_bytes: int) -> np.ndarray:
    """The header's claims are compared with the length before anything is allocated."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"npy version {version} is not known")
    shape, is_fortran, dtype = readers[version](file)
    if dtype.kind not in "fiu" or dtype.hasobject:
        raise ValueError(f"the type {dtype} is no plain number")
    size = math.prod(shape) * dtype.itemsize
    if size != num_bytes - file.tell() or size > MAX_BYTES:
        raise ValueError(f"the shape {shape} does not fit its length")
    array = np.frombuffer(file.read(size), dtype).reshape(shape, order="F" if is_fortran else "C")
    return array.astype(np.float32) if dtype.kind == "f" else array.astype(np.int64)


def _holds_npy(path: str | os.PathLike[str]) -> bool:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def _read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
            raise ValueError(f"its arrays are larger than {MAX_BYTES} bytes together")
        for member in archive.infolist():
            with archive.open(member) as file:
                data = file.read(member.file_size)
            arrays[member.filename[: -len(".npy")]] = _read_npy(io.BytesIO(data), len(data))
    return arrays
