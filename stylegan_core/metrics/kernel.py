"""Kernel distance: squared maximum mean discrepancy with a cubic kernel (Bińkowski et al. 2018, Sec. 4), unbiased."""

from __future__ import annotations

import torch
from torch import Tensor

from stylegan_core.errors import UsageError

SUBSET = 1000
NUM_SUBSETS = 50


def kernel_distance(first: Tensor, second: Tensor, *, seed: int = 0) -> tuple[float, float]:
    """(mean, standard deviation) over random subsets; the estimate has no bias, so it may be slightly below 0.

    first, second: [N, D] feature vectors, 2 or more of each. All are used at once where there are at most SUBSET.
    """
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise UsageError(f"features of shapes {tuple(first.shape)} and {tuple(second.shape)} cannot be compared")
    size = min(SUBSET, len(first), len(second))
    if size < 2:
        raise UsageError("a kernel distance needs 2 vectors or more on either side")
    rng = torch.Generator().manual_seed(seed)
    rounds = 1 if size == len(first) == len(second) else NUM_SUBSETS
    estimates = []
    for _ in range(rounds):
        x = first[torch.randperm(len(first), generator=rng)[:size]].double()
        y = second[torch.randperm(len(second), generator=rng)[:size]].double()
        estimates.append(unbiased_mmd(x, y))
    values = torch.tensor(estimates, dtype=torch.float64)
    return float(values.mean()), float(values.std(unbiased=False))


def unbiased_mmd(x: Tensor, y: Tensor) -> float:
    """Squared maximum mean discrepancy (Gretton et al. 2012, Eq. 3) with the kernel (x·y / D + 1)³. [N, D] each."""
    within_x, within_y, across = cubic_kernel(x, x), cubic_kernel(y, y), cubic_kernel(x, y)
    n, m = len(x), len(y)
    same_x = (within_x.sum() - within_x.diagonal().sum()) / (n * (n - 1))
    same_y = (within_y.sum() - within_y.diagonal().sum()) / (m * (m - 1))
    return float(same_x + same_y - 2 * across.mean())


def cubic_kernel(x: Tensor, y: Tensor) -> Tensor:
    """(x·y / D + 1)³: [N, D], [M, D] → [N, M]."""
    return (x @ y.T / x.shape[1] + 1) ** 3
