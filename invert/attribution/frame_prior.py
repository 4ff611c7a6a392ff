"""How likely a picture is where it is thought to lie: a Gaussian of the model's thumbnails (Tipping and Bishop 1999).

It knows where things are in an aligned picture, so that the place of a crop, or of a face in a larger picture, is the one at
which what is seen is likeliest; and it completes what is not seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

NUM_COMPONENTS, NUM_COARSE = 100, 60
MASKS = 64  # that are worked out together


@dataclass(frozen=True)
class FramePrior:
    """mean: [V], loadings: [k, V] of the V values of a thumbnail; variance: of each value beyond them. side: of the thumbnail."""

    mean: Tensor
    loadings: Tensor
    variance: float
    side: int

    @classmethod
    def of(cls, thumbnails: Tensor) -> FramePrior:
        """thumbnails: [K, 3, s, s]."""
        x = smoothed(thumbnails, torch.ones_like(thumbnails[:1, :1])).flatten(1).double()
        mean = x.mean(dim=0)
        x = (x - mean) / (len(x) - 1) ** 0.5
        count = min(NUM_COMPONENTS, len(x) - 2)
        variances, vectors = torch.linalg.eigh(x @ x.t())  # the covariance's, by way of the fewer pictures
        rest = float(variances[:-count].clamp_min(0).sum()) / max(1, x.shape[1] - count)
        return cls(mean.float(), (vectors[:, -count:].t().flip(0) @ x).float(), max(rest, 1e-6), thumbnails.shape[2])

    def coarse(self) -> FramePrior:
        """The same for thumbnails of half the side, with fewer components."""
        def halved(x: Tensor) -> Tensor:
            return F.avg_pool2d(x.view(-1, 3, self.side, self.side), 2).flatten(1)

        loadings = halved(self.loadings)
        rest = float(loadings[NUM_COARSE:].square().sum(dim=0).mean()) if len(loadings) > NUM_COARSE else 0.0
        return FramePrior(halved(self.mean)[0], loadings[:NUM_COARSE], self.variance / 4 + rest, self.side // 2)

    def log_likelihood(self, seen: Tensor, mask: Tensor) -> Tensor:
        """[F]: per value that is seen. seen: [F, 3, side, side]; mask: [F, 1, side, side], 0 or 1."""
        weight, gap = self._gaps(seen, mask)
        pull, solved, logs = self._solved(mask, gap)
        count = weight.sum(dim=1).clamp_min(1)
        squared = (gap.square().sum(dim=1) - (pull * solved).sum(dim=1)) / self.variance
        return -(squared + math.log(self.variance) * (count - len(self.loadings)) + logs) / (2 * count)

    def completed(self, seen: Tensor, mask: Tensor) -> Tensor:
        """[F, 3, side, side]: what is seen, and the likeliest rest."""
        _, gap = self._gaps(seen, mask)
        _, solved, _ = self._solved(mask, gap)
        guess = (self.mean + solved @ self.loadings).view_as(seen)
        return seen * mask + guess * (1 - mask)

    def _gaps(self, seen: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        weight = mask.expand_as(seen).flatten(1)
        return weight, (smoothed(seen, mask).flatten(1) - self.mean) * weight

    @cached_property
    def pairs(self) -> Tensor:
        """[side², k²]: products of the loadings at every place."""
        places = self.loadings.view(len(self.loadings), 3, -1)
        return torch.einsum("kcp,lcp->pkl", places, places).flatten(1)

    def _solved(self, mask: Tensor, gap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(pull of what is seen on the components, their likeliest values, log determinants); each mask is worked out once."""
        pull = gap @ self.loadings.t()
        solved, logs = torch.zeros_like(pull), torch.zeros_like(pull[:, 0])
        masks, which = mask.flatten(1).unique(dim=0, return_inverse=True)
        size = len(self.loadings)
        for first in range(0, len(masks), MASKS):
            matrices = (masks[first : first + MASKS] @ self.pairs).view(-1, size, size)
            factors = torch.linalg.cholesky(matrices + self.variance * torch.eye(size))
            for index, factor in enumerate(factors, first):
                rows = (which == index).nonzero()[:, 0]
                solved[rows] = torch.cholesky_solve(pull[rows].t(), factor).t()
            logs_of = 2 * factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)
            here = (which >= first) & (which < first + MASKS)
            logs[here] = logs_of[which[here] - first]
        return pull, solved, logs


def smoothed(images: Tensor, mask: Tensor) -> Tensor:
    """[F, C, s, s]: the mean of what is seen around every place, so that it does not matter how pictures were resampled."""
    total = F.avg_pool2d(images * mask, 3, 1, 1, count_include_pad=True)
    return total / F.avg_pool2d(mask, 3, 1, 1, count_include_pad=True).clamp_min(1e-6)
