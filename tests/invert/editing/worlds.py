"""A tiny world whose attributes are known functions of the picture, for finders."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def scores(images: Tensor) -> Mapping[str, Tensor]:
    """brightness, redness (continuous, differentiable)."""
    return {"brightness": images.mean(dim=(1, 2, 3)), "redness": (images[:, 0] - images[:, 2]).mean(dim=(1, 2))}


def bright_or_not(images: Tensor) -> Mapping[str, Tensor]:
    """bright (a class) beside left (continuous)."""
    value = images.mean(dim=(1, 2, 3))
    return {"bright": (value > value.new_tensor(-0.05)).float(), "left": images[..., : images.shape[3] // 2].mean(dim=(1, 2, 3))}


class TinyClip(torch.nn.Module):
    """A random CLIP: pictures and texts into 8 numbers. Texts are hashed by their characters."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.picture = torch.randn(3 * 16, 8, generator=rng)
        self.letters = torch.randn(128, 8, generator=rng)

    def encode_pictures(self, images: Tensor) -> Tensor:
        pooled = torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)
        return pooled @ self.picture.to(pooled)

    def encode_texts(self, texts) -> Tensor:
        return torch.stack([self.letters[[ord(c) % 128 for c in text]].sum(dim=0) for text in texts])
