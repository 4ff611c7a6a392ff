"""The rules from assessments to words, and what a calibration accepts and refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from invert.attribution.calibration import Assessment, Calibration, CalibrationError, Measured, limits_of
from invert.attribution.evidence import NAMES
from invert.attribution.score import Head, RatioCurve
from invert.attribution.verdict import Candidate, check_fpr, decide, ruled
from stylegan_core.errors import UsageError


def measured(kind: str, likelihood: float, **facts) -> Measured:
    values = {name: 0.0 for name in NAMES} | {"likelihood": likelihood, "complexity_low": 2.0}
    return Measured(kind, "clean", 0, "clean", "fit", values | facts.pop("values", {}),
                    **{"scale": 1.0, "quality": None, "detail": -1.0, "grain": 2.0, **facts})  # fmt: skip


def calibrated(count: int = 200) -> Calibration:
    rng = np.random.default_rng(0)
    own = [measured("sampled", float(x)) for x in rng.normal(0, 0.1, count)]
    others = [measured("real", float(x)) for x in rng.normal(1, 0.1, count)]
    head = Head.fit([row.values for row in own + others], ["clean"] * 2 * count, [True] * count + [False] * count, [1.0] * 2 * count,
                    ("likelihood",))  # fmt: skip
    scores = [head.score([row.values for row in rows], ["clean"] * count).tolist() for rows in (own, others)]
    null = dict(zip(("sampled", "real"), scores))
    curve = RatioCurve.fit(null["sampled"], null["real"])
    return Calibration("a", "a" * 64, "none", {"sampled": head}, {"clean": null}, {"clean": curve}, limits_of(own))


def one_class(count: int = 19) -> Calibration:
    scores = (-np.random.default_rng(0).normal(0, 0.1, count)).tolist()
    return Calibration("a", "a" * 64, "none", {}, {"clean": {"sampled": scores}}, {}, limits_of([measured("sampled", 0.0)]))


def verdict_of(calibration: Calibration, row: Measured, fpr: float = 0.01) -> tuple[str, str]:
    assessment = calibration.assess(row.values, row.laundering_class)
    assert np.isfinite(assessment.score) and 0 < assessment.p_generated <= 1
    return ruled("a", row, assessment, calibration, fpr)


def test_own_and_other_pictures_get_their_words() -> None:
    calibration = calibrated()
    assert verdict_of(calibration, measured("", 0.05))[0] == "made_by"
    assert verdict_of(calibration, measured("", 1.1))[0] == "none"
    assessment = calibration.assess(measured("", 0.05).values, "clean")
    assert assessment.p_not_generated == pytest.approx(1 / 201) and assessment.log10_ratio == pytest.approx(np.log10(201))
    assert assessment.p_generated > 0.05 and calibration.assess(measured("", 1.1).values, "clean").log10_ratio < -2


def test_too_few_others_never_reach_a_small_rate() -> None:
    verdict, reason = verdict_of(calibrated(count=40), measured("", 0.0), fpr=0.01)
    assert verdict == "cannot_say" and "1.0%" in reason
    assert verdict_of(calibrated(count=40), measured("", 0.0), fpr=0.05)[0] == "made_by"


def test_own_samples_alone_never_say_made_by() -> None:
    calibration = one_class()
    assert verdict_of(calibration, measured("", 0.0))[0] == "consistent_with"
    verdict, reason = verdict_of(calibration, measured("", 0.9))
    assert verdict == "none" and "none of 19" in reason
    assessment = calibration.assess(measured("", 0.0).values, "clean")
    assert assessment.log10_ratio is None and assessment.p_not_generated is None
    with pytest.raises(UsageError, match=r"--fpr 0\.05: a is known by its own samples alone"):
        check_fpr(0.05, [calibration])
    assert check_fpr(None, [calibration]) == 0.01 and check_fpr(0.05, [calibrated()]) == 0.05


@pytest.mark.parametrize(
    "facts, words",
    [
        ({"scale": 0.25}, "0.25 pixels per pixel"),
        ({"quality": 10}, "JPEG quality is 10"),
        ({"detail": -3.0}, "softer"),
        ({"grain": 80.0}, "noisier"),
        ({"values": {"complexity_low": -1.0}}, "one colour"),
    ],
)
def test_what_is_too_degraded_cannot_be_said(facts, words: str) -> None:
    verdict, reason = verdict_of(calibrated(), measured("", 0.0, **facts))
    assert verdict == "cannot_say" and words in reason


def test_a_class_that_was_not_calibrated_guarantees_nothing() -> None:
    row = replace(measured("", 0.0), laundering_class="jpeg")
    verdict, reason = verdict_of(calibrated(), row)
    assert verdict == "cannot_say" and "no rate is guaranteed" in reason
    assert not calibrated().assess(row.values, "jpeg").is_calibrated


def test_every_kind_of_other_pictures_counts_even_where_a_class_holds_few_of_it() -> None:
    whole = calibrated()
    score = whole.null["clean"]["sampled"][0]
    few = replace(whole, null={"clean": {**whole.null["clean"], "by b": [score - 9] * 4}})
    absent = replace(whole, null={**whole.null, "jpeg": {"by b": [score - 9] * 200}})
    row = measured("", 0.0)
    assert few.assess(row.values, "clean").p_not_generated == pytest.approx(1 / 5)
    assert absent.assess(row.values, "clean").p_not_generated == 1.0 and absent.other_kinds == ["by b", "real"]
    assert verdict_of(few, row, fpr=0.05)[0] == verdict_of(absent, row, fpr=0.05)[0] == "cannot_say"
    assert verdict_of(few, row, fpr=0.2)[0] == "made_by"


def candidate(model: str, verdict: str, score: float, calibration: Calibration | None = None) -> Candidate:
    assessment = Assessment(score, 1.0, 0.5, 0.001, "clean", True, None)
    return Candidate(model, "0" * 64, verdict, f"reason of {model}", assessment, None, calibration or calibrated())


def test_of_several_candidates_the_likeliest_is_named_or_nobody() -> None:
    sure = decide([candidate("a", "none", -4), candidate("b", "made_by", 3)])
    assert (sure.verdict, sure.model, sure.candidates[0].model) == ("made_by", "b", "b")
    twins = decide([candidate("a", "made_by", 3.1), candidate("b", "made_by", 3.0)])
    assert twins.verdict == "cannot_say" and twins.model is None and "a and b" in twins.reason
    clear = decide([candidate("a", "made_by", 1.5), candidate("b", "made_by", 3.0)])
    assert clear.model == "b" and "less likely: a" in clear.reason
    assert decide([candidate("a", "none", 1), candidate("b", "none", 2)]).verdict == "none"
    assert decide([candidate("a", "none", 1), candidate("b", "cannot_say", 2)]).verdict == "cannot_say"


def test_a_calibration_survives_its_file_and_refuses_others(tmp_path) -> None:
    path = tmp_path / "calibration.json"
    calibration = calibrated()
    calibration.save(path)
    again = Calibration.load(path)
    assert again.sha256 == calibration.sha256
    values = measured("", 0.3).values
    assert again.assess(values, "clean").p_generated == calibration.assess(values, "clean").p_generated
    with pytest.raises(CalibrationError, match=r"was made for a .* not for this model"):
        again.check("b" * 64, "none", path)
    with pytest.raises(CalibrationError, match="--perceptual"):
        again.check("a" * 64, "vgg", path)
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "evidence_version": -1}))
    with pytest.raises(CalibrationError, match="another version"):
        Calibration.load(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[1", '{"format": "invert-calibration"}', '{"null": {"a": 3}}', "null"])
def test_files_that_are_no_calibration_are_refused_in_one_line(tmp_path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(CalibrationError) as caught:
        Calibration.load(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    with pytest.raises(CalibrationError, match="no such file"):
        Calibration.load(tmp_path / "absent.json")


@pytest.mark.parametrize("key, value", [("null", {"clean": {"sampled": ["x"]}}), ("heads", {"sampled": {}}), ("ratios", {"clean": [1]}),
                                        ("limits", {}), ("null", {"clean": {"sampled": [float("nan")]}})])  # fmt: skip
def test_a_damaged_calibration_is_refused(tmp_path, key: str, value) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({**calibrated().record(), key: value}))
    with pytest.raises(CalibrationError, match="damaged"):
        Calibration.load(path)
