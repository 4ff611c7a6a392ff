"""The score of Salimans et al. (2016, Sec. 4): sure of every picture, and all classes used.

With the Inception network of 2015 and its 1008 classes it is the Inception score; with any other classifier it is not, and is
called class score.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stylegan_core.errors import UsageError

SPLITS = 10


def class_score(classes: Tensor, *, splits: int = SPLITS) -> tuple[float, float]:
    """(mean, standard deviation) over splits of exp of the mean KL(p(class | picture) ‖ p(class)); 1 to K.

    classes: [N, K] probabilities. The splits are consecutive and not shuffled; with fewer than two pictures each there are fewer.
    """
    if classes.ndim != 2 or len(classes) < 2:
        raise UsageError(f"a class score needs probabilities [N, K] of 2 pictures or more, not {tuple(classes.shape)}")
    p = classes.double()
    parts = p.tensor_split(max(1, min(splits, len(p) // 2)))
    values = torch.stack([mean_divergence(part).exp() for part in parts])
    return float(values.mean()), float(values.std(unbiased=False))


def mean_divergence(p: Tensor) -> Tensor:
    """Mean over rows of KL(row ‖ mean row), in nats: what a picture tells of its class. [N, K]."""
    marginal = p.mean(dim=0, keepdim=True)
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, marginal)).sum(dim=1).mean()


def joint_probabilities(binary: Tensor) -> Tensor:
    """[N, B] probabilities of independent yes-or-no questions → [N, 2^B] of all their answers together."""
    joint = torch.ones(len(binary), 1, dtype=binary.dtype, device=binary.device)
    for column in binary.unbind(dim=1):
        answers = torch.stack([1 - column, column], dim=1)
        joint = (joint[:, :, None] * answers[:, None]).flatten(1)
    return joint
