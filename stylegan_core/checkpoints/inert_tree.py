"""What the records of a pickle mean: the few names that checkpoints need, and plain values out of them.

Nothing here imports or calls what a file names. Every walk has a budget, because a tree may contain itself or name one
node a thousand times.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from stylegan_core.errors import CheckpointError, UnsafeCheckpointError

MAX_ENTRIES = 100_000  # of one plain value


@dataclass(frozen=True)
class Name:
    """A function or class that a pickle refers to, by name only."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Call:
    """The record of a call or of an object: never executed.

    function: what is named; arguments: a tuple of nodes; state: what BUILD set or None; entries: keys and values that
    were set; members: values that were appended.
    """

    __slots__ = ("arguments", "entries", "function", "members", "state")

    def __init__(self, function: Name, arguments: tuple[Any, ...]) -> None:
        self.function = function
        self.arguments = arguments
        self.state: Any = None
        self.entries: dict[Any, Any] = {}
        self.members: list[Any] = []


class Persistent:
    """A reference to data outside the pickle (torch: a storage)."""

    __slots__ = ("identifier",)

    def __init__(self, identifier: Any) -> None:
        self.identifier = identifier


# The names that checkpoints need.

ORDERED_DICT = Name("collections", "OrderedDict")
EASY_DICTS = (Name("dnnlib.util", "EasyDict"), Name("dnnlib", "EasyDict"))
SETS = (Name("builtins", "set"), Name("__builtin__", "set"))
NAMESPACE = Name("argparse", "Namespace")
PATHS = tuple(Name("pathlib", name) for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"))
NETWORKS = (Name("dnnlib.tflib.network", "Network"),)
PERSISTENT_OBJECT = Name("torch_utils.persistence", "_reconstruct_persistent_obj")
LATIN_BYTES = Name("_codecs", "encode")

NUMPY_RECONSTRUCT = (Name("numpy.core.multiarray", "_reconstruct"), Name("numpy._core.multiarray", "_reconstruct"))
NUMPY_SCALAR = (Name("numpy.core.multiarray", "scalar"), Name("numpy._core.multiarray", "scalar"))
NUMPY_ARRAY = Name("numpy", "ndarray")
NUMPY_DTYPE = Name("numpy", "dtype")

REBUILD_TENSOR = (Name("torch._utils", "_rebuild_tensor_v2"), Name("torch._utils", "_rebuild_tensor"))
REBUILD_PARAMETER = Name("torch._utils", "_rebuild_parameter")
LOAD_FROM_BYTES = Name("torch.storage", "_load_from_bytes")
TORCH_SIZE = Name("torch", "Size")
TORCH_DEVICE = Name("torch", "device")
STORAGES: dict[Name, str] = {
    Name("torch", f"{prefix}Storage"): dtype
    for prefix, dtype in {
        "Float": "float32",
        "Double": "float64",
        "Half": "float16",
        "BFloat16": "bfloat16",
        "Long": "int64",
        "Int": "int32",
        "Short": "int16",
        "Char": "int8",
        "Byte": "uint8",
        "Bool": "bool",
    }.items()
}

STORAGE_NAMES = frozenset(STORAGES)
CHECKPOINT_NAMES = STORAGE_NAMES.union(
    (ORDERED_DICT, *EASY_DICTS, *SETS, NAMESPACE, *PATHS, *NETWORKS, PERSISTENT_OBJECT, LATIN_BYTES),
    (*NUMPY_RECONSTRUCT, *NUMPY_SCALAR, NUMPY_ARRAY, NUMPY_DTYPE),
    (*REBUILD_TENSOR, REBUILD_PARAMETER, LOAD_FROM_BYTES, TORCH_SIZE, TORCH_DEVICE),
)

_SCALAR_FORMATS = {
    "f2": "<e", "f4": "<f", "f8": "<d", "b1": "<?",
    "i1": "<b", "i2": "<h", "i4": "<i", "i8": "<q", "u1": "<B", "u2": "<H", "u4": "<I", "u8": "<Q",
}  # fmt: skip


def calls(node: Any, *names: Name) -> bool:
    """Whether `node` is a record of one of these names."""
    return isinstance(node, Call) and node.function in names


def mapping_of(node: Any) -> dict[Any, Any] | None:
    """The entries of a dict, OrderedDict, EasyDict or Namespace, in their order; None for anything else.

    An object whose attributes were overwritten (an OrderedDict with another `items`) is an UnsafeCheckpointError.
    """
    if isinstance(node, dict):
        return node
    if calls(node, NAMESPACE):
        return node.state if isinstance(node.state, dict) else {}
    if not calls(node, ORDERED_DICT, *EASY_DICTS):
        return None
    if node.state is not None and not (isinstance(node.state, dict) and set(node.state) <= {"_metadata"}):
        raise UnsafeCheckpointError("the file overwrites attributes of a dictionary; refused")
    if node.arguments:
        node.entries, node.arguments = _pairs(node), ()
    return node.entries


def _pairs(node: Call) -> dict[Any, Any]:
    # Python 2 and very old files: OrderedDict([[key, value], …]).
    entries = dict(node.entries)
    listed = node.arguments[0]
    if isinstance(listed, dict):
        listed = list(listed.items())
    for pair in listed if isinstance(listed, (list, tuple)) else ():
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], (str, int))):
            raise CheckpointError("the file has an ordered dictionary that is not made of pairs")
        entries[pair[0]] = pair[1]
    return entries


