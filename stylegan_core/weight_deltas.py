"""Differences of a generator's weights, one set per image: what pivotal tuning (PTI Sec. 3.2) and HyperStyle make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_core.errors import LatentError
from stylegan_core.input_transform import BUFFER

WeightDeltas = Mapping[str, Tensor]  # parameter name in the generator → [N, *shape of the parameter]


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
        if not torch.isfinite(delta).all():
            raise LatentError(f"the change of {name} holds values that are not finite; tune again")


def call_with(generator: Any, deltas: Mapping[str, Tensor], function: Callable[[Any], Tensor]) -> Tensor:
    """function(generator) with every named parameter being its weight plus its delta [*shape]; the generator stays.

    Gradients reach the deltas. One image at a time: the deltas have no batch axis here; that of the input transform may have one.
    """
    if not deltas:
        return function(generator)
    parameters = changeable(generator)
    changed = {f"generator.{name}": parameters[name] + delta.to(parameters[name]) for name, delta in deltas.items()}
    return torch.func.functional_call(_Calling(generator, function), changed, ())


def changeable(generator: Any) -> dict[str, Tensor]:
    """What a delta may change: parameters, and the user's transform of a StyleGAN3's input."""
    changes: dict[str, Tensor] = dict(generator.named_parameters())
    return changes | {name: value for name, value in generator.named_buffers() if name == BUFFER}


def between(tuned: nn.Module, original: nn.Module) -> dict[str, Tensor]:
    """tuned - original as deltas [1, *shape], without the parameters that did not move."""
    before = dict(original.named_parameters())
    deltas = {name: (parameter - before[name]).detach()[None] for name, parameter in tuned.named_parameters()}
    return {name: delta for name, delta in deltas.items() if bool(delta.any())}


class _Calling(nn.Module):
    """A module whose forward is a function of the generator, which `functional_call` needs."""

    def __init__(self, generator: nn.Module, function: Callable[[Any], Tensor]):
        super().__init__()
        self.generator = generator
        self.function = function

    def forward(self) -> Tensor:
        return self.function(self.generator)
