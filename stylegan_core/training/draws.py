"""Where an augmentation gets its random numbers: one stream per image, so that image i is treated alike in a batch of any size.

A fixed quantile can take their place, to look at a transform at a chosen strength.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Draws(Protocol):
    """Random numbers for a batch of N images; every call goes on in the streams. All are float32 on the CPU."""

    count: int

    def uniform(self, *shape: int) -> Tensor:
        """[N, *shape] in [0, 1)."""
        ...

    def normal(self, *shape: int) -> Tensor:
        """[N, *shape], standard normal."""
        ...

    def half_normal(self) -> Tensor:
        """[N], |standard normal|."""
        ...

    def happens(self, probability: float, *, again: bool = False) -> Tensor:
        """[N] bool. again: the transform was drawn once before, this is its second part."""
        ...

    def field(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Standard normal pictures [N, *shape] on the device."""
        ...


class RandomDraws:
    """From one generator per image."""

    def __init__(self, streams: Sequence[torch.Generator]):
        self.streams, self.count = streams, len(streams)

    def uniform(self, *shape: int) -> Tensor:
        return torch.stack([torch.rand(shape, generator=stream) for stream in self.streams])

    def normal(self, *shape: int) -> Tensor:
        return torch.stack([torch.randn(shape, generator=stream) for stream in self.streams])

    def half_normal(self) -> Tensor:
        return self.normal().abs()

    def happens(self, probability: float, *, again: bool = False) -> Tensor:
        return self.uniform() < probability

    def field(self, shape: Sequence[int], device: torch.device) -> Tensor:
        return self.normal(*shape).to(device)


class QuantileDraws:
    """Every number is this quantile of its law, and every transform that can happen does.

    Normal numbers are in units of √2 times their deviation, as in the official pipeline's own such mode (SG2-ADA code).
    """

    def __init__(self, count: int, quantile: float, *, field: Tensor | None = None):  # field: [N, C, H, W]; None = zeros
        self.count, self.quantile, self._field = count, torch.tensor(quantile), field

    def uniform(self, *shape: int) -> Tensor:
        return self.quantile.expand(self.count, *shape)

    def normal(self, *shape: int) -> Tensor:
        return torch.erfinv(2 * self.quantile - 1).expand(self.count, *shape)

    def half_normal(self) -> Tensor:
        return torch.erfinv(self.quantile).expand(self.count)

    def happens(self, probability: float, *, again: bool = False) -> Tensor:
        return torch.tensor(probability > 0 and not again).expand(self.count)

    def field(self, shape: Sequence[int], device: torch.device) -> Tensor:
        field = torch.zeros([self.count, *shape]) if self._field is None else self._field
        return field.to(device)
