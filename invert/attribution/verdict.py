"""From assessments to words: made_by, consistent_with, none, cannot_say; and which of several candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from invert.attribution.calibration import CLASSES, FEWEST, RENDERED, SAMPLED, Assessment, Calibration, Measured
from invert.attribution.evidence import Evidence
from invert.reports import jsonable
from stylegan_core.errors import UsageError

MADE_BY, CONSISTENT, NONE, CANNOT_SAY = "made_by", "consistent_with", "none", "cannot_say"
DEFAULT_FPR, MISS = 0.01, 0.01
FLATTEST = 0.0  # log10 of the mean square of low cosines in grey levels: below it there is nothing to see
TOLD_APART, TOLD_APART_PLAIN = 1.0, 0.2  # log10 between two candidates that both pass; of plain scores, which are per value


@dataclass(frozen=True)
class Candidate:
    """One model's case. verdict: as if it were the only candidate. notes: what to know beside the reason."""

    model: str
    model_sha256: str
    verdict: str
    reason: str
    assessment: Assessment
    evidence: Evidence
    calibration: Calibration
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        a = self.assessment
        ratio = None if a.log10_ratio is None else 10.0**a.log10_ratio
        return jsonable({
            "model": self.model, "model_sha256": self.model_sha256, "score": a.score, "likelihood_ratio": ratio,
            "p_generated": a.p_generated, "p_not_generated": a.p_not_generated, "verdict": self.verdict, "reason": self.reason,
            "origin": a.origin, "laundering_class": a.laundering_class, "guaranteed": a.is_calibrated, "notes": list(self.notes),
            "calibration": "one-class" if self.calibration.is_one_class else "calibrated",
            "calibration_sha256": self.calibration.sha256, "evidence": self.evidence.record(),
        })  # fmt: skip


