"""Mean and covariance of a stream of vectors, gathered batch by batch in float64."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from stylegan_core.errors import UsageError


@dataclass(frozen=True)
class Moments:
    """count: number of vectors. mean: [D] float64. scatter: [D, D] float64, sum of the outer products of deviations."""

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> Moments:
        """vectors: [N, D], N of 1 or more."""
        if vectors.ndim != 2 or len(vectors) < 1:
            raise UsageError(f"moments need vectors of shape [N, D] with N of 1 or more, not {tuple(vectors.shape)}")
        x = vectors.detach().double().cpu()
        mean = x.mean(dim=0)
        centred = x - mean
        return cls(len(x), mean, centred.T @ centred)

    @property
    def covariance(self) -> Tensor:
        """[D, D], unbiased; needs 2 vectors or more."""
        if self.count < 2:
            raise UsageError("a covariance needs 2 vectors or more")
        return self.scatter / (self.count - 1)

    def merged(self, other: Moments) -> Moments:
        """Moments of both sets together (Chan, Golub and LeVeque 1983, Eq. 2.1)."""
        count = self.count + other.count
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.count / count)
        scatter = self.scatter + other.scatter + torch.outer(apart, apart) * (self.count * other.count / count)
        return Moments(count, mean, scatter)


def gathered(batches: Iterable[Tensor]) -> Moments:
    """Moments of all vectors of all batches [n, D]."""
    total: Moments | None = None
    for batch in batches:
        part = Moments.of(batch)
        total = part if total is None else total.merged(part)
    if total is None:
        raise UsageError("there are no vectors to take moments of")
    return total
