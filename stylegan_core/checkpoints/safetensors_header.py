"""The header of a safetensors file, checked before the safetensors library sees the file.

Format: 8 bytes of length, a JSON object, then the tensors without gaps (github.com/huggingface/safetensors, README).
The library lets a name occur twice and reads headers of up to 100 MB; this does not.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from stylegan_core.checkpoints.tensor_view import (
    ITEM_BYTES,
    MAX_DIMENSIONS,
    TensorView,
    checked_view,
    contiguous_strides,
)
from stylegan_core.errors import CheckpointError, UnsafeCheckpointError
from stylegan_core.files import display

MAX_HEADER_BYTES = 4 << 20
MAX_NESTING = 32
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


@dataclass(frozen=True)
class SafetensorsHeader:
    """metadata: text → text. views: tensor name → view into the file."""

    metadata: dict[str, str]
    views: dict[str, TensorView]


def read_header(data: memoryview) -> SafetensorsHeader:
    """The header of the file `data`. Raises CheckpointError or UnsafeCheckpointError when it is damaged or hostile."""
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise UnsafeCheckpointError(f"the safetensors header claims {length} bytes; {MAX_HEADER_BYTES} are allowed")
    if length < 2 or 8 + length > len(data):
        raise CheckpointError("the safetensors header is longer than the file: it is truncated or damaged")
    entries = strict_json(bytes(data[8 : 8 + length]))
    if not isinstance(entries, dict):
        raise CheckpointError("the safetensors header is not a JSON object")
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError("the metadata of the safetensors header are not text")
    body = data[8 + length :]
    views = {name: _view(body, name, entry) for name, entry in entries.items()}
    _check_coverage(entries, len(body))
    return SafetensorsHeader(metadata, views)


def strict_json(text: bytes | str) -> Any:
    """JSON of a file that somebody brought: no name twice, no NaN or infinity, at most `MAX_NESTING` levels deep."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    _check_nesting(raw)
    try:
        return json.loads(raw, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise UnsafeCheckpointError("the JSON text is nested too deep; refused") from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are of this kind
        raise CheckpointError(f"the JSON text is damaged: {display(error, max_length=120)}") from None


def _check_nesting(raw: bytes) -> None:
    # Brackets inside of strings count too, which only makes this stricter; names of tensors have none.
    depth = 0
    for piece in raw.replace(b"[", b"{").split(b"{")[1:]:
        depth += 1 - piece.count(b"]") - piece.count(b"}")
        if depth > MAX_NESTING:
            raise UnsafeCheckpointError(f"the JSON text is nested deeper than {MAX_NESTING}; refused")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise UnsafeCheckpointError("the JSON text has a name twice; refused")
    return entries


def _refuse_constant(name: str) -> Any:
    raise CheckpointError(f"the JSON text has the value {name}, which JSON does not know")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise CheckpointError(f"the JSON text has a number too large for any use: {display(text, max_length=40)}")
    return value


def _view(body: memoryview, name: str, entry: Any) -> TensorView:
    shown = display(name, max_length=80)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"the entry of {shown!r} in the safetensors header is damaged")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise CheckpointError(f"{shown!r} has the type {display(dtype, max_length=20)!r}, which is not known")
    lists = isinstance(shape, list) and len(shape) <= MAX_DIMENSIONS and isinstance(offsets, list) and len(offsets) == 2
    if not lists or not all(type(number) is int and number >= 0 for number in (*shape, *offsets)):
        raise CheckpointError(f"{shown!r} has no valid shape or place in the safetensors header")
    start, end = offsets
    if start > end or end > len(body):
        raise CheckpointError(f"{shown!r} lies outside the file: it is truncated or damaged")
    if math.prod(shape) * ITEM_BYTES[_DTYPES[dtype]] != end - start:
        raise CheckpointError(f"{shown!r} has {end - start} bytes, which its shape {shape} of {dtype} does not need")
    sizes = tuple(shape)
    return checked_view(body[start:end], _DTYPES[dtype], 0, sizes, contiguous_strides(sizes))


def _check_coverage(entries: dict[str, Any], length: int) -> None:
    position = 0
    for start, end in sorted(tuple(entry["data_offsets"]) for entry in entries.values()):
        if start != position:
            raise UnsafeCheckpointError("tensors of the safetensors file overlap or leave a gap; refused")
        position = end
    if position != length:
        raise UnsafeCheckpointError("the safetensors file has bytes that no tensor covers; refused")
