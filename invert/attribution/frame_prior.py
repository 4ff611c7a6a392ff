"""How likely a picture is where it is thought to lie: a Gaussian of the model's thumbnails (Tipping and Bishop 1999).

It knows where things are in an aligned picture, so that the place of a crop, or of a face in a larger picture, is the one at
which what is seen is likeliest; and it completes what is not seen.
"""

from __future__ import annotations

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
        x = thumbnails.flatten(1)
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
        matrix, pull, solved = self._solved(weight, gap)
        count = weight.sum(dim=1).clamp_min(1)
        squared = (gap.square().sum(dim=1) - (pull * solved).sum(dim=1)) / self.variance
        logs = torch.log(torch.tensor(self.variance)) * (count - len(self.loadings)) + torch.logdet(matrix)
        return -(squared + logs) / (2 * count)

    def completed(self, seen: Tensor, mask: Tensor) -> Tensor:
        """[F, 3, side, side]: what is seen, and the likeliest rest."""
        weight, gap = self._gaps(seen, mask)
        _, _, solved = self._solved(weight, gap)
        guess = (self.mean + solved @ self.loadings).view_as(seen)
        return seen * mask + guess * (1 - mask)

    def _gaps(self, seen: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        weight = mask.expand_as(seen).flatten(1)
        return weight, (seen.flatten(1) - self.mean) * weight

    def _solved(self, weight: Tensor, gap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size = len(self.loadings)
        matrix = torch.stack([(self.loadings * row) @ self.loadings.t() for row in weight]) + self.variance * torch.eye(size)
        pull = gap @ self.loadings.t()
        return matrix, pull, torch.linalg.solve(matrix, pull[:, :, None])[:, :, 0]
