"""From evidence to a score, and from scores to likelihood ratios and p-values: plain numpy, so that it can be checked by hand.

A score is a logarithm (base 10) of a likelihood ratio as the fit sees it; what it is worth is told by other pictures than
those of the fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LIMIT = 8.0  # standard deviations at which a number of the evidence is cut off
STRENGTH = 0.3  # of the ridge: inverse regularisation of the logistic regression
CLASS_SHARE = 0.5  # of a slope that may differ from class to class, relative to the shared one


@dataclass(frozen=True)
class Head:
    """A logistic regression of one kind of own pictures against all others. names: of the evidence. classes: of laundering, each
    with slopes of its own beside the shared ones. centre, spread: [names]. weights: [(1 + classes) · (names + 1)].
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    centre: np.ndarray
    spread: np.ndarray
    weights: np.ndarray

    @classmethod
    def fit(cls, rows: Sequence[Mapping[str, float]], classes: Sequence[str], is_own: Sequence[bool], weights: Sequence[float],
            names: Sequence[str]) -> Head:  # fmt: skip
        """weights: of the rows; those of own and of other pictures are scaled to the same sum, so that no prior odds are learned."""
        from sklearn.linear_model import LogisticRegression

        values = np.array([[row[name] for name in names] for row in rows], dtype=np.float64)
        own, weight = np.array(is_own), np.array(weights, dtype=np.float64)
        weight = weight * np.where(own, 0.5 / weight[own].sum(), 0.5 / weight[~own].sum()) * len(own)
        known = tuple(sorted(set(classes)))
        centre, spread = values.mean(axis=0), values.std(axis=0)
        head = cls(tuple(names), known, centre, np.where(spread > 1e-9, spread, 1.0), np.zeros(0))
        design = head.design(rows, classes)
        model = LogisticRegression(C=STRENGTH, fit_intercept=False, max_iter=5000, tol=1e-6)
        model.fit(design, own, sample_weight=weight)
        return cls(head.names, known, head.centre, head.spread, model.coef_[0])

    def design(self, rows: Sequence[Mapping[str, float]], classes: Sequence[str]) -> np.ndarray:
        """[rows, (1 + classes) · (names + 1)]."""
        values = np.array([[row[name] for name in self.names] for row in rows], dtype=np.float64)
        z = np.clip((values - self.centre) / self.spread, -LIMIT, LIMIT)
        z = np.concatenate([z, np.ones((len(z), 1))], axis=1)
        parts = [z] + [z * (np.array(list(classes)) == name)[:, None] * CLASS_SHARE for name in self.classes]
        return np.concatenate(parts, axis=1)

    def score(self, rows: Sequence[Mapping[str, float]], classes: Sequence[str]) -> np.ndarray:
        """log10 of the likelihood ratio as the fit sees it, [rows]."""
        return self.design(rows, classes) @ self.weights / math.log(10)

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"names": list(self.names), "classes": list(self.classes), "centre": self.centre.tolist(),
                "spread": self.spread.tolist(), "weights": self.weights.tolist()}  # fmt: skip

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Head:
        """The inverse of `record`. Raises KeyError, TypeError, ValueError for what is none."""
        head = cls(tuple(record["names"]), tuple(record["classes"]), *(np.array(record[key], dtype=np.float64)
                   for key in ("centre", "spread", "weights")))  # fmt: skip
        size = (1 + len(head.classes)) * (len(head.names) + 1)
        if head.weights.shape != (size,) or head.centre.shape != (len(head.names),) or not np.isfinite(head.weights).all():
            raise ValueError("the weights do not fit the names")
        return head


def mixed(scores: Sequence[np.ndarray]) -> np.ndarray:
    """log10 of the mean of likelihood ratios that are given as log10: own pictures are of one kind or another."""
    stacked = np.stack(scores) * math.log(10)
    return (np.logaddexp.reduce(stacked, axis=0) - math.log(len(stacked))) / math.log(10)


def p_value(score: float, null: Sequence[float], *, is_small_odd: bool) -> float:
    """The share of the null, and of the picture itself, that is at least as odd: exact for pictures like those of the null
    (conformal, Vovk et al. 2005). is_small_odd: whether small scores are odd; else large ones are. null: may be empty.
    """
    values = np.asarray(null, dtype=np.float64)
    odd = int((values <= score).sum() if is_small_odd else (values >= score).sum())
    return (1 + odd) / (len(values) + 1)


@dataclass(frozen=True)
class RatioCurve:
    """log10 LR = slope · score + offset, between what the numbers of own and of other pictures support (cap: log10 n + 1 each)."""

    slope: float
    offset: float
    num_own: int
    num_others: int

    @classmethod
    def fit(cls, own: Sequence[float], others: Sequence[float]) -> RatioCurve:
        """Logistic calibration with both sides weighing the same (Brümmer and du Preez 2006), slightly held towards slope 1."""
        x = np.concatenate([np.asarray(own, float), np.asarray(others, float)]) * math.log(10)
        y = np.concatenate([np.ones(len(own)), np.zeros(len(others))])
        weight = np.where(y == 1, 0.5 / max(1, len(own)), 0.5 / max(1, len(others)))
        beta, prior, scale = np.array([1.0, 0.0]), np.array([1.0, 0.0]), 1e-3
        design = np.stack([x, np.ones_like(x)], axis=1)
        for _ in range(100):
            p = 1 / (1 + np.exp(-np.clip(design @ beta, -60, 60)))
            slope = design.T @ (weight * (p - y)) + scale * (beta - prior)
            matrix = (design * (weight * p * (1 - p))[:, None]).T @ design + scale * np.eye(2)
            step = np.linalg.solve(matrix, slope)
            beta = beta - step / max(1.0, float(np.abs(step).max()))
            if np.abs(step).max() < 1e-10:
                break
        return cls(float(max(beta[0], 1e-3)), float(beta[1] / math.log(10)), len(own), len(others))

    def log10_ratio(self, score: float) -> float:
        """Capped."""
        return float(np.clip(self.slope * score + self.offset, -math.log10(self.num_own + 1), math.log10(self.num_others + 1)))
