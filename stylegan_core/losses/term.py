"""A loss is a sum of named, weighted terms, each with one value per image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from stylegan_core.errors import UsageError


@dataclass(frozen=True)
class Rendering:
    """What a term looks at.

    images: [N, C, H, W], nominal [-1, 1]. ws: [N, num_ws, w_dim]; None where the latent lies below W+.
    noise: buffer name → [N, 1, H, W], the maps that are being optimised; empty = none are.
    """

    images: Tensor
    ws: Tensor | None = None
    noise: Mapping[str, Tensor] = field(default_factory=dict)


LossFunction = Callable[[Rendering], Tensor]  # → [N], one value per image, never a mean over the batch


@dataclass(frozen=True)
class LossTerm:
    """weight · function(rendering)."""

    name: str
    weight: float
    function: LossFunction

    def __call__(self, rendering: Rendering) -> Tensor:
        """The value before the weight, [N]."""
        value = self.function(rendering)
        count = rendering.images.shape[0]
        if value.shape != (count,):
            raise ValueError(f"the loss term {self.name} gave the shape {tuple(value.shape)}, not one value per image")
        return value


@dataclass(frozen=True)
class Objective:
    """The sum of its terms. Names are unique; terms of weight 0 are left out of the sum and not computed. seen: what the terms see
    of images; None = the images.
    """

    terms: Sequence[LossTerm]
    seen: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        names = [term.name for term in self.terms]
        if len(set(names)) != len(names):
            raise UsageError(f"loss terms must have different names: {', '.join(names)}")
        for term in self.terms:
            if not 0 <= term.weight < float("inf"):
                raise UsageError(f"weight {term.weight} of the loss term {term.name}: 0 or more is allowed, and finite")

    def __call__(self, rendering: Rendering) -> tuple[Tensor, dict[str, Tensor]]:
        """→ (total [N], name → [N] before the weight). Back-propagate total.sum(): a batch equals its single runs."""
        if self.seen is not None:
            rendering = replace(rendering, images=self.seen(rendering.images))
        total = torch.zeros(rendering.images.shape[0], dtype=rendering.images.dtype, device=rendering.images.device)
        parts = {}
        for term in self.terms:
            if term.weight:
                parts[term.name] = term(rendering)
                total = total + term.weight * parts[term.name]
        return total, parts
