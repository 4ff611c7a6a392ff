"""Linear separability (SG Sec. 4.2): can a plane in latent space tell an attribute?

Samples are labelled by a classifier, the surer half of them is kept, a linear SVM learns the label from the latent, and the
entropy of the label that its answer leaves open is summed over the attributes: the score is exp of the sum, 1 at best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from stylegan_core.errors import UsageError

KEPT = 0.5


@dataclass(frozen=True)
class Separability:
    """score: exp of the summed entropies of `counted`. entropies: attribute → H(label | side of the plane), nats.

    accuracy: attribute → share of kept samples on the right side. held_out: the same entropies with answers of a plane that was
    fitted to the other half of the kept samples, and their score: with few samples the paper's own figure says little, since a
    plane through too few points separates anything.
    """

    score: float
    entropies: dict[str, float]
    accuracy: dict[str, float]
    held_out: dict[str, float]
    held_out_score: float
    counted: tuple[str, ...]
    kept: int


def separability(latents: Tensor, logits: Mapping[str, Tensor], *, counted: Sequence[str] | None = None) -> Separability:
    """latents: [N, D]. logits: attribute → [N], above 0 where it is there; how far from 0 tells how sure the classifier is.

    counted: attributes that the scores sum over; None = all of them.
    """
    if len(latents) < 4 or not logits:
        raise UsageError(f"separability needs 4 samples or more and an attribute, not {len(latents)} and {len(logits)}")
    x = latents.detach().double().cpu().numpy()
    kept = max(2, int(len(x) * KEPT))
    entropies, accuracy, held_out = {}, {}, {}
    for name, values in logits.items():
        logit = values.detach().double().cpu().numpy()
        surest = np.argsort(-np.abs(logit), kind="stable")[:kept]
        label = logit[surest] > 0
        answer = plane_answers(x[surest], label)
        entropies[name] = conditional_entropy(label, answer)
        accuracy[name] = float((label == answer).mean())
        held_out[name] = conditional_entropy(label, answers_of_others(x[surest], label))
    names = tuple(entropies if counted is None else counted)
    scores = [float(np.exp(sum(values[name] for name in names))) for values in (entropies, held_out)]
    return Separability(scores[0], entropies, accuracy, held_out, scores[1], names, kept)


def plane_answers(x: np.ndarray, label: np.ndarray, asked: np.ndarray | None = None) -> np.ndarray:
    """What a linear SVM that learned label [N] bool from x [N, D] says of asked [M, D]; None = of the same x."""
    from sklearn.svm import LinearSVC

    asked = x if asked is None else asked
    if label.all() or not label.any():
        return np.full(len(asked), bool(label[0]))
    return np.asarray(LinearSVC(dual="auto", random_state=0).fit(x, label).predict(asked), dtype=bool)


def answers_of_others(x: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Each half is answered by the plane of the other one; samples by turns belong to one and the other."""
    answers = np.empty(len(x), dtype=bool)
    for own, other in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        answers[own] = plane_answers(x[other], label[other], x[own])
    return answers


def conditional_entropy(label: np.ndarray, answer: np.ndarray) -> float:
    """H(label | answer) in nats of two bool arrays [N]."""
    total = 0.0
    for side in (False, True):
        chosen = label[answer == side]
        if len(chosen):
            share = np.array([chosen.mean(), 1 - chosen.mean()])
            share = share[share > 0]
            total -= len(chosen) / len(label) * float((share * np.log(share)).sum())
    return total
