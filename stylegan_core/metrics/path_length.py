"""Perceptual path length: how much pictures change along a path in latent space (SG Sec. 4.1, Eq. 2 and 3).

The distance is whatever network looks; only with LPIPS of VGG are the figures those of the papers, and every figure
stands beside the name of its distance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator
from stylegan_core.images import to_rgb

EPSILON = 1e-4           # length of a step along the path (SG Sec. 4.1)
SPACES = ("z", "w")
SAMPLINGS = ("full", "end")
LARGEST_SIDE = 256       # pictures above are averaged down, as the distance was trained
PERCENTILES = (1.0, 99.0)  # what lies outside is left out of the mean


@dataclass(frozen=True)
class Distance:
    """name, and between: (images, images) [N, 3, H, W] in [-1, 1] → squared distances [N]."""

    name: str
    between: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Paths:
    """Pairs of ends. z0, z1: [N, z_dim]. t: [N] in [0, 1], where on the way the step is taken. c: [N, c_dim] or None.

    noise: maps that both pictures of a step share, buffer name → [N or 1, 1, H, W]; None = those of the generator.
    """

    z0: Tensor
    z1: Tensor
    t: Tensor
    c: Tensor | None = None
    noise: Mapping[str, Tensor] | None = None


def path_lengths(
    generator: Generator, distance: Distance, paths: Paths, *, space: str, sampling: str,
    crop: bool = False, epsilon: float = EPSILON,
) -> Tensor:  # fmt: skip
    """d(G(path(t)), G(path(t + ε))) / ε², [N].

    space: z (great circle, SG Eq. 2) or w (straight line, SG Eq. 3). sampling: full = at t, end = at 0. crop: only the
    part where faces are in FFHQ. The differences are small: float32 gives some percent of noise per pair, not in the mean.
    """
    if space not in SPACES or sampling not in SAMPLINGS:
        raise UsageError(f"path lengths in {space!r}, {sampling!r}: of {', '.join(SPACES)} and {', '.join(SAMPLINGS)}")
    t = (paths.t if sampling == "full" else torch.zeros_like(paths.t))[:, None]
    if space == "z":
        ends = [great_circle(paths.z0, paths.z1, t), great_circle(paths.z0, paths.z1, t + epsilon)]
        ws = [generator.mapping(z, paths.c) for z in ends]
    else:
        w0, w1 = generator.mapping(paths.z0, paths.c), generator.mapping(paths.z1, paths.c)
        ws = [torch.lerp(w0, w1, step[:, :, None]) for step in (t, t + epsilon)]
    images = [prepared(generator.synthesis(each, noise_mode="const", noise=paths.noise or None), crop=crop) for each in ws]
    return distance.between(images[0], images[1]) / epsilon**2


def great_circle(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Unit vectors at the share t [N, 1] of the way from a to b [N, D], both scaled to length 1."""
    a, b = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    cosine = (a * b).sum(dim=-1, keepdim=True)
    angle = t * cosine.clamp(-1, 1).acos()
    across = F.normalize(b - cosine * a, dim=-1)
    return F.normalize(a * angle.cos() + across * angle.sin(), dim=-1)


def prepared(images: Tensor, *, crop: bool) -> Tensor:
    """[N, 3, H, W]: the part around the face if asked for, then averaged down to at most 256 px by whole factors."""
    if crop:
        eighth = images.shape[2] // 8
        images = images[:, :, 3 * eighth : 7 * eighth, 2 * eighth : 6 * eighth]
    factor = max(images.shape[2:]) * (2 if crop else 1) // LARGEST_SIDE
    return to_rgb(F.avg_pool2d(images, factor) if factor > 1 else images)


def mean_length(lengths: Tensor) -> float:
    """Mean over the pairs between two percentiles of them, both included."""
    values = lengths.detach().double().cpu().numpy()
    low = np.percentile(values, PERCENTILES[0], method="lower")
    high = np.percentile(values, PERCENTILES[1], method="higher")
    return float(values[(values >= low) & (values <= high)].mean())
