"""Who made this: hashes of models and files, and the version of the toolkit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

_CHUNK_BYTES = 1 << 20


@lru_cache(maxsize=1)
def version() -> str:
    """The version of the installed distribution; '0+unknown' when the source runs without being installed."""
    try:
        return metadata.version("invert-gan")
    except metadata.PackageNotFoundError:
        return "0+unknown"


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits; it is read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def bytes_sha256(data: bytes | memoryview) -> str:
    """SHA-256 of bytes in memory, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def model_sha256(model: nn.Module | Mapping[str, Tensor]) -> str:
    """SHA-256 of a network's state: sorted (name, dtype, shape, bytes), floating-point tensors taken as float32.

    model: a module or its native state. A converted file is the same model, so it has the same hash; the hash of the
    file itself is `file_sha256`.
    """
    state: Mapping[str, Any] = model if isinstance(model, Mapping) else model.state_dict()
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).contiguous().numpy()
        little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name}\0{array.dtype.name}\0{tuple(array.shape)}\0".encode())
        digest.update(little_endian.reshape(-1).view("uint8").data)
    return digest.hexdigest()
