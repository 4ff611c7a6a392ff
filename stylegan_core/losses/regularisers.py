"""What keeps noise maps noise and latents likely: one value per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.generator import Generator, place_of
from stylegan_core.seeds import rng_from_seed

SMALLEST_MAP = 8  # noise maps are halved down to this side (SG2 App. D)
LEAKY_SLOPE = 5.0  # undoes the last leaky ReLU (slope 0.2) of the mapping network (PN Sec. 3.1)
WHITENING_FLOOR = 1e-6  # of the largest variance: directions that samples do not use are not divided by zero


def noise_correlation(noise: Mapping[str, Tensor]) -> Tensor:
    """Squared autocorrelation of every map at shifts of one pixel, at every scale, [N] (SG2 App. D).

    noise: buffer name → [N, 1, H, W]; at least one map.
    """
    total = torch.zeros_like(next(iter(noise.values()))[:, 0, 0, 0])
    for values in noise.values():
        while True:
            for axis in (2, 3):
                total = total + (values * values.roll(1, dims=axis)).mean(dim=(1, 2, 3)).square()
            if min(values.shape[2:]) <= SMALLEST_MAP:
                break
            values = F.avg_pool2d(values, 2)
    return total


def noise_power(noise: Mapping[str, Tensor]) -> Tensor:
    """Mean square over the values of all maps, [N]: 1 on average for white noise."""
    values = list(noise.values())
    return sum_of([value.square().flatten(1).sum(dim=1) for value in values]) / sum(
        value[0].numel() for value in values
    )


def sum_of(values: Sequence[Tensor]) -> Tensor:
    """Elementwise sum of at least one tensor."""
    return torch.stack(list(values)).sum(dim=0)


def row_spread(ws: Tensor) -> Tensor:
    """ws: [N, num_ws, w_dim] → mean square of the rows' distance to their mean, [N]: 0 in W."""
    return (ws - ws.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2))


def in_domain(ws: Tensor, encoded: Tensor, spread: float) -> Tensor:
    """ws of a picture, and what an encoder makes of the picture: mean over rows of the squared distance in spreads of W, [N].

    After IDI Eq. 5, differs in its unit, which is the same for every model.
    """
    return ((encoded - ws) / spread).square().sum(dim=2).mean(dim=1)


@dataclass(frozen=True)
class WPrior:
    """A Gaussian of w, in W itself or behind the inverse of the last leaky ReLU (P space, PN Sec. 3.1 and 3.2).

    mean: [w_dim]. components: [w_dim, w_dim], one per row, the largest variance first. scales: [w_dim], their spread.
    """

    mean: Tensor
    components: Tensor
    scales: Tensor
    is_p_space: bool = False

    @classmethod
    @torch.no_grad()
    def from_samples(cls, w: Tensor, *, is_p_space: bool = False) -> WPrior:
        """w: [count, w_dim] from the mapping network."""
        values = (p_from_w(w) if is_p_space else w).double()
        mean = values.mean(dim=0)
        centred = values - mean
        variances, vectors = torch.linalg.eigh(centred.t() @ centred / (len(values) - 1))
        scales = variances.flip(0).clamp_min(variances[-1].clamp_min(1e-12) * WHITENING_FLOOR).sqrt()
        return cls(mean.to(w), vectors.flip(1).t().contiguous().to(w), scales.to(w), is_p_space)

    @classmethod
    @torch.no_grad()
    def of(cls, generator: Generator, *, num_samples: int = 10_000, is_p_space: bool = False) -> WPrior:
        """From samples of the mapping network; a conditional one is sampled over all its classes alike."""
        device, dtype = place_of(generator)
        z = torch.randn(num_samples, generator.z_dim, generator=rng_from_seed(0, num_samples)).to(device, dtype)
        c = F.one_hot(torch.arange(num_samples) % generator.c_dim, generator.c_dim).to(z) if generator.c_dim else None
        return cls.from_samples(generator.mapping.to_w(z, c), is_p_space=is_p_space)

    def whiten(self, w: Tensor) -> Tensor:
        """w: [..., w_dim] → v, standard normal where w is as the mapping makes it (PN Eq. 4)."""
        values = p_from_w(w) if self.is_p_space else w
        return (values - self.mean) @ self.components.t() / self.scales

    def unwhiten(self, v: Tensor) -> Tensor:
        """The inverse of `whiten`."""
        values = (v * self.scales) @ self.components + self.mean
        return w_from_p(values) if self.is_p_space else values

    def penalty(self, ws: Tensor) -> Tensor:
        """ws: [N, num_ws, w_dim] → mean square of v, [N]; 1 on average for samples (PN Eq. 5)."""
        return self.whiten(ws).square().mean(dim=(1, 2))


def p_from_w(w: Tensor) -> Tensor:
    """w → p: the value before the mapping's last activation, up to a gain (PN Eq. 1)."""
    return F.leaky_relu(w, LEAKY_SLOPE)


def w_from_p(p: Tensor) -> Tensor:
    """The inverse of `p_from_w`."""
    return F.leaky_relu(p, 1 / LEAKY_SLOPE)
