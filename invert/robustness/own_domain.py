"""How far a picture lies from what a model draws by itself, in features of the judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from invert.projectors.samples import WSamples
from invert.robustness.setting import Setting
from stylegan_core.latent import Latent, LatentSpace

SAMPLES = 256
BATCH = 16


@dataclass(frozen=True)
class OwnDomain:
    """features: [K, P] of own samples. usual: median distance of a sample to the nearest other one."""

    judge: Any
    features: Tensor
    usual: float

    @classmethod
    @torch.no_grad()
    def of(cls, setting: Setting, *, count: int = SAMPLES) -> OwnDomain:
        """Of the setting's generator, drawn once."""
        key = ("own domain", count)
        if key not in setting.kept:
            w, c = WSamples.of(setting.generator).w_of(None, count)
            features = []
            for first in range(0, count, BATCH):
                rows = slice(first, first + BATCH)
                latent = Latent(w[rows], LatentSpace.W, None if c is None else c[rows])
                images = latent.render(setting.generator, noise_mode="const").clamp(-1, 1)
                features.append(setting.judge.pooled(images))
                setting.tell("own samples", min(first + BATCH, count), count)
            joined = torch.cat(features)
            apart = torch.cdist(joined, joined) + torch.diag(torch.full((count,), torch.inf)).to(joined)
            setting.kept[key] = cls(setting.judge, joined, float(apart.min(dim=1).values.median()))
        return setting.kept[key]  # type: ignore[no-any-return]

    @torch.no_grad()
    def distance(self, images: Tensor) -> Tensor:
        """images: [N, C, H, W] → [N]: to the nearest own sample, in units of what is usual between samples."""
        nearest = torch.cdist(self.judge.pooled(images.clamp(-1, 1)), self.features).min(dim=1).values
        return nearest / max(self.usual, 1e-12)
