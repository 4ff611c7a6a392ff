"""Scores, p-values and likelihood ratios: learned without prior odds, exact, monotone and capped."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from invert.attribution.measures import auc, cllr, cllr_min, rate_interval, rate_row, reliability, roc, share_above, tippett, wilson
from invert.attribution.score import Head, RatioCurve, mixed, p_value


def rows(count: int, shift: float, seed: int) -> list[dict[str, float]]:
    values = np.random.default_rng(seed).normal(size=(count, 2)) + np.array([shift, 0.0])
    return [{"near": float(a), "other": float(b)} for a, b in values]


def test_a_head_learns_the_ratio_whatever_the_numbers_of_both_sides() -> None:
    own, others = rows(300, 1.0, 0), rows(900, -1.0, 1)
    head = Head.fit(own + others, ["clean"] * 1200, [True] * 300 + [False] * 900, [1.0] * 1200, ("near", "other"))
    score = head.score(rows(400, 0.0, 2), ["clean"] * 400)
    truth = np.array([2 * row["near"] / math.log(10) for row in rows(400, 0.0, 2)])
    assert np.abs(score - truth).mean() < 0.15 and np.corrcoef(score, truth)[0, 1] > 0.99


def test_a_head_has_slopes_for_each_class_and_survives_json() -> None:
    own, others = rows(200, 1.0, 0), rows(200, -1.0, 1)
    flipped = [{**row, "near": -row["near"]} for row in [*own[100:], *others[100:]]]
    data, classes = [*own[:100], *others[:100], *flipped], ["clean"] * 200 + ["jpeg"] * 200
    is_own = [True] * 100 + [False] * 100 + [True] * 100 + [False] * 100
    head = Head.fit(data, classes, is_own, [1.0] * 400, ("near", "other"))
    score = head.score(data, classes)
    assert roc_auc_score(is_own[:200], score[:200]) > 0.85 and roc_auc_score(is_own[200:], score[200:]) > 0.85
    again = Head.from_record(json.loads(json.dumps(head.record())))
    assert np.array_equal(again.score(data, classes), score)
    with pytest.raises(ValueError, match="do not fit"):
        Head.from_record({**head.record(), "weights": [1.0]})


def test_a_score_is_finite_for_absurd_numbers() -> None:
    head = Head.fit(rows(50, 1, 0) + rows(50, -1, 1), ["clean"] * 100, [True] * 50 + [False] * 50, [1.0] * 100, ("near", "other"))
    assert np.isfinite(head.score([{"near": 1e12, "other": -1e12}], ["never seen"])).all()


def test_mixtures_lie_between_their_parts() -> None:
    value = mixed([np.array([2.0]), np.array([-3.0])])[0]
    assert math.isclose(value, math.log10((10**2 + 10**-3) / 2))


def test_p_values_are_uniform_under_the_null() -> None:
    rng = np.random.default_rng(0)
    values = []
    for _ in range(2000):
        null = rng.normal(size=99)
        values.append(p_value(float(rng.normal()), null.tolist(), is_small_odd=True))
    assert abs(np.mean(np.array(values) <= 0.01) - 0.01) < 0.008 and abs(np.mean(np.array(values) <= 0.2) - 0.2) < 0.03
    assert p_value(0.0, [], is_small_odd=True) == 1.0 and p_value(5.0, [1, 2, 3], is_small_odd=False) == 0.25


def test_p_values_are_ranks_among_the_null_and_the_picture_itself() -> None:
    rng = np.random.default_rng(1)
    for size in (1, 19, 40):
        null = rng.integers(0, 12, size).astype(float)  # with ties
        score = float(rng.integers(0, 12))
        pooled = np.append(null, score)
        below, above = rankdata(pooled, method="max")[-1], rankdata(-pooled, method="max")[-1]
        assert p_value(score, null.tolist(), is_small_odd=True) == pytest.approx(below / (size + 1))
        assert p_value(score, null.tolist(), is_small_odd=False) == pytest.approx(above / (size + 1))
    pool = rng.normal(size=20)  # whichever of them is the new one: every multiple of 1/20 once
    found = sorted(p_value(float(pool[i]), np.delete(pool, i).tolist(), is_small_odd=True) for i in range(20))
    assert found == pytest.approx([(i + 1) / 20 for i in range(20)])


def test_ratios_are_monotone_capped_and_calibrated() -> None:
    rng = np.random.default_rng(0)
    own, others = rng.normal(1, 1, 400), rng.normal(-1, 1, 400)
    curve = RatioCurve.fit(own.tolist(), others.tolist())
    assert abs(curve.slope - 2 / math.log(10)) < 0.12 and abs(curve.offset) < 0.12
    assert curve.log10_ratio(50) == math.log10(401) and curve.log10_ratio(-50) == -math.log10(401)
    backwards = RatioCurve.fit(others.tolist(), own.tolist())
    assert backwards.slope > 0 and math.isfinite(backwards.log10_ratio(3.0))
    apart = RatioCurve.fit([5.0] * 30, [-5.0] * 30)
    assert math.isfinite(apart.slope) and apart.log10_ratio(0.0) == pytest.approx(0, abs=0.1)


def test_areas_and_rates_agree_with_other_implementations() -> None:
    rng = np.random.default_rng(0)
    own, others = rng.normal(1, 1, 150), rng.normal(0, 1, 250)
    area, low, high = auc(own.tolist(), others.tolist())
    assert area == pytest.approx(roc_auc_score([1] * 150 + [0] * 250, [*own, *others])) and low < area < high
    x, y = roc(own.tolist(), others.tolist())
    assert float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)) == pytest.approx(area)
    assert auc([2.0] * 40, [1.0] * 40)[0] == 1.0 and 0.9 < auc([2.0] * 40, [1.0] * 40)[1] < 1
    rate, low, high = share_above(own.tolist(), others.tolist(), 0.05)
    assert rate == (own > np.sort(others)[-13]).mean() and low < rate < high
    assert wilson(0, 100)[0] == 0 and 0.03 < wilson(0, 100)[1] < 0.04


def test_the_interval_of_rates_holds() -> None:
    rng, outside = np.random.default_rng(0), 0
    low, high = rate_interval(300, 0.05, 120)
    for _ in range(400):
        null, fresh = rng.normal(size=120), rng.normal(size=300)
        alarms = sum(p_value(float(x), null.tolist(), is_small_odd=False) <= 0.05 for x in fresh)
        outside += not low <= alarms / 300 <= high
    assert outside <= 12  # 1 % of 400 are 4
    assert rate_row(0, 1000, 0.5, 999)["place"] == "below" and rate_row(50, 100, 0.01, 200)["place"] == "above"
    assert rate_interval(100, 0.01, 50) == (0.0, 0.0)  # too few to ever say it


def test_costs_of_ratios() -> None:
    rng = np.random.default_rng(0)
    own, others = rng.normal(1, 1, 2000) * 2 / math.log(10), rng.normal(-1, 1, 2000) * 2 / math.log(10)
    assert cllr([0.0], [0.0]) == pytest.approx(1.0)
    assert cllr_min(own.tolist(), others.tolist()) <= cllr(own.tolist(), others.tolist()) < cllr((3 * own).tolist(), (3 * others).tolist())
    _, share = tippett(own.tolist())
    assert (np.diff(share) <= 0).all() and share[0] > 0.99
    assert all(abs(said - found) < 0.45 for said, found, _ in reliability(own.tolist(), others.tolist())[1:-1])
