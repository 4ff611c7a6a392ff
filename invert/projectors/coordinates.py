"""The coordinates in which a latent moves: as it is, or white, that is standard normal for samples of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from invert.projectors.base import Problem
from stylegan_core.errors import UsageError
from stylegan_core.latent import Latent, LatentSpace

COORDINATES = ("direct", "white", "white-p")
SPREAD_SAMPLES = 2000


@dataclass(frozen=True)
class Coordinates:
    """encode: latent value → x. decode: x → latent value, differentiable. spread: of latent values, for jitter."""

    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    spread: Tensor | float

    @classmethod
    def of(cls, kind: str, space: LatentSpace, problem: Problem) -> Coordinates:
        """kind: 'direct' x = latent; 'white' x is standard normal for samples of W; 'white-p' for P (PN Eq. 4).

        Z is white as it is; S, which has no samples of its own, is scaled channel by channel. Raises UsageError.
        """
        if kind not in COORDINATES:
            raise UsageError(f"coordinates {kind!r}: one of {', '.join(COORDINATES)} is allowed")
        if space is LatentSpace.Z:
            return cls(_same, normalised_z, 1.0)
        if space is LatentSpace.S:
            centre, spread = style_moments(problem)
            if kind == "direct":
                return cls(_same, _same, spread)
            return cls(lambda s: (s - centre) / spread, lambda x: x * spread + centre, spread)
        if kind == "direct":
            return cls(_same, _same, problem.samples.spread)
        prior = problem.samples.p_prior if kind == "white-p" else problem.samples.prior
        return cls(prior.whiten, prior.unwhiten, problem.samples.spread)


def normalised_z(z: Tensor) -> Tensor:
    """z [N, z_dim] at mean square 1: the mapping network ignores the length, so it is kept at that of samples."""
    return z * (z.square().mean(dim=1, keepdim=True) + 1e-12).rsqrt()


@torch.no_grad()
def style_moments(problem: Problem) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every style channel over samples, each [1, sum(style_dims)]."""
    w, _ = problem.samples.w_of(None, SPREAD_SAMPLES)
    styles = Latent(w, LatentSpace.W).lower(problem.generator, to=LatentSpace.S).value
    spread = styles.std(dim=0, keepdim=True)
    return styles.mean(dim=0, keepdim=True), spread.clamp_min(1e-3 * float(spread.mean()))


def _same(value: Tensor) -> Tensor:
    return value
