"""How well an attribute network knows portraits that it never saw: per attribute, per person, and as a distance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylegan_core.data.labelled import LabelledImages
from stylegan_core.data.portraits import ATTRIBUTES
from stylegan_core.errors import UsageError
from stylegan_core.features import Features
from stylegan_core.metrics.ranking import rank_correlation

BATCH = 128
RANKED_PICTURES = 64


def in_batches(function: Callable[[Tensor], Tensor], images_u8: np.ndarray, batch: int = BATCH) -> Tensor:
    """function over uint8 [N, 3, R, R] as pictures in [-1, 1], batch by batch, without gradients → concatenated."""
    with torch.no_grad():
        return torch.cat([function(torch.from_numpy(part).float() / 127.5 - 1) for part in batches(images_u8, batch)])


def batches(images_u8: np.ndarray, batch: int) -> list[np.ndarray]:
    """Consecutive pieces, the last one may be shorter."""
    return [images_u8[first : first + batch] for first in range(0, len(images_u8), batch)]


def measure_features(
    features: Features, held_out: LabelledImages, pairs: LabelledImages, *, ranked: int = RANKED_PICTURES
) -> dict[str, Any]:
    """JSON-ready figures: 'attributes' by name, 'rank_correlation' by distortion with its mean, 'identity'.

    held_out: portraits that were not trained on. pairs: two sittings of each person, side by side. ranked: how many of
    the held-out portraits climb the ladders of distortions.
    """
    logits = in_batches(features.logits, held_out.images_u8)
    predicted = features.network.squashed(logits).double().numpy()
    figures = {}
    for index, name in enumerate(features.attribute_names):
        truth = held_out.attributes[:, ATTRIBUTES.index(name)]
        measure = binary_figures if name in features.binary_names else continuous_figures
        figures[name] = measure(predicted[:, index], truth)
    step = max(1, len(held_out) // ranked)
    pictures = torch.from_numpy(held_out.images_u8[::step][:ranked]).float() / 127.5 - 1
    return {
        "attributes": figures,
        "rank_correlation": rank_correlation(features.distance, pictures),
        "identity": identity_figures(in_batches(features.embed, pairs.images_u8)),
    }


def continuous_figures(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """r2 = share of the variance explained (1 is perfect, 0 is guessing the mean) and mean absolute error. [N] each."""
    residual = predicted - truth
    return {
        "r2": _rounded(1.0 - float(np.square(residual).mean()) / max(float(np.var(truth)), 1e-12)),
        "mae": _rounded(float(np.abs(residual).mean())),
    }


def binary_figures(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """accuracy at probability 1/2 and area under the ROC curve. [N] each; truth is 0 or 1."""
    from sklearn.metrics import roc_auc_score

    if len(np.unique(truth)) < 2:
        raise UsageError(f"{len(truth)} held-out portraits all have the same label; measure on more")
    return {
        "accuracy": _rounded(float(((predicted > 0.5) == (truth > 0.5)).mean())),
        "auc": _rounded(float(roc_auc_score(truth > 0.5, predicted))),
    }


def identity_figures(embedding: Tensor) -> dict[str, float]:
    """Whether two sittings of one person are closer than two people. embedding: [2 N, D] of length 1, sittings in turn.

    same, other: mean cosine; auc: of telling the two apart; top1: share of people whose other sitting is the closest of
    all the other sittings.
    """
    from sklearn.metrics import roc_auc_score

    first, second = embedding[0::2].double(), embedding[1::2].double()
    likeness = first @ second.T
    is_same = torch.eye(len(first), dtype=torch.bool)
    same, other = likeness[is_same], likeness[~is_same]
    truth = torch.cat([torch.ones(len(same)), torch.zeros(len(other))])
    return {
        "same": _rounded(float(same.mean())),
        "other": _rounded(float(other.mean())),
        "auc": _rounded(float(roc_auc_score(truth.numpy(), torch.cat([same, other]).numpy()))),
        "top1": _rounded(float((likeness.argmax(dim=1) == torch.arange(len(first))).double().mean())),
        "people": len(first),
    }


def _rounded(value: float) -> float:
    return round(value, 4)
