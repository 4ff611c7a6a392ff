"""From what a dialect found in a file to a checkpoint that loads strictly: names, shapes, types and numbers checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from stylegan_core.checkpoints.safetensors_header import strict_json
from stylegan_core.checkpoints.tensor_view import FLOATING, TensorView, check_total
from stylegan_core.errors import CheckpointError
from stylegan_core.files import display
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import Config, config_from_dict

FILTERS = ("resample_filter", "up_filter", "down_filter")  # buffers that follow from the configuration
W_AVG = "mapping.w_avg"
NOISE = "noise_const"
DECLARED = "invert"            # key of a converted file for the settings that no tensor shows
W_AVG_SAMPLES = 10_000
SLACK = 1 << 22                # numbers: what a file may leave out, such as noise maps
SMALLEST_NORMAL = 1.1754943508222875e-38


@dataclass(frozen=True)
class Checkpoint:
    """One network of a file.

    kind: 'generator' or 'discriminator'. config: what `networks.build` takes. state: native name → tensor, complete.
    provenance: dialect, file, model_file_sha256, network and networks (those in the file), warnings, and what the
    dialect adds.
    """

    kind: str
    config: Config
    state: dict[str, Tensor]
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """What a dialect found: native names → views of the file, nothing copied yet.

    may_lack: ends of the names that files of this dialect may omit (`W_AVG`, `NOISE`); they are filled in, with a
    warning. facts: for the provenance. warnings: plain sentences.
    """

    kind: str
    config: Config
    views: Mapping[str, TensorView]
    network: str
    networks: tuple[str, ...]
    may_lack: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)  # native name → the file's own; {} = they are the same
    changes: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)  # native name → from the file's numbers to ours


def choose(network: str | None, held: tuple[str, ...]) -> str:
    """The network to read: the one asked for, or the first that the file holds. Raises CheckpointError for neither."""
    if not held:
        raise CheckpointError("there is no network in the file")
    if network is not None and network not in held:
        raise CheckpointError(f"there is no network {display(network)!r} in the file; it holds {', '.join(held)}")
    return network or held[0]


def declared_config(entries: Mapping[Any, Any], network: str) -> Any:
    """The configuration of a network that `convert` left in a file of another dialect; None where there is none.

    entries: the file's top dictionary; its key 'invert' holds JSON text, network → configuration.
    """
    text = entries.get(DECLARED)
    if not isinstance(text, str):
        return None
    configs = strict_json(text)
    config = configs.get(network) if isinstance(configs, dict) else None
    return config_from_dict(config) if isinstance(config, dict) else None


def complete(draft: Draft, file_bytes: int) -> tuple[nn.Module, list[str]]:
    """The network with the file's tensors (float32, memory of their own), and warnings about what was filled in.

    Nothing is allocated before names, shapes and types fit the configuration. Raises CheckpointError in one line: the
    first problem and how many there are of each kind.
    """
    check_total(dict(draft.views), file_bytes)
    module = skeleton(draft.config, 2 * sum(view.numel for view in draft.views.values()) + SLACK)
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    unused = {name for name in expected if name.endswith(FILTERS) and not _resamples(module, name)}
    views = {name: view for name, view in draft.views.items() if name not in unused}
    _check_names_and_shapes(replace(draft, views=views), expected)
    state = {}
    for name in expected:
        if name in views:
            state[name] = views[name].to_tensor()
            _check_numbers(draft.names.get(name, name), state[name])
            if name in draft.changes:
                state[name] = draft.changes[name](state[name]).contiguous()
    _fill_filters(module, state)
    warnings = _fill_noise(expected, state)
    has_w_avg = W_AVG not in expected or W_AVG in state
    if not has_w_avg:
        state[W_AVG] = torch.zeros(expected[W_AVG])
    module.load_state_dict(state, strict=True, assign=True)
    if not has_w_avg:
        _estimate_w_avg(module)
        warnings.append(f"the file has no average w; it was estimated from {W_AVG_SAMPLES} samples")
    return module.eval(), warnings


class _Unfilled(TorchFunctionMode):
    # Inside, new tensors are neither filled with random numbers nor, beyond a number of elements, made at all.
    # (The meta device would do the same, but the first division on it imports sympy, which takes seconds.)

    def __init__(self, max_elements: int) -> None:
        super().__init__()
        self.left = max_elements

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.randn, torch.rand, torch.zeros, torch.ones, torch.empty, torch.full):
            shape = args[0] if args and isinstance(args[0], (tuple, list, torch.Size)) else args
            self.left -= math.prod(shape)
            if self.left < 0:
                raise CheckpointError("the configuration asks for a much larger network than the file holds")
            if func in (torch.randn, torch.rand):
                return torch.empty(shape)
        if func in (torch.Tensor.div, torch.Tensor.__truediv__) and args[0].numel() > 1 << 16:
            return args[0]  # scaling what will be replaced would touch all of its memory
        return func(*args, **(kwargs or {}))


def skeleton(config: Config, max_elements: int) -> nn.Module:
    """The network with memory that nothing was written to. Raises CheckpointError for a configuration that is out of
    range or needs more than `max_elements` numbers."""
    config.validate()
    with _Unfilled(max_elements):
        return build(config)


def _check_names_and_shapes(draft: Draft, expected: Mapping[str, tuple[int, ...]]) -> None:
    names, optional = draft.names, (*FILTERS, *draft.may_lack)
    missing = [name for name in expected if name not in draft.views and not name.endswith(optional)]
    unexpected = [name for name in draft.views if name not in expected]
    wrong = [name for name, view in draft.views.items() if name in expected and view.shape != expected[name]]
    mistyped = [name for name, view in draft.views.items() if view.dtype not in FLOATING]
    if not (missing or unexpected or wrong or mistyped):
        return
    if missing:
        first = f"{names.get(missing[0], missing[0])!r} is missing"
    elif wrong:
        shape, needed = list(draft.views[wrong[0]].shape), list(expected[wrong[0]])
        first = f"{names.get(wrong[0], wrong[0])!r} has the shape {shape}, this configuration needs {needed}"
    elif mistyped:
        shown = display(names.get(mistyped[0], mistyped[0]))
        first = f"{shown!r} holds {draft.views[mistyped[0]].dtype}; weights are floating-point numbers"
    else:
        first = f"{display(unexpected[0])!r} does not belong to this network"
    counts = f"{len(missing)} missing, {len(unexpected)} unexpected, {len(wrong)} of a wrong shape"
    raise CheckpointError(f"{first} ({counts}, {len(mistyped)} of a wrong type)")


def _check_numbers(name: str, tensor: Tensor) -> None:
    if tensor.numel() == 0:
        return
    low, high = (float(bound) for bound in torch.aminmax(tensor))
    if not (low == low and abs(low) != float("inf") and abs(high) != float("inf")):
        raise CheckpointError(f"{name!r} holds values that are not finite (NaN or infinity)")
    if 0 < max(abs(low), abs(high)) < SMALLEST_NORMAL:
        raise CheckpointError(f"{name!r} holds nothing but denormal numbers, so it is damaged")


def _resamples(module: nn.Module, filter_name: str) -> bool:
    # Layers that do not resample have a filter too, which nothing ever uses and which may be any.
    layer = module.get_submodule(filter_name.rpartition(".")[0])
    return getattr(layer, "up", 2) > 1 or getattr(layer, "down", 1) > 1


def _fill_filters(empty: nn.Module, state: dict[str, Tensor]) -> None:
    # The filters follow from the configuration: a file's own are compared, then replaced, so that a converted file
    # has the same hash.
    for name, derived in empty.state_dict().items():
        if not name.endswith(FILTERS):
            continue
        if name in state and not torch.allclose(state[name], derived, atol=1e-5):
            raise CheckpointError(f"{name!r} is another filter than the configuration has")
        state[name] = derived


def _fill_noise(expected: Mapping[str, tuple[int, ...]], state: dict[str, Tensor]) -> list[str]:
    absent = [name for name in expected if name.endswith(NOISE) and name not in state]
    for index, name in enumerate(absent):
        state[name] = torch.randn(expected[name], generator=torch.Generator().manual_seed(index))
    return [f"the file has no stored noise; {len(absent)} maps were drawn from fixed seeds"] if absent else []


@torch.no_grad()
def _estimate_w_avg(generator: Any) -> None:
    if generator.c_dim > 0:
        raise CheckpointError(f"{W_AVG!r} is missing, and for a conditional network it cannot be estimated")
    z = torch.randn(W_AVG_SAMPLES, generator.z_dim, generator=torch.Generator().manual_seed(0))
    generator.mapping.w_avg.copy_(generator.mapping.to_w(z).mean(dim=0))
