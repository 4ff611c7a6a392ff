"""Pictures with the z that they were drawn from, and how far a generator is from rendering each from its own.

The distance starts a generator (see warm_start) and, weighted lightly, keeps it from forgetting while it trains adversarially.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.data.images import Indices
from stylegan_core.features import Features
from stylegan_core.generator import RNG
from stylegan_core.networks.noise_inputs import random_normal

LEVELS = 4  # pictures are compared at R, R/2, R/4, R/8
FEATURES_WEIGHT = 2.0  # of their distance beside the pyramid's
ATTRIBUTES_WEIGHT = 5.0  # of what they read off the two pictures: a smile is a few pixels
TWIN_WEIGHT = 0.1  # of twin_distance beside the distance of pictures


class PairedData(Protocol):
    """Pictures and the standard normal numbers that they were drawn from."""

    name: str

    def __len__(self) -> int: ...

    def images_u8(self, indices: Indices) -> np.ndarray:
        """[n, C, R, R] uint8."""
        ...

    def normals(self, indices: Indices) -> np.ndarray:
        """[n, D], D at most z_dim."""
        ...

    def shown(self, indices: Indices) -> np.ndarray:
        """[n, K]: numbers of unit size for all that the pictures show, K at most w_dim."""
        ...

    def twins(self, indices: Indices, rng: np.random.Generator) -> np.ndarray:
        """[n, D]: other numbers that draw the same pictures."""
        ...


def complete(normals: Tensor, z_dim: int, rng: RNG) -> Tensor:
    """normals [N, D] → z [N, z_dim] on the sphere of radius √z_dim, where the mapping network normalises every z to.

    The dimensions beyond D are random; where D numbers alone exceed the radius they are scaled back to 95 % of it.
    """
    rest = random_normal((len(normals), z_dim - normals.shape[1]), rng)
    norm = normals.norm(dim=1, keepdim=True)
    normals = normals * (0.95 * math.sqrt(z_dim) / norm).clamp(max=1)
    room = (z_dim - normals.square().sum(dim=1, keepdim=True)).sqrt()
    return torch.cat([normals, rest * room / rest.norm(dim=1, keepdim=True)], dim=1)


def anchor_term(distance: Callable[..., Tensor], generator: Any, data: PairedData, indices: Indices, images: Tensor, real: Tensor,
                ws: Tensor, streams: Sequence[torch.Generator], features: Features | None) -> tuple[Tensor, Tensor]:
    """([N] distance of images to the pictures of their own z, [N] that and the twins' term). distance: paired_distance, or it compiled.

    Images whose ws mix two z have no picture of their own and count 0.
    """
    is_single = (ws == ws[:, :1]).flatten(1).all(dim=1)
    apart = distance(images, real, features) * is_single
    numbers = [np.random.default_rng(int(torch.randint(2**62, [], generator=stream))) for stream in streams]
    twins = np.concatenate([data.twins([index], rng) for index, rng in zip(indices, numbers)])
    z = complete(torch.from_numpy(twins).float(), generator.z_dim, streams).to(ws.device)
    return apart, apart + TWIN_WEIGHT * twin_distance(ws[:, 0], generator.mapping.to_w(z))


def twin_distance(w: Tensor, twins: Tensor) -> Tensor:
    """How far apart two w are that mean the same picture, as a share of how far apart any two are: [N, w_dim] twice → [N].

    It keeps out of W what no picture shows; such directions could not be found again by a projection.
    """
    return (w - twins).square().sum(dim=1) / (2 * w.var(dim=0).sum() + 1e-8)


def paired_distance(images: Tensor, target: Tensor, features: Features | None) -> Tensor:
    """The pyramid's distance and, where features are given, theirs and that of the attributes read: two [N, C, R, R] → [N]."""
    loss = pyramid_distance(images, target)
    if features is None:
        return loss
    read, shown = (features.network.squashed(features.logits(x)).float() for x in (images, target))
    return (loss + FEATURES_WEIGHT * features.distance(target, images).float()
            + ATTRIBUTES_WEIGHT * (read - shown).square().mean(dim=1))


def pyramid_distance(images: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference summed over LEVELS halvings: two [N, C, R, R] → [N]."""
    loss = images.new_zeros(len(images))
    for _ in range(LEVELS):
        loss = loss + (images - target).abs().mean(dim=[1, 2, 3])
        images, target = F.avg_pool2d(images, 2), F.avg_pool2d(target, 2)
    return loss
