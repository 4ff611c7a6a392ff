"""The average of the generator over training, which is what people use (Karras et al. 2018, Sec. 5)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

MAGNITUDE = "magnitude_ema"  # running mean square of a layer's input


def ema_beta(batch: int, nimg: int, ema_kimg: float, rampup: float | None = 0.05) -> float:
    """Decay per step for a half-life of ema_kimg thousand images, shorter while nimg·rampup is less. rampup None = constant."""
    half_life = ema_kimg * 1000
    if rampup is not None:
        half_life = min(half_life, nimg * rampup)
    return 0.5 ** (batch / max(half_life, 1e-8))


@torch.no_grad()
def update_ema(average: nn.Module, network: nn.Module, beta: float) -> None:
    """average ← beta·average + (1 - beta)·network for parameters; buffers (w_avg, noise) are copied."""
    for mean, value in zip(average.parameters(), network.parameters()):
        mean.copy_(value.lerp(mean, beta))
    for kept, current in zip(average.buffers(), network.buffers()):
        kept.copy_(current)


def training_render(generator: Any) -> Callable[..., Tensor]:
    """`synthesis.render`, which in training also tracks the magnitudes of a network that is normalised by them (SG3)."""
    render: Callable[..., Tensor] = generator.synthesis.render
    tracks = any(name.endswith(MAGNITUDE) for name, _ in generator.named_buffers())
    return partial(render, update_emas=True) if tracks else render


def running_means(generator: nn.Module) -> list[Tensor]:
    """The buffers that training moves: w_avg, magnitudes."""
    return [value for name, value in generator.named_buffers() if name.endswith(("w_avg", MAGNITUDE))]
