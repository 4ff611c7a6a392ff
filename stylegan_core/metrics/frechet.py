"""Fréchet distance of two Gaussians fitted to features (Dowson and Landau 1982, Eq. 16; Heusel et al. 2017, Eq. 6).

In the features of portraits-judge it is called by that name; it is not the FID, which has an Inception network's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.metrics.moments import Moments


def frechet_distance(first: Moments, second: Moments) -> float:
    """|μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁^½ Σ₂ Σ₁^½)^½), 0 or more.

    The symmetric form has the trace of (Σ₁ Σ₂)^½ and real eigenvalues whatever the rank, so no square root of an
    unsymmetric matrix is needed and no small multiple of the identity is added.
    """
    if first.mean.shape != second.mean.shape:
        raise UsageError(f"features of {len(first.mean)} and of {len(second.mean)} numbers cannot be compared")
    cov_first, cov_second = first.covariance, second.covariance
    root = symmetric_root(cov_first)
    product = root @ cov_second @ root
    cross = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
    means = (first.mean - second.mean).square().sum()
    return max(0.0, float(means + cov_first.trace() + cov_second.trace() - 2 * cross))


def symmetric_root(matrix: Tensor) -> Tensor:
    """The positive square root of a symmetric positive semi-definite matrix [D, D]."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
