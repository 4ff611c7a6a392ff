"""Samples of a generator's W that projections lean on: mean, spread, priors, and pictures for the search of a start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from invert.projectors.likeness import Gallery
from stylegan_core.generator import Generator, place_of
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.losses.perceptual import shrink
from stylegan_core.losses.regularisers import WPrior
from stylegan_core.provenance import model_sha256

W_SEED = 123  # of the samples that give mean and spread of w, as in the official projector
NUM_W = 10_000
BATCH_PIXELS = 1 << 18  # rendered together
THUMBNAIL_SIDE = 32  # of the pictures that are kept


@dataclass
class WSamples:
    """z, c and w of many samples of one generator, and what follows from them; kept per process by the model's hash.

    z: [K, z_dim]. c: [K, c_dim], all classes alike; None = unconditional. w: [K, w_dim].
    """

    generator: Generator
    sha256: str
    z: Tensor
    c: Tensor | None
    w: Tensor
    _thumbnails: dict[bytes, Tensor] = field(default_factory=dict)
    _priors: dict[bool, WPrior] = field(default_factory=dict)
    _galleries: dict[int, Gallery] = field(default_factory=dict)
    _kept: ClassVar[dict[tuple[str, str, int], WSamples]] = {}
    _most_kept: ClassVar[int] = 4

    @classmethod
    @torch.no_grad()
    def of(cls, generator: Generator, *, num_samples: int = NUM_W) -> WSamples:
        """Drawn once per generator, device and process (SG2 App. D: 10 000 samples)."""
        device, dtype = place_of(generator)
        key = (model_sha256(generator), f"{device} {dtype}", num_samples)  # type: ignore[arg-type]
        if key not in cls._kept:
            numbers = np.random.RandomState(W_SEED).randn(num_samples, generator.z_dim)
            z = torch.from_numpy(numbers).to(device, dtype)
            c = None
            if generator.c_dim:
                c = F.one_hot(torch.arange(num_samples, device=device) % generator.c_dim, generator.c_dim).to(dtype)
            while len(cls._kept) >= cls._most_kept:
                cls._kept.pop(next(iter(cls._kept)))
            cls._kept[key] = cls(generator, key[0], z, c, generator.mapping.to_w(z, c))
        return cls._kept[key]

    @property
    def mean(self) -> Tensor:
        """[w_dim]."""
        return self.w.mean(dim=0)

    @property
    def spread(self) -> float:
        """Root mean squared distance of w to its mean: one number for all components together (SG2 App. D)."""
        return float((self.w - self.mean).square().sum(dim=1).mean().sqrt())

    @property
    def prior(self) -> WPrior:
        """Gaussian of w."""
        return self._prior(is_p_space=False)

    @property
    def p_prior(self) -> WPrior:
        """Gaussian of p (PN Sec. 3.1)."""
        return self._prior(is_p_space=True)

    @torch.no_grad()
    def w_of(self, label: Tensor | None, count: int) -> tuple[Tensor, Tensor | None]:
        """(w [count, w_dim], c [count, c_dim] or None) of the first samples. label: [c_dim]; None = each its own."""
        if label is None:
            return self.w[:count], None if self.c is None else self.c[:count]
        c = label.to(self.w).expand(count, -1)
        return self.generator.mapping.to_w(self.z[:count], c), c

    @torch.no_grad()
    def thumbnails(self, label: Tensor | None, count: int) -> Tensor:
        """[count, C, h, w]: small pictures of `w_of`, without noise; rendered when they are first asked for."""
        key = b"" if label is None else label.detach().cpu().numpy().tobytes()
        held = self._thumbnails.get(key)
        have = 0 if held is None else len(held)
        if have < count:
            w, _ = self.w_of(label, count)
            parts = [] if held is None else [held]
            step = max(1, BATCH_PIXELS // self.generator.img_resolution**2)
            for first in range(have, count, step):
                latent = Latent(w[first : first + step], LatentSpace.W)
                parts.append(shrink(latent.render(self.generator, noise_mode="none"), THUMBNAIL_SIDE))
            self._thumbnails[key] = torch.cat(parts)
        return self._thumbnails[key][:count]

    @property
    def num_thumbnails(self) -> int:
        """How many pictures over all classes are there already."""
        return len(self._thumbnails[b""]) if b"" in self._thumbnails else 0

    def gallery(self, count: int) -> Gallery:
        """What pictures are compared with, from `count` thumbnails."""
        if count not in self._galleries:
            self._galleries[count] = Gallery.of(self.thumbnails(None, count))
        return self._galleries[count]

    def _prior(self, *, is_p_space: bool) -> WPrior:
        if is_p_space not in self._priors:
            self._priors[is_p_space] = WPrior.from_samples(self.w, is_p_space=is_p_space)
        return self._priors[is_p_space]
