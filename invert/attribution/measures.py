"""How good scores are: ROC and its area, rates with intervals, and what likelihood ratios cost (Brümmer and du Preez 2006)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Z95 = 1.959964  # standard deviations of a two-sided 95 % interval
INSIDE = 0.99  # of the interval that a measured rate must lie in


def roc(own: Sequence[float], others: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(false alarm rate, hit rate) at every threshold, from (0, 0) to (1, 1)."""
    a, b = np.asarray(own, float), np.asarray(others, float)
    thresholds = np.unique(np.concatenate([a, b]))[::-1]
    hits = (a[None] >= thresholds[:, None]).mean(axis=1) if len(thresholds) else np.zeros(0)
    alarms = (b[None] >= thresholds[:, None]).mean(axis=1) if len(thresholds) else np.zeros(0)
    return np.concatenate([[0.0], alarms, [1.0]]), np.concatenate([[0.0], hits, [1.0]])


def auc(own: Sequence[float], others: Sequence[float]) -> list[float]:
    """[area, low, high] with a 95 % interval (DeLong et al. 1988, on the logit); ties count half."""
    a, b = np.asarray(own, float), np.asarray(others, float)
    wins = _ranks_below(a, b) / len(b)  # of each own picture, the share of others below it
    losses = 1 - _ranks_below(b, a) / len(a)
    area = float(wins.mean())
    variance = (wins.var(ddof=1) if len(a) > 1 else 0.0) / len(a) + (losses.var(ddof=1) if len(b) > 1 else 0.0) / len(b)
    if area >= 1 - 1e-12:  # nothing overlaps: what a rate of none in the smaller number allows
        return [1.0, 1 - 3 / min(len(a), len(b)) if min(len(a), len(b)) > 3 else 0.0, 1.0]
    if area <= 0 or variance <= 0:
        return [area, area, area]
    centre, half = math.log(area / (1 - area)), Z95 * math.sqrt(variance) / (area * (1 - area))
    return [area, 1 / (1 + math.exp(-(centre - half))), 1 / (1 + math.exp(-(centre + half)))]


def share_above(own: Sequence[float], others: Sequence[float], fpr: float) -> list[float]:
    """[hit rate at this rate of false alarms, low, high]: the threshold lets at most that share of the others pass; Wilson's
    interval of 95 % for the hits.
    """
    b = np.sort(np.asarray(others, float))[::-1]
    allowed = math.floor(fpr * len(b) + 1e-9)
    threshold = b[allowed] if allowed < len(b) else -math.inf
    hits = int((np.asarray(own, float) > threshold).sum())
    return [hits / len(own), *wilson(hits, len(own))]


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a rate (Wilson 1927)."""
    if count == 0:
        return 0.0, 1.0
    p, z2 = hits / count, Z95**2
    centre = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 * math.sqrt(p * (1 - p) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return max(0.0, centre - half), min(1.0, centre + half)


def rate_row(alarms: int, count: int, fpr: float, num_calibration: int) -> dict[str, Any]:
    """A measured rate of false alarms beside the interval in which 99 % of rates lie when the threshold is that of `num_calibration`
    others: the number of alarms is then beta-binomial. place: inside, below, above.
    """
    low, high = rate_interval(count, fpr, num_calibration)
    rate = alarms / count if count else 0.0
    place = "below" if rate < low else "above" if rate > high else "inside"
    return {"alarms": alarms, "count": count, "rate": rate, "low": low, "high": high, "place": place}


def rate_interval(count: int, fpr: float, num_calibration: int) -> tuple[float, float]:
    """(low, high) of the share of `count` new pictures with p ≤ fpr, p from `num_calibration` others."""
    from scipy.stats import betabinom

    passing = math.floor(fpr * (num_calibration + 1) + 1e-9)  # p ≤ fpr: at most this many of all lie as high, itself counted
    if passing < 1 or count < 1:
        return 0.0, 0.0
    law = betabinom(count, passing, num_calibration + 1 - passing)
    tail = (1 - INSIDE) / 2
    return float(law.ppf(tail)) / count, float(law.ppf(1 - tail)) / count


def cllr(own: Sequence[float], others: Sequence[float]) -> float:
    """What log10 likelihood ratios cost in bits: 0 is perfect, 1 says nothing."""
    a, b = (np.asarray(x, float) * math.log(10) for x in (own, others))
    return float((np.logaddexp(0, -a).mean() + np.logaddexp(0, b).mean()) / (2 * math.log(2)))


def cllr_min(own: Sequence[float], others: Sequence[float]) -> float:
    """The cost with the best monotone calibration there is (pool adjacent violators)."""
    from sklearn.isotonic import IsotonicRegression

    x = np.concatenate([np.asarray(own, float), np.asarray(others, float)])
    y = np.concatenate([np.ones(len(own)), np.zeros(len(others))])
    weight = np.where(y == 1, 0.5 / len(own), 0.5 / len(others))
    p = IsotonicRegression(y_min=0, y_max=1).fit(x, y, sample_weight=weight).predict(x)
    with np.errstate(divide="ignore"):
        ratio = np.clip(np.log10(p) - np.log10(1 - p), -50, 50)
    return cllr(ratio[y == 1], ratio[y == 0])


def tippett(ratios: Sequence[float], *, points: int = 81, reach: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """(log10 LR, share of ratios that are at least that)."""
    x = np.linspace(-reach, reach, points)
    values = np.asarray(ratios, float)
    return x, (values[None] >= x[:, None]).mean(axis=1)


def reliability(own: Sequence[float], others: Sequence[float], *, bins: int = 8) -> list[tuple[float, float, int]]:
    """[(mean log10 LR, log10 of the ratio that is observed there, pictures)] in bins of equal counts; sides weigh the same."""
    x = np.concatenate([np.asarray(own, float), np.asarray(others, float)])
    y = np.concatenate([np.ones(len(own)), np.zeros(len(others))])
    rows = []
    for part in np.array_split(np.argsort(x, kind="stable"), bins):
        if len(part) == 0:
            continue
        a, b = (y[part].sum() + 0.5) / (len(own) + 1), (len(part) - y[part].sum() + 0.5) / (len(others) + 1)
        rows.append((float(x[part].mean()), float(math.log10(a / b)), len(part)))
    return rows


def _ranks_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each value how many of the others are smaller; equal ones count half."""
    ordered = np.sort(others)
    return (np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")) / 2
