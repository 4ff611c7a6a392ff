"""Tensors of a file into a network: names, shapes, types and numbers are checked, and what is wrong is named as the file names it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from stylegan_core.checkpoints.contents import Contents
from stylegan_core.checkpoints.inert_tree import mapping_of
from stylegan_core.checkpoints.tensor_view import FLOATING, TensorView, check_total
from stylegan_core.errors import CheckpointError, UnsafeCheckpointError
from stylegan_core.files import display

COUNTER = "num_batches_tracked"  # of batch normalisation: nothing depends on it
MAX_TENSORS = 20_000
SLACK = 1 << 22  # numbers: what a network may have beside those of the file, while it is built
_PREFIX = "module."  # what torch's DistributedDataParallel puts before every name
_FILLING = (torch.Tensor.uniform_, torch.Tensor.normal_, torch.Tensor.zero_, torch.Tensor.fill_)
_MAKING = (torch.empty, torch.zeros, torch.ones, torch.randn, torch.full)


class _Unfilled(TorchFunctionMode):
    # Inside, layers are made without random numbers and, beyond a number of elements, not at all.

    def __init__(self, max_elements: int) -> None:
        super().__init__()
        self.left = max_elements

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _MAKING:
            shape = args[0] if args and isinstance(args[0], (tuple, list, torch.Size)) else args
            self.left -= math.prod(size for size in shape if isinstance(size, int))
            if self.left < 0:
                raise CheckpointError("the configuration asks for a much larger network than the file holds")
            return torch.empty(shape) if func is torch.randn else func(*args, **(kwargs or {}))
        return args[0] if func in _FILLING else func(*args, **(kwargs or {}))


def unfilled(build: Callable[[], nn.Module], max_elements: int) -> Any:
    """What `build` makes, with memory that nothing was written to."""
    with _Unfilled(max_elements + SLACK), torch.no_grad():
        return build()


def tensors_of(contents: Contents, node: Any, what: str) -> dict[str, TensorView]:
    """The tensors of a state dictionary in a file; other entries are an error. what: how errors call it."""
    entries = mapping_of(node)
    if entries is None:
        raise CheckpointError(f"{what} is not a state dictionary")
    if len(entries) > MAX_TENSORS:
        raise UnsafeCheckpointError(f"{what} has more than {MAX_TENSORS} entries; refused")
    has_prefix = bool(entries) and all(str(name).startswith(_PREFIX) for name in entries)
    views = {}
    for name, value in entries.items():
        view = contents.tensors.view(value)
        if view is None or not isinstance(name, str):
            raise CheckpointError(f"{display(name, max_length=80)!r} in {what} is not a tensor")
        views[name.removeprefix(_PREFIX) if has_prefix else name] = view
    return views


def below(views: Mapping[str, TensorView], prefix: str) -> dict[str, TensorView]:
    """Those whose names begin with the prefix, without it."""
    return {name[len(prefix) :]: view for name, view in views.items() if name.startswith(prefix)}


def fill(module: Any, views: Mapping[str, TensorView], file_bytes: int, *, ours: Callable[[str], str] = lambda name: name,
         prefix: str = "") -> None:
    """Loads a network strictly. ours: a name of the file → the network's. prefix: what the file has before its names, for errors.

    Raises CheckpointError in one line: the first problem, under the file's name, and how many there are of each kind.
    """
    check_total(dict(views), file_bytes)
    expected = {name: value for name, value in module.state_dict().items() if not name.endswith(COUNTER)}
    given = {ours(name): (name, view) for name, view in views.items() if not name.endswith(COUNTER)}
    _check(expected, given, ours, prefix)
    state = {}
    for name, (theirs, view) in given.items():
        state[name] = view.to_tensor()
        if not torch.isfinite(state[name]).all():
            raise CheckpointError(f"{prefix + theirs!r} holds values that are not finite (NaN or infinity)")
    for name, value in module.state_dict().items():
        if name.endswith(COUNTER):
            state[name] = torch.zeros_like(value)
    module.load_state_dict(state, strict=True, assign=True)


def _check(expected: Mapping[str, Tensor], given: Mapping[str, tuple[str, TensorView]], ours: Callable[[str], str], prefix: str) -> None:
    missing = [name for name in expected if name not in given]
    unexpected = [theirs for name, (theirs, _) in given.items() if name not in expected]
    wrong = [name for name, (_, view) in given.items() if name in expected and view.shape != tuple(expected[name].shape)]
    mistyped = [theirs for theirs, view in given.values() if view.dtype not in FLOATING]
    if not (missing or unexpected or wrong or mistyped):
        return
    if missing:
        first = f"{prefix + _theirs(missing[0], ours)!r} is missing"
    elif wrong:
        theirs, view = given[wrong[0]]
        first = f"{prefix + theirs!r} has the shape {list(view.shape)}; {list(expected[wrong[0]].shape)} is needed"
    elif mistyped:
        first = f"{display(prefix + mistyped[0])!r} does not hold floating-point numbers"
    else:
        first = f"{display(prefix + unexpected[0])!r} does not belong to this network"
    counts = f"{len(missing)} missing, {len(unexpected)} unexpected, {len(wrong)} of a wrong shape"
    raise CheckpointError(f"{first} ({counts}, {len(mistyped)} of a wrong type)")


def _theirs(name: str, ours: Callable[[str], str]) -> str:
    # Tables of names only drop leading parts, so the file's name is the longest end that becomes ours.
    parts = name.split(".")
    for start in range(len(parts)):
        candidate = ".".join(parts[start:])
        if ours(candidate) == name:
            return candidate
    return name