@dataclass(frozen=True)
class Attribution:
    """verdict and reason over all candidates, the likeliest first. model: whom made_by and consistent_with name; else None."""

    verdict: str
    reason: str
    model: str | None
    candidates: list[Candidate]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Of the likeliest candidate."""
        return self.candidates[0].assessment.score

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"verdict": self.verdict, "reason": self.reason, "made_by": self.model,
                "candidates": [candidate.record() for candidate in self.candidates], **self.facts}  # fmt: skip


def check_fpr(fpr: float | None, calibrations: Sequence[Calibration]) -> float:
    """The rate of false alarms that holds. Raises UsageError for one that cannot."""
    if fpr is None:
        return DEFAULT_FPR
    if not 0 < fpr < 1:
        raise UsageError(f"--fpr {fpr}: a number between 0 and 1 is allowed, such as 0.01")
    for calibration in calibrations:
        if calibration.is_one_class:
            raise UsageError(
                f"--fpr {fpr}: {calibration.model} is known by its own samples alone, which controls misses and not false alarms; "
                f"run `invert calibrate --model {calibration.model} --real DIR` first, or leave --fpr out"
            )
    return fpr


def assess_candidate(model: str, sha256: str, evidence: Evidence, assessment: Assessment, calibration: Calibration, *, fpr: float,
                    shape: tuple[int, int]) -> Candidate:  # fmt: skip
    """The case of one model; shape: (H, W) of its pictures."""
    measured = Measured.of("", "", 0, "", evidence, shape)
    verdict, reason = ruled(model, measured, assessment, calibration, fpr)
    return Candidate(model, sha256, verdict, reason, assessment, evidence, calibration, _notes(assessment, calibration))


def decide(candidates: Sequence[Candidate]) -> Attribution:
    """The verdict over all candidates."""
    ranked = sorted(candidates, key=lambda one: (-_standing(one), one.model))
    for verdict in (MADE_BY, CONSISTENT):
        passing = [one for one in ranked if one.verdict == verdict]
        enough = TOLD_APART if verdict == MADE_BY else TOLD_APART_PLAIN
        if len(passing) > 1 and _standing(passing[0]) - _standing(passing[1]) < enough:
            names = " and ".join(one.model for one in passing)
            return Attribution(CANNOT_SAY, f"{names} are both possible, and the evidence does not tell which of them", None, ranked)
        if passing:
            first = passing[0]
            others = f"; less likely: {', '.join(one.model for one in passing[1:])}" if len(passing) > 1 else ""
            return Attribution(verdict, first.reason + others, first.model, [first, *(one for one in ranked if one is not first)])
    unsure = [one for one in ranked if one.verdict == CANNOT_SAY]
    if unsure:
        return Attribution(CANNOT_SAY, unsure[0].reason, None, ranked)
    reasons = ranked[0].reason if len(ranked) == 1 else "; ".join(one.reason for one in ranked)
    return Attribution(NONE, reasons, None, ranked)


def ruled(model: str, measured: Measured, a: Assessment, calibration: Calibration, fpr: float) -> tuple[str, str]:
    """(verdict, reason). The rules, in this order: nothing to see; too degraded; unlike the model's own; not known how far to
    trust; others are alike.
    """
    if measured.values["complexity_low"] < FLATTEST:
        return CANNOT_SAY, "the picture is nearly one colour: any model fits it"
    beyond = calibration.beyond(measured)
    if beyond is not None:
        return CANNOT_SAY, f"too degraded to compare with {model}: {beyond}"
    known = num_own(a, calibration)
    if known >= FEWEST and a.p_generated <= max(MISS, 1 / (known + 1)) + 1e-12:
        as_bad = round(a.p_generated * (known + 1)) - 1
        return NONE, f"not by {model}: {as_bad or 'none'} of {known} pictures of its own fit as badly"
    if not a.is_calibrated:
        return CANNOT_SAY, f"{CLASSES[a.laundering_class]}: too few such pictures were calibrated for {model}, so no rate is guaranteed"
    if calibration.is_one_class:
        return CONSISTENT, (f"consistent with {model}: {a.p_generated:.0%} of its own samples fit no better; whether pictures of other "
                            "origin would fit as well is not known without a calibration against them")  # fmt: skip
    assert a.p_not_generated is not None
    if a.p_not_generated > fpr:
        return CANNOT_SAY, (f"it may be by {model}, but as far as is known up to {a.p_not_generated:.1%} of a kind of pictures of other "
                            f"origin fit as well, more than the {fpr:.1%} that are allowed")  # fmt: skip
    return MADE_BY, f"made by {model}: of pictures of other origin at most {fpr:.1%} fit as well{_origin(a)}"


def num_own(a: Assessment, calibration: Calibration) -> int:
    """How many own pictures of this class the calibration holds, of the kind that decided."""
    null = calibration.null.get(a.laundering_class, {})
    return max((len(scores) for kind, scores in null.items() if kind in (SAMPLED, RENDERED)), default=0)


def _origin(a: Assessment) -> str:
    if a.origin == SAMPLED:
        return "; sampled from it, not rendered out of an inversion"
    if a.origin == RENDERED:
        return "; rendered by it out of a W+ or tuned code, as edits and inversions of other pictures are"
    return "; whether sampled or rendered out of an inversion is not told"


def _notes(a: Assessment, calibration: Calibration) -> tuple[str, ...]:
    notes = []
    if calibration.is_one_class:
        notes.append(f"Known by {num_own(a, calibration)} own samples alone: misses are controlled, false alarms are not. "
                     f"`invert calibrate --model {calibration.model} --real DIR` makes it stronger, --null 99 finer.")  # fmt: skip
    if not a.is_calibrated:
        notes.append("Not guaranteed: this kind of laundering was not calibrated.")
    return tuple(notes)


def _standing(one: Candidate) -> float:
    """What candidates are ranked by: verdicts first, then the uncapped score."""
    order = {MADE_BY: 2e6, CONSISTENT: 1e6, CANNOT_SAY: 0.0, NONE: -1e6}
    return order[one.verdict] + one.assessment.score
