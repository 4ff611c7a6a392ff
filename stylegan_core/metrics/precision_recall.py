"""Precision and recall of samples by nearest neighbours (Kynkäänniemi et al. 2019, Sec. 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from stylegan_core.errors import UsageError

NEIGHBOURS = 3   # of Sec. 3
ROWS = 2048      # distances of so many vectors at a time


def precision_recall(samples: Tensor, data: Tensor, *, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """(share of samples inside the manifold of the data, share of data inside that of the samples). [N, D], [M, D].

    A manifold is the union of balls around the vectors of a set, each as wide as the distance to the `neighbours`-th other
    vector of that set. Raises UsageError for fewer vectors than that.
    """
    return inside(samples, data, neighbours), inside(data, samples, neighbours)


def inside(points: Tensor, manifold: Tensor, neighbours: int = NEIGHBOURS) -> float:
    """Share of points [N, D] that lie in a ball of the manifold [M, D]."""
    if points.ndim != 2 or manifold.ndim != 2 or points.shape[1] != manifold.shape[1]:
        raise UsageError(f"features of shapes {tuple(points.shape)} and {tuple(manifold.shape)} cannot be compared")
    if len(manifold) <= neighbours or len(points) < 1:
        raise UsageError(f"precision and recall with {neighbours} neighbours need {neighbours + 1} vectors or more on either side")
    points, manifold = points.double(), manifold.double()
    radii = radii_of(manifold, neighbours)
    hits = [(distances(part, manifold) <= radii).any(dim=1) for part in points.split(ROWS)]
    return float(torch.cat(hits).double().mean())


def radii_of(vectors: Tensor, neighbours: int) -> Tensor:
    """[M]: distance to the `neighbours`-th nearest other vector; the nearest of all is the vector itself."""
    return torch.cat([distances(part, vectors).kthvalue(neighbours + 1, dim=1).values for part in vectors.split(ROWS)])


def distances(first: Tensor, second: Tensor) -> Tensor:
    """Euclidean, [N, M]; by differences, so that equal vectors are at 0 exactly."""
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
