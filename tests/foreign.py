"""States of our networks under the names, axes and scales of other code: the tables of `renaming`, turned round."""

from __future__ import annotations

import math
import pickle
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stylegan_core.checkpoints.renaming import Change, Entry, flipped, over_root_two, plus_one

BACK: Mapping[Change | None, Change] = {
    None: lambda value: value,
    flipped: flipped,
    plus_one: lambda value: value - 1,
    over_root_two: lambda value: value * math.sqrt(2),
}


def their_state(module: nn.Module, table: Iterable[Entry], skip: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Every tensor of `module` under the first name that the table has for it; skip: ends of our names that are left out."""
    ours = dict(module.state_dict())
    state: dict[str, Tensor] = {}
    for entry in table:
        if entry.ours in ours and not entry.ours.endswith(skip):
            state[entry.theirs] = _with_axes(BACK[entry.change](ours.pop(entry.ours)), entry.axes)
    left = [name for name in ours if not name.endswith(("resample_filter", *skip))]
    assert not left, left
    return state


def _with_axes(value: Tensor, axes: tuple[int, ...]) -> Tensor:
    if not axes:
        return value
    missing = [axis for axis in range(max(axes) + 1) if axis not in axes]
    value = value.reshape([1] * len(missing) + list(value.shape))
    order = [*missing, *axes]
    return value.permute([order.index(axis) for axis in range(len(order))]).contiguous()


def write_tensorflow(path: Path, networks: Iterable[Any], *, protocol: int = 4) -> Path:
    """A pickle of records of the class `dnnlib.tflib.network.Network`; networks: of `record`, or None."""
    module = types.ModuleType("dnnlib.tflib.network")

    class Network:
        def __setstate__(self, state: Any) -> None:
            raise AssertionError("somebody unpickled the file")

    Network.__module__, Network.__qualname__ = "dnnlib.tflib.network", "Network"
    module.Network = Network  # type: ignore[attr-defined]

    def built(plain: Any) -> Any:
        if plain is None:
            return None
        network = Network()
        network.__dict__.update({**plain, "components": {name: built(part) for name, part in plain["components"].items()}})
        return network

    before = {name: sys.modules.get(name) for name in ("dnnlib", "dnnlib.tflib", "dnnlib.tflib.network")}
    sys.modules.update({"dnnlib": types.ModuleType("dnnlib"), "dnnlib.tflib": types.ModuleType("dnnlib.tflib"), module.__name__: module})
    try:
        path.write_bytes(pickle.dumps(tuple(built(plain) for plain in networks), protocol=protocol))
    finally:
        for name, held in before.items():
            if held is None:
                del sys.modules[name]
            else:
                sys.modules[name] = held
    return path


def record(variables: Mapping[str, Tensor], *, build: str, version: int = 4, source: str = "", scalars: bool = True,
           **settings: Any) -> Any:
    """One network; variables of components carry their name in front. scalars: numbers without axes as NumPy's, as TensorFlow does."""
    parts: dict[str, list[tuple[str, Any]]] = {"": [], "mapping": [], "synthesis": []}
    for name, value in variables.items():
        component, _, rest = name.partition("/")
        is_part = component in ("mapping", "synthesis")
        array = value.detach().numpy()
        plain = np.float32(array.item()) if scalars and array.ndim == 0 else array
        parts[component if is_part else ""].append((rest if is_part else name, plain))

    def made(name: str, held: list[tuple[str, Any]], components: Any) -> Any:
        return {"version": version, "name": name, "static_kwargs": settings, "components": components, "build_module_src": source,
                "build_func_name": build if name == "main" else f"G_{name}", "variables": held}

    components = {name: made(name, parts[name], {}) for name in ("mapping", "synthesis") if parts["synthesis"]}
    return made("main", parts[""], components)


def scrambled(module: Any, seed: int = 0) -> Any:
    """The network with every parameter and buffer drawn anew, so that none is 0 or 1."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if not name.endswith("resample_filter"):
                value.copy_(torch.randn(value.shape, generator=rng) * (0.3 if value.ndim < 2 else 1.0))
    return module
