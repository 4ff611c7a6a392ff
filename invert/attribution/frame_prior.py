"""How likely a picture is where it is thought to lie: a Gaussian of the model's thumbnails (Tipping and Bishop 1999).

It knows where things are in an aligned picture, so that the place of a crop, or of a face in a larger picture, is the one at
which what is seen is likeliest; and it completes what is not seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

NUM_COMPONENTS, NUM_COARSE = 100, 60


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
        x = smoothed(thumbnails, torch.ones_like(thumbnails[:1, :1])).flatten(1)
        mean = x.mean(dim=0)
        count = min(NUM_COMPONENTS, len(x) - 2)
        _, singular, directions = torch.linalg.svd(x - mean, full_matrices=False)
        variances = singular.square() / (len(x) - 1)
        rest = float(variances[count:].sum()) / max(1, x.shape[1] - count)
        return cls(mean, directions[:count] * variances[:count].sqrt()[:, None], max(rest, 1e-6), thumbnails.shape[2])

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

    def _solved(self, mask: Tensor, gap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(pull of what is seen on the components, their likeliest values, log determinants); each mask is worked out once."""
        pull = gap @ self.loadings.t()
        solved, logs = torch.zeros_like(pull), torch.zeros_like(pull[:, 0])
        masks, which = mask.flatten(1).unique(dim=0, return_inverse=True)
        for index, one in enumerate(masks):
            rows = which == index
            matrix = (self.loadings * one.repeat(3)) @ self.loadings.t()
            factor = torch.linalg.cholesky(matrix + self.variance * torch.eye(len(matrix)))
            solved[rows] = torch.cholesky_solve(pull[rows].t(), factor).t()
            logs[rows] = 2 * factor.diagonal().log().sum()
        return pull, solved, logs


def smoothed(images: Tensor, mask: Tensor) -> Tensor:
    """[F, C, s, s]: the mean of what is seen around every place, so that it does not matter how pictures were resampled."""
    total = F.avg_pool2d(images * mask, 3, 1, 1, count_include_pad=True)
    return total / F.avg_pool2d(mask, 3, 1, 1, count_include_pad=True).clamp_min(1e-6)
