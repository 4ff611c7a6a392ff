"""Tensors of other code under our names: a table of entries, each with the order of axes and the change of the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from stylegan_core.checkpoints.tensor_view import TensorView
from stylegan_core.errors import CheckpointError
from stylegan_core.files import display

Change = Callable[[Tensor], Tensor]
DENSE = (1, 0)          # [in, out] → [out, in]
KERNEL = (3, 2, 0, 1)   # [h, w, in, out] → [out, in, h, w]
NO_BATCH = (1, 2, 3)    # [1, C, H, W] → [C, H, W]
MAP = (2, 3)            # [1, 1, H, W] → [H, W]


@dataclass(frozen=True)
class Entry:
    """One tensor under both names.

    ours: None = known, and not needed. axes: theirs for each of ours; those that are left out have size 1; () = all in their order.
    change: of the numbers, after the axes are in our order; None = they are the same.
    """

    theirs: str
    ours: str | None
    axes: tuple[int, ...] = ()
    change: Change | None = None


@dataclass
class Renamed:
    """What was found: our name → view, change and the file's own name."""

    views: dict[str, TensorView] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


def renamed(views: Mapping[str, TensorView], table: Iterable[Entry]) -> Renamed:
    """Views under our names and in our order of axes. Raises CheckpointError for a name that the table has not, and for axes."""
    entries = {entry.theirs: entry for entry in table}
    found = Renamed(names={entry.ours: entry.theirs for entry in entries.values() if entry.ours is not None})
    unknown = [name for name in views if name not in entries]
    if unknown:
        raise CheckpointError(f"{display(unknown[0], max_length=80)!r} does not belong to this network ({len(unknown)} unexpected)")
    for name, view in views.items():
        entry = entries[name]
        if entry.ours is None:
            continue
        found.views[entry.ours] = reordered(view, entry.axes, name) if entry.axes else view
        if entry.change is not None:
            found.changes[entry.ours] = entry.change
    return found


def reordered(view: TensorView, axes: tuple[int, ...], name: str) -> TensorView:
    """The view with these axes, in this order; those that are left out must have size 1."""
    left_out = [size for axis, size in enumerate(view.shape) if axis not in axes]
    if max(axes) >= len(view.shape) or any(size != 1 for size in left_out):
        raise CheckpointError(f"{display(name, max_length=80)!r} has the shape {list(view.shape)}, which does not fit its place")
    return replace(view, shape=tuple(view.shape[axis] for axis in axes), strides=tuple(view.strides[axis] for axis in axes))


def number_in(view: TensorView, name: str) -> float:
    """The one number of a tensor, of any number of axes. Raises CheckpointError for none and for several."""
    if view.numel != 1:
        raise CheckpointError(f"{display(name, max_length=80)!r} has the shape {list(view.shape)}; one number is expected")
    return float(view.to_tensor().flatten()[0])


def zeros(width: int) -> TensorView:
    """[width] zeros, for a bias that the other code does not have."""
    return TensorView(memoryview(bytes(4 * width)), "float32", (width,), (1,), 0)


def flipped(kernel: Tensor) -> Tensor:
    """[out, in, h, w] turned by 180°: for code that upsamples by a transposed convolution."""
    return kernel.flip([2, 3])


def plus_one(bias: Tensor) -> Tensor:
    """For code that adds 1 to a style where ours has it in the bias."""
    return bias + 1


def minus_one(bias: Tensor) -> Tensor:
    """The opposite, for the scale part alone: the first half of a bias [2C] of scales and shifts."""
    half = len(bias) // 2
    shift = bias.new_zeros(len(bias))
    shift[:half] = 1
    return bias - shift


def over_root_two(bias: Tensor) -> Tensor:
    """For code that has the gain √2 of an activation in the weights: act(√2·x + b) = √2·act(x + b/√2)."""
    return bias / math.sqrt(2)


def scaled(factor: float) -> Change:
    """The numbers times a factor."""
    return lambda tensor: tensor * factor
