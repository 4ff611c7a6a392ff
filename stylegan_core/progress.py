"""What long work tells its caller after every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class StepInfo:
    """One step of an optimisation.

    step: counts from 1. num_steps: planned steps. loss: [N], one value per image. parts: name of a loss term → [N].
    psnr: [N] in dB or None where it is not computed. seconds: since the start.
    """

    step: int
    num_steps: int
    loss: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    psnr: Tensor | None = None
    seconds: float = 0.0
    images: Tensor | None = None  # [N, C, H, W] rendered at this step, detached; None where nothing was rendered


Callback = Callable[[StepInfo], bool | None]  # a callback that returns False stops the work after this step
