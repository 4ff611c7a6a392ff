"""Differences of a generator's weights, one set per image: what pivotal tuning (PTI Sec. 3.2) and HyperStyle make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_core.errors import LatentError, UsageError
from stylegan_core.input_transform import BUFFER
from stylegan_core.packed_delta import PackedDelta, pack_int8, pack_low_rank

Delta = Tensor | PackedDelta
WeightDeltas = Mapping[str, Delta]  # parameter name in the generator → [N, *shape of the parameter]


def check_deltas(deltas: WeightDeltas, generator: Any, count: int) -> None:
    """Raises LatentError when a delta names no parameter of this generator, or has another shape, or is not finite."""
    parameters = changeable(generator)
    for name, delta in deltas.items():
        if name not in parameters:
            raise LatentError(
                f"this generator has no parameter {name!r} to change; was the inversion made with another model?"
            )
        wanted = (count, *parameters[name].shape)
        if tuple(delta.shape) != wanted:
            raise LatentError(f"the change of {name} has the shape {tuple(delta.shape)}; {wanted} is needed")
        if isinstance(delta, PackedDelta):
            delta.check()
        elif not torch.isfinite(delta).all():
            raise LatentError(f"the change of {name} holds values that are not finite; tune again")


def call_with(generator: Any, deltas: Mapping[str, Delta], function: Callable[[Any], Tensor]) -> Tensor:
    """function(generator) with every named parameter being its weight plus its delta; the generator stays.

    deltas: [*shape] each, without a batch axis, or packed ones of one image; that of the input transform may have a batch axis.
    Gradients reach the deltas.
    """
    if not deltas:
        return function(generator)
    parameters = changeable(generator)
    changed = {f"generator.{name}": _applied(parameters[name], delta) for name, delta in deltas.items()}
    return torch.func.functional_call(_Calling(generator, function), changed, ())


def changeable(generator: Any) -> dict[str, Tensor]:
    """What a delta may change: parameters, and the user's transform of a StyleGAN3's input."""
    changes: dict[str, Tensor] = dict(generator.named_parameters())
    return changes | {name: value for name, value in generator.named_buffers() if name == BUFFER}


def packed(deltas: Mapping[str, Tensor], method: str) -> dict[str, PackedDelta]:
    """deltas: [N, *shape] each. method: 'int8', or 'low-rank:16', whatever takes less; vectors stay as they are."""
    kind, _, rank = method.partition(":")
    if kind not in ("int8", "low-rank") or not (rank or "16").isdecimal() or (kind == "int8" and rank):
        raise UsageError(f"packing {method!r}: int8 or low-rank:N is allowed")
    small = {name: pack_int8(delta) for name, delta in deltas.items()}
    if kind == "int8":
        return small
    thin = {name: pack_low_rank(delta, int(rank or 16)) for name, delta in deltas.items()}
    return {name: min(small[name], thin[name], key=lambda delta: delta.nbytes) for name in deltas}


def num_bytes(deltas: WeightDeltas) -> int:
    """What they take in a file."""
    return sum(delta.nbytes for delta in deltas.values())


def between(tuned: nn.Module, original: nn.Module) -> dict[str, Tensor]:
    """tuned - original as deltas [1, *shape], without the parameters that did not move."""
    before = dict(original.named_parameters())
    deltas = {name: (parameter - before[name]).detach()[None] for name, parameter in tuned.named_parameters()}
    return {name: delta for name, delta in deltas.items() if bool(delta.any())}


def _applied(parameter: Tensor, delta: Delta) -> Tensor:
    return delta.applied(parameter) if isinstance(delta, PackedDelta) else parameter + delta.to(parameter)


class _Calling(nn.Module):
    """A module whose forward is a function of the generator, which `functional_call` needs."""

    def __init__(self, generator: nn.Module, function: Callable[[Any], Tensor]):
        super().__init__()
        self.generator = generator
        self.function = function

    def forward(self) -> Tensor:
        return self.function(self.generator)
