"""Tensors of a file as bounds-checked views of its bytes: nothing is copied before its shape is known to be wanted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stylegan_core.checkpoints.inert_tree import NUMPY_ARRAY, NUMPY_RECONSTRUCT, NUMPY_SCALAR, bytes_of, calls, dtype_code
from stylegan_core.errors import CheckpointError, UnsafeCheckpointError
from stylegan_core.files import display

if TYPE_CHECKING:
    from torch import Tensor

MAX_DIMENSIONS = 8
MIN_TENSOR_BYTES_LIMIT = 4 << 30

ITEM_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip
_NUMPY_DTYPES = {
    "f8": "float64", "f4": "float32", "f2": "float16",
    "i8": "int64", "i4": "int32", "i2": "int16", "i1": "int8", "u1": "uint8", "b1": "bool",
}  # fmt: skip
FLOATING = ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True, eq=False)
class TensorView:
    """A strided view of bytes in a file.

    data: the bytes of the whole storage, little-endian; shape, strides, offset: in elements. It is made by
    `checked_view`, so every element lies inside `data`.
    """

    data: memoryview
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """What a contiguous copy in the file's precision takes."""
        return self.numel * ITEM_BYTES[self.dtype]

    def to_tensor(self) -> Tensor:
        """A contiguous copy in memory of its own: float32 for every floating-point type, else the file's type."""
        import numpy as np
        import torch

        if self.numel == 0:
            return torch.zeros(self.shape, dtype=getattr(torch, "float32" if self.dtype in FLOATING else self.dtype))
        stored = np.dtype({"bfloat16": "u2", "bool": "u1"}.get(self.dtype, self.dtype)).newbyteorder("<")
        flat = np.frombuffer(self.data, dtype=stored, count=len(self.data) // ITEM_BYTES[self.dtype])[self.offset :]
        strides = tuple(stride * flat.itemsize for stride in self.strides)
        view = np.lib.stride_tricks.as_strided(flat, self.shape, strides, writeable=False)
        if self.dtype == "bfloat16":  # the upper half of a float32
            return torch.from_numpy((np.array(view, dtype=np.uint32, order="C") << 16).view(np.float32))
        if self.dtype in FLOATING:
            with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, which the loader refuses by name
                return torch.from_numpy(np.array(view, dtype=np.float32, order="C"))
        return torch.from_numpy(view != 0 if self.dtype == "bool" else np.array(view, order="C"))


def checked_view(data: memoryview, dtype: str, offset: Any, shape: Any, strides: Any) -> TensorView:
    """A view whose every element lies inside `data`; overlapping elements are legal, as in torch.

    offset, shape, strides: in elements, as a file declares them. Raises CheckpointError for a view that leaves its
    storage or is not one at all.
    """
    if dtype not in ITEM_BYTES:
        raise CheckpointError(f"a tensor of the type {dtype!r} cannot be read")
    if not isinstance(shape, tuple) or not isinstance(strides, tuple) or len(shape) != len(strides):
        raise CheckpointError("a tensor in the file has no valid shape")
    numbers = (offset, *shape, *strides)
    if len(shape) > MAX_DIMENSIONS or not all(type(number) is int for number in numbers):
        raise CheckpointError(f"a tensor in the file has no valid shape ({MAX_DIMENSIONS} whole numbers at most)")
    if min(numbers) < 0:
        raise CheckpointError("a tensor in the file has a negative size, stride or offset")
    if math.prod(max(size, 1) for size in shape) >= 1 << 62:
        raise UnsafeCheckpointError("a tensor in the file has more elements than any memory; refused")
    strides = tuple(stride if size > 1 else 0 for size, stride in zip(shape, strides))
    view = TensorView(data, dtype, shape, strides, offset)
    if view.numel:
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides))
        held = len(data) // ITEM_BYTES[dtype]
        if last >= held:
            raise CheckpointError(f"a tensor in the file reaches element {last} of a storage of {held}")
    return view


def contiguous_strides(shape: tuple[int, ...], *, is_fortran: bool = False) -> tuple[int, ...]:
    """Strides in elements of an array without gaps, last index fastest (`is_fortran`: first index fastest)."""
    strides, step = [], 1
    for size in shape if is_fortran else reversed(shape):
        strides.append(step)
        step *= size
    return tuple(strides if is_fortran else reversed(strides))


def array_view(node: Any) -> TensorView | None:
    """The view of a pickled NumPy array; None for any other node. Arrays of objects are an UnsafeCheckpointError."""
    if not calls(node, *NUMPY_RECONSTRUCT):
        return None
    arguments, state = node.arguments, node.state
    if not arguments or arguments[0] != NUMPY_ARRAY or not isinstance(state, tuple) or len(state) != 5:
        raise UnsafeCheckpointError("the file has an array that NumPy would not write; refused")
    _, shape, dtype, is_fortran, data = state
    code, view = dtype_code(dtype), bytes_of(data)
    if code not in _NUMPY_DTYPES or view is None:
        raise UnsafeCheckpointError("the file has an array that does not hold plain little-endian numbers; refused")
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise CheckpointError("an array in the file has no valid shape")
    strides = contiguous_strides(shape, is_fortran=is_fortran is True)
    record = checked_view(view, _NUMPY_DTYPES[code], 0, shape, strides)
    if record.nbytes != len(view):
        raise CheckpointError(f"an array in the file has {len(view)} bytes where its shape needs {record.nbytes}")
    return record


def scalar_view(node: Any) -> TensorView | None:
    """The view, of no axes, of a pickled NumPy scalar; None for any other node."""
    if not calls(node, *NUMPY_SCALAR) or len(node.arguments) != 2:
        return None
    code, view = dtype_code(node.arguments[0]), bytes_of(node.arguments[1])
    if code not in _NUMPY_DTYPES or view is None:
        raise UnsafeCheckpointError("the file has a number that is no plain little-endian one; refused")
    return checked_view(view, _NUMPY_DTYPES[code], 0, (), ())


def check_total(views: dict[str, TensorView], file_bytes: int) -> None:
    """Raises UnsafeCheckpointError when copies of all views (as float32) take more than 4 GiB and twice the file."""
    limit = max(MIN_TENSOR_BYTES_LIMIT, 2 * file_bytes)
    total = 0
    for name, view in views.items():
        total += view.numel * max(4, ITEM_BYTES[view.dtype])
        if total > limit:
            need = f"{total / 2**30:.1f} GiB out of a file of {file_bytes} bytes"
            raise UnsafeCheckpointError(f"the tensors up to {display(name)!r} would take {need}; refused")
