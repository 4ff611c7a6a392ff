"""Attribute coverage: total variation between the attribute distributions of samples and of data.

Only a world whose attributes are known can have it. Both sides go through the same network, so its errors are on both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

from stylegan_core.errors import UsageError

BINS = 10  # of a continuous attribute
PAIR_BINS = 5  # of each of two


def marginal_variation(first: Mapping[str, Tensor], second: Mapping[str, Tensor], *, binary: Sequence[str] = (),
                       bins: int = BINS) -> dict[str, float]:  # fmt: skip
    """Name → total variation in [0, 1] between two histograms.

    first, second: name → [N], continuous in [-1, 1] (bins of equal width) or a probability (two bins, cut at 1/2).
    """
    check_names(first, second)
    result = {}
    for name in first:
        count = 2 if name in binary else bins
        shares = [torch.bincount(bin_of(side[name], name in binary, bins), minlength=count) for side in (first, second)]
        result[name] = total_variation(*shares)
    return result


def pair_variation(first: Mapping[str, Tensor], second: Mapping[str, Tensor], *, binary: Sequence[str] = (),
                   bins: int = PAIR_BINS) -> dict[tuple[str, str], float]:  # fmt: skip
    """Pair of names → total variation in [0, 1] between two joint histograms; arguments as in `marginal_variation`."""
    check_names(first, second)
    indices = [
        {name: bin_of(values, name in binary, bins) for name, values in side.items()} for side in (first, second)
    ]
    result = {}
    for one, two in combinations(first, 2):
        shares = [torch.bincount(side[one] * bins + side[two], minlength=bins * bins) for side in indices]
        result[one, two] = total_variation(*shares)
    return result


def total_variation(first: Tensor, second: Tensor) -> float:
    """Half the sum of absolute differences of two histograms [K] of counts, each scaled to sum 1."""
    p, q = first.double() / first.sum(), second.double() / second.sum()
    return float(0.5 * (p - q).abs().sum())


def bin_of(values: Tensor, is_binary: bool, bins: int) -> Tensor:
    """values: [N] → [N] int64, 0 … bins - 1; a binary one: 0 or 1."""
    if is_binary:
        return (values > 0.5).long()
    return ((values.double() + 1) * (bins / 2)).floor().long().clamp(0, bins - 1)


def check_names(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    """Both sides have the same attributes and at least one picture. Raises UsageError."""
    if list(first) != list(second):
        raise UsageError(f"attributes {', '.join(first)} cannot be compared with {', '.join(second)}")
    if any(len(values) == 0 for side in (first, second) for values in side.values()):
        raise UsageError("coverage needs at least one picture on either side")
