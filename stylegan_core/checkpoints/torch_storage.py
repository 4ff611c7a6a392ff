"""Torch's two file layouts, zip archives and the older streams, and the tensors in them; read without torch.load.

Layouts: a zip archive of `data.pkl` and one record per storage (torch >= 1.6), or five pickles one after another
followed by the storages (before; NVIDIA's pickles hold one such stream per storage, through `_load_from_bytes`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stylegan_core.checkpoints.inert_pickle import read_pickle
from stylegan_core.checkpoints.inert_tree import (
    CHECKPOINT_NAMES,
    LOAD_FROM_BYTES,
    REBUILD_PARAMETER,
    REBUILD_TENSOR,
    STORAGE_NAMES,
    STORAGES,
    TORCH_SIZE,
    Name,
    Persistent,
    bytes_of,
    calls,
)
from stylegan_core.checkpoints.tensor_view import ITEM_BYTES, TensorView, array_view, checked_view
from stylegan_core.checkpoints.zip_records import ZipRecord, record_bytes
from stylegan_core.errors import CheckpointError, UnsafeCheckpointError
from stylegan_core.files import display

LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the pickle of 0x1950a86a20f9469cfc6c, protocol 2
_LEGACY_PROTOCOL = 1001
_NO_NAMES: frozenset[Name] = frozenset()


@dataclass(frozen=True)
class Storage:
    """The numbers that tensors are views of: bytes and their type."""

    data: memoryview
    dtype: str


class TensorReader:
    """Finds the tensors of one tree. Storages are looked up by `find_storage` once and kept."""

    def __init__(self, find_storage: Callable[[Any], Storage] | None = None) -> None:
        self._find_storage = find_storage
        self._streams: dict[int, tuple[Any, Storage]] = {}  # id of a record → the record (kept alive), its storage

    def view(self, node: Any) -> TensorView | None:
        """The tensor or array that a node stands for; None for a node that is neither."""
        if calls(node, REBUILD_PARAMETER):
            node = node.arguments[0] if node.arguments else None
        if not calls(node, *REBUILD_TENSOR):
            return array_view(node)
        if len(node.arguments) < 4:
            raise CheckpointError("a tensor in the file has no shape")
        storage = self._storage(node.arguments[0])
        shape = node.arguments[2]
        if calls(shape, TORCH_SIZE) and len(shape.arguments) == 1:
            shape = shape.arguments[0]
        return checked_view(storage.data, storage.dtype, node.arguments[1], shape, node.arguments[3])

    def _storage(self, node: Any) -> Storage:
        if isinstance(node, Persistent) and self._find_storage is not None:
            return self._find_storage(node.identifier)
        if not calls(node, LOAD_FROM_BYTES) or len(node.arguments) != 1:
            raise UnsafeCheckpointError("a tensor in the file has no storage; refused")
        if id(node) not in self._streams:
            data = bytes_of(node.arguments[0])
            if data is None:
                raise UnsafeCheckpointError("a tensor in the file has no storage; refused")
            self._streams[id(node)] = (node, _nested_storage(data))
        return self._streams[id(node)][1]


def read_zip(data: memoryview, records: dict[str, ZipRecord]) -> tuple[Any, TensorReader]:
    """A torch zip archive → (tree, reader of its tensors). records: what `read_records` found."""
    tops = {name.split("/", 1)[0] for name in records}
    if len(tops) != 1:
        raise UnsafeCheckpointError("the zip archive has more than one top folder; checkpoints have one; refused")
    top = tops.pop()
    if f"{top}/data.pkl" not in records:
        raise CheckpointError("the zip archive has no data.pkl, so it is not a torch checkpoint")
    order = records.get(f"{top}/byteorder")
    if order is not None and bytes(record_bytes(data, order)) != b"little":
        raise CheckpointError("the file was saved on a big-endian machine, which is not supported")
    pickle_data = record_bytes(data, records[f"{top}/data.pkl"])
    tree, end = read_pickle(pickle_data, CHECKPOINT_NAMES, persistent=[])
    if end != len(pickle_data):
        raise UnsafeCheckpointError("data.pkl has something behind its end; refused")
    known: dict[str, Storage] = {}

    def find_storage(identifier: Any) -> Storage:
        declared = _declared(identifier)
        if declared.key not in known:
            record = records.get(f"{top}/data/{declared.key}")
            if record is None:
                raise CheckpointError(f"corrupt {declared}: the archive does not hold it")
            if record.size != declared.nbytes:
                raise CheckpointError(f"corrupt {declared}: {record.size} bytes where {declared.nbytes} are declared")
            known[declared.key] = Storage(record_bytes(data, record), declared.dtype)
        return _part(known[declared.key], declared)

    return tree, TensorReader(find_storage)


def read_legacy(data: memoryview) -> tuple[Any, TensorReader, int]:
    """A torch stream of before version 1.6 → (tree, reader of its tensors, position behind its end)."""
    tree, storages, end = _stream(data, CHECKPOINT_NAMES)

    def find_storage(identifier: Any) -> Storage:
        declared = _declared(identifier)
        return _part(storages[declared.key], declared)

    return tree, TensorReader(find_storage), end


def _nested_storage(data: memoryview) -> Storage:
    # torch.storage._load_from_bytes: a whole stream whose tree is one reference to a storage.
    if bytes(data[: len(LEGACY_MAGIC)]) != LEGACY_MAGIC:
        raise UnsafeCheckpointError("a storage in the file is not a torch stream; refused")
    tree, storages, end = _stream(data, STORAGE_NAMES)
    if not isinstance(tree, Persistent) or end != len(data):
        raise UnsafeCheckpointError("a storage in the file holds something else; refused")
    declared = _declared(tree.identifier)
    return _part(storages[declared.key], declared)


def _stream(data: memoryview, allowed: frozenset[Name]) -> tuple[Any, dict[str, Storage], int]:
    # Magic number, protocol version, facts about the machine, tree, list of keys, and a count and numbers per key.
    _, position = read_pickle(data, _NO_NAMES)
    protocol, position = read_pickle(data, _NO_NAMES, start=position)
    machine, position = read_pickle(data, _NO_NAMES, start=position)
    if protocol != _LEGACY_PROTOCOL or not isinstance(machine, dict):
        raise CheckpointError("the file has a torch stream of an unknown version")
    if machine.get("little_endian") is not True:
        raise CheckpointError("the file was saved on a big-endian machine, which is not supported")
    references: list[Persistent] = []
    tree, position = read_pickle(data, allowed, start=position, persistent=references)
    declared = {storage.key: storage for storage in (_declared(reference.identifier) for reference in references)}
    keys, position = read_pickle(data, _NO_NAMES, start=position)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or set(keys) != set(declared):
        raise CheckpointError("the file has a torch stream whose list of storages is damaged")
    storages = {}
    for key in keys:
        count = int.from_bytes(data[position : position + 8], "little", signed=True)
        start, position = position + 8, position + 8 + declared[key].nbytes
        if count != declared[key].numel or position > len(data):
            raise CheckpointError(f"corrupt {declared[key]}: {count} numbers, or the file is truncated")
        storages[key] = Storage(data[start:position], declared[key].dtype)
    return tree, storages, position


@dataclass(frozen=True)
class _Declared:
    # What a reference to a storage says about it. part: (first number, count) when it stands for a part of it.
    key: str
    dtype: str
    numel: int
    part: tuple[int, int] | None

    @property
    def nbytes(self) -> int:
        return self.numel * ITEM_BYTES[self.dtype]

    def __str__(self) -> str:
        return f"storage data/{display(self.key, max_length=40)}"


def _declared(identifier: Any) -> _Declared:
    # ('storage', type, key, device, count) and in old files a sixth value, (key, first, count) or None.
    if not isinstance(identifier, tuple) or len(identifier) not in (5, 6) or identifier[0] != "storage":
        raise UnsafeCheckpointError("the file refers to something that is not a storage; refused")
    kind, key, _, numel = identifier[1:5]
    if not isinstance(kind, Name) or kind not in STORAGES or not isinstance(key, str):
        raise UnsafeCheckpointError("the file refers to a storage of an unknown type; refused")
    if type(numel) is not int or numel < 0:
        raise CheckpointError("corrupt storage: its count is not a whole number")
    part = identifier[5] if len(identifier) == 6 else None
    if part is not None:
        if not isinstance(part, tuple) or len(part) != 3 or not all(type(number) is int for number in part[1:]):
            raise CheckpointError("corrupt storage: it is a part of nothing")
        part = part[1:]
    return _Declared(key, STORAGES[kind], numel, part)


def _part(storage: Storage, declared: _Declared) -> Storage:
    if storage.dtype != declared.dtype or len(storage.data) != declared.nbytes:
        raise UnsafeCheckpointError(f"corrupt {declared}: the file describes it in two ways; refused")
    if declared.part is None:
        return storage
    first, count = declared.part
    if first < 0 or count < 0 or first + count > declared.numel:
        raise CheckpointError(f"corrupt {declared}: a part of it lies outside")
    size = ITEM_BYTES[storage.dtype]
    return Storage(storage.data[first * size : (first + count) * size], storage.dtype)