def bytes_of(node: Any) -> memoryview | None:
    """The bytes that a node stands for, as a view where it can be one; None for anything else."""
    if isinstance(node, memoryview):
        return node
    if isinstance(node, str):  # bytes of Python 2, read as Latin-1
        return _latin(node)
    if calls(node, LATIN_BYTES) and len(node.arguments) == 2 and node.arguments[1] in ("latin1", "latin-1"):
        return _latin(node.arguments[0])  # how protocol 2 spells bytes
    return None


def _latin(text: Any) -> memoryview | None:
    try:
        return memoryview(text.encode("latin-1")) if isinstance(text, str) else None
    except UnicodeEncodeError:
        return None


def number_of(node: Any) -> bool | int | float | None:
    """A Python or NumPy scalar as a Python number; None for anything else."""
    if isinstance(node, (bool, int, float)):
        return node
    if calls(node, *NUMPY_SCALAR) and len(node.arguments) == 2:
        layout, data = _SCALAR_FORMATS.get(dtype_code(node.arguments[0]) or ""), bytes_of(node.arguments[1])
        if layout and data is not None and len(data) == struct.calcsize(layout):
            return struct.unpack(layout, data)[0]
    return None


def dtype_code(node: Any) -> str | None:
    """'f4' and its kind for the record of a little-endian NumPy dtype; None for anything else (objects, records)."""
    if not calls(node, NUMPY_DTYPE) or not node.arguments or not isinstance(node.arguments[0], str):
        return None
    code = node.arguments[0]
    order = node.state[1] if isinstance(node.state, tuple) and len(node.state) > 1 else "<"
    return code if code in _SCALAR_FORMATS and order in ("<", "|", "=") else None


def plain_value(node: Any, *, max_entries: int = MAX_ENTRIES) -> Any:
    """Settings as JSON-ready values: numbers, text, None, lists, dictionaries with text keys.

    What is none of these (a tensor, an object) becomes the text '<…>'. Raises UnsafeCheckpointError when the value is
    larger than `max_entries` or nested deeper than 32, as one that contains itself is.
    """
    budget = [max_entries]
    return _plain(node, budget, 0)


def _plain(node: Any, budget: list[int], depth: int) -> Any:
    budget[0] -= 1
    if budget[0] < 0 or depth > 32:
        raise UnsafeCheckpointError("a setting in the file is endless or far too large; refused")
    if node is None or isinstance(node, str):
        return node
    number = number_of(node)
    if number is not None:
        return number
    entries = mapping_of(node)
    if entries is not None:
        return {str(key): _plain(value, budget, depth + 1) for key, value in entries.items()}
    if isinstance(node, (list, tuple)):
        return [_plain(value, budget, depth + 1) for value in node]
    if calls(node, *PATHS):
        return "/".join(part for part in node.arguments if isinstance(part, str))
    if calls(node, *SETS, TORCH_SIZE) and node.arguments:
        return _plain(node.arguments[0], budget, depth + 1)
    if calls(node, TORCH_DEVICE) and node.arguments and isinstance(node.arguments[0], str):
        return node.arguments[0]
    return f"<{node.function}>" if isinstance(node, Call) else "<bytes>"
