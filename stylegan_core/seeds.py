"""Where randomness comes from: seeds as people type them, z of a seed, random streams of a seed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stylegan_core.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAX_SEED = 2**32 - 1  # what numpy.random.RandomState takes
MAX_NUM_SEEDS = 1_000_000


def parse_seeds(text: str) -> list[int]:
    """'0,1,4-6' → [0, 1, 4, 5, 6], in the order typed; both ends of a range belong to it. Spaces are allowed."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,12})\s*(?:-\s*(\d{1,12})\s*)?", part, flags=re.ASCII)
        if match is None:
            raise UsageError(
                f"seeds {text!r}: {part.strip()!r} is not a seed; write whole numbers and ranges, for example 0,1,4-6"
            )
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise UsageError(f"seeds {text!r}: the range {first}-{last} runs backwards; write {last}-{first}")
        if last > MAX_SEED:
            raise UsageError(f"seed {last}: at most {MAX_SEED} is allowed")
        if len(seeds) + last - first + 1 > MAX_NUM_SEEDS:
            raise UsageError(f"seeds {text!r}: more than {MAX_NUM_SEEDS} seeds; ask for fewer at a time")
        seeds.extend(range(first, last + 1))
    return seeds


def z_from_seed(seed: int, z_dim: int) -> Tensor:
    """z: [1, z_dim] float32, the numbers that the official scripts draw for this seed."""
    import torch

    _check_seed(seed)
    return torch.from_numpy(np.random.RandomState(seed).randn(1, z_dim)).float()


def zs_from_seeds(seeds: Sequence[int], z_dim: int) -> Tensor:
    """z: [N, z_dim] float32, one row per seed."""
    import torch

    return torch.cat([z_from_seed(seed, z_dim) for seed in seeds])


def rng_from_seed(*seed: int) -> torch.Generator:
    """A random stream on the CPU that depends on these numbers only, for example (seed, restart)."""
    import torch

    state = np.random.SeedSequence([int(part) for part in seed]).generate_state(2, dtype=np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))


def rngs_from_seeds(seeds: Sequence[int]) -> list[torch.Generator]:
    """One stream per image, so that image i is the same in a batch of any size."""
    return [rng_from_seed(seed) for seed in seeds]


def _check_seed(seed: int) -> None:
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"seed {seed}: a whole number from 0 to {MAX_SEED} is allowed")
