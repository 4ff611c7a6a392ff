"""How learning rate and latent jitter run over a projection: pure functions of the step (SG2 App. D)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Ramp:
    """A learning rate that rises linearly and falls along half a cosine.

    rise, fall: share of the steps; 0 = none.
    """

    lr: float = 0.1
    rise: float = 0.05
    fall: float = 0.25

    def lr_at(self, step: int, num_steps: int) -> float:
        """step: 0 to num_steps - 1. The first step of a rise has the rate 0."""
        t = step / num_steps
        falling = min(1.0, (1.0 - t) / self.fall) if self.fall > 0 else 1.0
        rising = min(1.0, t / self.rise) if self.rise > 0 else 1.0
        return self.lr * (0.5 - 0.5 * math.cos(falling * math.pi)) * rising


@dataclass(frozen=True)
class Jitter:
    """Noise on the latent that explores early and dies out: strength · spread · max(0, 1 - t/length)².

    strength: 0 = none. length: share of the steps.
    """

    strength: float = 0.05
    length: float = 0.75

    def scale_at(self, step: int, num_steps: int) -> float:
        """In units of the latent's spread."""
        if self.strength == 0 or self.length <= 0:
            return 0.0
        return self.strength * max(0.0, 1.0 - step / num_steps / self.length) ** 2


def shared_out(total: int, shares: list[float]) -> list[int]:
    """Whole numbers in proportion to the shares, which add up to total; the largest remainders are rounded up."""
    if total < 0 or not shares or min(shares) < 0 or sum(shares) <= 0:
        raise ValueError(f"cannot share {total} steps out by {shares}")
    exact = [total * share / sum(shares) for share in shares]
    counts = [math.floor(value + 1e-9) for value in exact]
    order = sorted(range(len(shares)), key=lambda i: (counts[i] - exact[i], i))
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts
