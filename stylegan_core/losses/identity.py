"""Whether two pictures show the same subject, by an embedding network that is given: ArcFace, MoCo, bundled features, one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Embedder(Protocol):
    """A picture as a vector whose direction says who or what it shows."""

    name: str

    def embed(self, images: Tensor) -> Tensor:
        """images: [N, C, H, W] in [-1, 1] → [N, D]; differentiable."""
        ...


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of two lists of vectors [N, D] → [N]."""
    return (F.normalize(a, dim=1) * F.normalize(b, dim=1)).sum(dim=1)


def identity_to(embedder: Embedder, target: Tensor) -> Callable[[Tensor], Tensor]:
    """images → 1 - cosine to the target's embedding, [N] (pSp Eq. 4). target: [N, C, H, W], embedded once."""
    with torch.no_grad():
        kept = embedder.embed(target)
    return lambda images: 1 - similarity(embedder.embed(images), kept)
