"""A calibration: what a score is worth for one model, learned from pictures whose origin is known, and kept as one JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from invert.attribution.evidence import VERSION as EVIDENCE_VERSION
from invert.attribution.evidence import Evidence
from invert.attribution.score import Head, RatioCurve, mixed, p_value
from invert.reports import jsonable, options_sha256
from stylegan_core.errors import InvertError
from stylegan_core.files import display, write_json

FORMAT, VERSION = "invert-calibration", 1
MAX_BYTES = 64 << 20
CLASSES = {
    "clean": "as generated",
    "jpeg": "JPEG at its own size",
    "moved": "resized, cropped or moved",
    "processed": "blurred or otherwise processed",
}
SAME_SCALE = 0.06  # logarithm to base 2
SMALLEST_SCALE = 0.45  # pixels of a picture per pixel of the model that are ever enough
FEWEST = 19  # pictures of a kind and class from which p-values are told
SAMPLED, RENDERED = "sampled", "rendered"
TOLD_APART = 1.0  # log10: by how much one kind of own pictures must be likelier than the other


class CalibrationError(InvertError):
    """A calibration that cannot be read, or of another model or version."""


@dataclass(frozen=True)
class Measured:
    """A picture of known origin. kind: 'sampled', 'rendered', or what else made it. part: 'fit', 'calibration' or 'test'.
    scale: pixels per pixel of the model; quality, detail, grain: see `Laundering`."""

    kind: str
    chain: str
    index: int
    laundering_class: str
    part: str
    values: dict[str, float]
    scale: float
    quality: int | None
    detail: float
    grain: float

    @classmethod
    def of(cls, kind: str, chain: str, index: int, part: str, evidence: Evidence, shape: tuple[int, int]) -> Measured:
        """shape: (H, W) of the generator."""
        found = evidence.laundering
        return cls(kind, chain, index, class_of(evidence, shape), part, evidence.values, evidence.placement.scale(shape), found.quality,
                   found.detail, found.grain)  # fmt: skip

    @property
    def is_own(self) -> bool:
        """Whether the model made it."""
        return self.kind in (SAMPLED, RENDERED)


@dataclass(frozen=True)
class Assessment:
    """score: higher = made by this model; always finite. log10_ratio, p_not_generated: None without pictures of other origin, or
    of too few. p_generated: of the null 'made by this model'. origin: 'sampled', 'rendered' or None where that is not told.
    """

    score: float
    log10_ratio: float | None
    p_generated: float
    p_not_generated: float | None
    laundering_class: str
    is_calibrated: bool
    origin: str | None


@dataclass(frozen=True)
class Calibration:
    """heads: kind of own pictures → its regression; empty = one-class, by own samples alone. null: class → kind → scores. ratios:
    class → curve. limits: of what own pictures went through. facts: counts, seeds, tests, warnings.
    """

    model: str
    model_sha256: str
    measure: str
    heads: dict[str, Head]
    null: dict[str, dict[str, list[float]]]
    ratios: dict[str, RatioCurve]
    limits: dict[str, float]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_one_class(self) -> bool:
        """Whether only own samples are known, so that misses are controlled and false alarms are not."""
        return not self.heads

    @property
    def other_kinds(self) -> list[str]:
        """Kinds of pictures that the model did not make, of any class."""
        return sorted({kind for kinds in self.null.values() for kind in kinds} - {SAMPLED, RENDERED})

    @property
    def sha256(self) -> str:
        """Of everything that decides a verdict."""
        record = self.record()
        del record["facts"], record["model"]
        return options_sha256(record)

    def score(self, values: Mapping[str, float], laundering_class: str) -> tuple[float, dict[str, float]]:
        """(score, log10 of the fitted ratio of each kind of own pictures)."""
        if not self.heads:
            return plain_score(values), {}
        parts = {kind: head.score([values], [laundering_class]) for kind, head in self.heads.items()}
        return float(mixed(list(parts.values()))[0]), {kind: float(value[0]) for kind, value in parts.items()}

    def assess(self, values: Mapping[str, float], laundering_class: str) -> Assessment:
        """What the numbers of a picture are worth."""
        score, parts = self.score(values, laundering_class)
        null = self.null.get(laundering_class, {})
        own = [scores for kind, scores in null.items() if kind in (SAMPLED, RENDERED)]
        p_own = max((p_value(score, scores, is_small_odd=True) for scores in own), default=1.0)
        ratio = p_others = None
        if laundering_class in self.ratios:  # a kind of which this class holds few pictures keeps p large
            p_others = max(p_value(score, null.get(kind, []), is_small_odd=False) for kind in self.other_kinds)
            ratio = self.ratios[laundering_class].log10_ratio(score)
        is_calibrated = bool(own) and max(map(len, own)) >= FEWEST and (self.is_one_class or p_others is not None)
        origin = None
        if len(parts) == 2:
            gap = parts[SAMPLED] - parts[RENDERED]
            origin = SAMPLED if gap > TOLD_APART else RENDERED if gap < -TOLD_APART else None
        return Assessment(score, ratio, p_own, p_others, laundering_class, is_calibrated, origin)

    def beyond(self, found: Measured) -> str | None:
        """Why a picture is too degraded for what is known here, in words; None where it is not."""
        if found.scale < self.limits["scale"]:
            known = self.limits["scale"]
            return f"it has {found.scale:.2f} pixels per pixel of the model, less than the {known:.2f} that were calibrated"
        if found.quality is not None and found.quality < self.limits["quality"]:
            return f"its JPEG quality is {found.quality}, below the {self.limits['quality']:.0f} that were calibrated"
        if found.detail < self.limits["detail"]:
            return "it is softer than anything that was calibrated"
        if found.grain > self.limits["grain"]:
            return "it is noisier than anything that was calibrated"
        return None

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return jsonable({
            "format": FORMAT, "format_version": VERSION, "evidence_version": EVIDENCE_VERSION, "model": self.model,
            "model_sha256": self.model_sha256, "measure": self.measure,
            "heads": {kind: head.record() for kind, head in self.heads.items()},
            "null": {name: {kind: sorted(round(score, 6) for score in scores) for kind, scores in kinds.items()}
                     for name, kinds in self.null.items()},
            "ratios": {name: [curve.slope, curve.offset, curve.num_own, curve.num_others] for name, curve in self.ratios.items()},
            "limits": self.limits, "facts": self.facts,
        })  # fmt: skip

    def save(self, path: Path) -> None:
        """Whole or not at all."""
        write_json(path, self.record())

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Raises CalibrationError for a file that is none, or of another version."""
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ValueError("it is too large")
            record = json.loads(path.read_text(encoding="utf-8"))
            if record.get("format") != FORMAT:
                raise CalibrationError(f"{display(path)} is no calibration; `invert calibrate` writes them")
            versions = (record.get("format_version"), record.get("evidence_version"))
            if versions != (VERSION, EVIDENCE_VERSION):
                raise CalibrationError(f"{display(path)} was made by another version (its numbers are {versions}, here they are "
                                       f"{(VERSION, EVIDENCE_VERSION)}); run `invert calibrate` again")  # fmt: skip
            return cls._from_record(record)
        except OSError as error:
            raise CalibrationError(f"{display(path)} cannot be read: {(error.strerror or 'unknown reason').lower()}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise CalibrationError(f"{display(path)} is damaged ({display(error, max_length=80)}); run `invert calibrate` again") from None

    @classmethod
    def _from_record(cls, record: Mapping[str, Any]) -> Calibration:
        null = {str(name): {str(kind): _numbers(scores) for kind, scores in kinds.items()} for name, kinds in record["null"].items()}
        ratios = {}
        for name, curve in record["ratios"].items():
            slope, offset = _numbers(curve[:2])
            ratios[str(name)] = RatioCurve(slope, offset, int(curve[2]), int(curve[3]))
        limits = dict(zip(record["limits"], _numbers(list(record["limits"].values()))))
        heads = {str(kind): Head.from_record(head) for kind, head in record["heads"].items()}
        if not {"scale", "quality", "detail", "grain"} <= set(limits) or not set(heads) <= {SAMPLED, RENDERED}:
            raise ValueError("limits or heads are missing")
        return cls(str(record["model"]), str(record["model_sha256"]), str(record["measure"]), heads, null, ratios, limits,
                   dict(record["facts"]))  # fmt: skip

    def check(self, model_sha256: str, measure: str, path: Path | None = None) -> Calibration:
        """Returns self; raises CalibrationError when it was made for another model or another perceptual distance."""
        where = "this calibration" if path is None else display(path)
        if self.model_sha256 != model_sha256:
            raise CalibrationError(f"{where} was made for {display(self.model)} ({self.model_sha256[:12]}…), not for this model "
                                   f"({model_sha256[:12]}…); run `invert calibrate` for it")  # fmt: skip
        if self.measure != measure:
            raise CalibrationError(f"{where} was made with the perceptual distance {display(self.measure)}, not with {measure}; "
                                   "give that one with --perceptual, or run `invert calibrate` again")  # fmt: skip
        return self


def plain_score(values: Mapping[str, float]) -> float:
    """Without a fit: minus log10 of what was minimised, per value of the picture (difference, w and noise together)."""
    return -float(values["likelihood"])


def class_of(evidence: Evidence, shape: tuple[int, int]) -> str:
    """The class of laundering, a function of the picture and the model alone; shape: (H, W) of the generator."""
    placement = evidence.placement
    if placement.kind != "whole" or abs(math.log2(max(placement.scale(shape), 1e-6))) > SAME_SCALE:
        return "moved"
    if evidence.laundering.quality is not None:
        return "jpeg"
    return "processed" if evidence.blur > 0 else "clean"


def limits_of(rows: Sequence[Measured]) -> dict[str, float]:
    """How far own pictures of a calibration were degraded, with a little room beyond the worst of them."""
    own = [row for row in rows if row.is_own]
    return {
        "scale": max(SMALLEST_SCALE, 0.95 * min([1.0, *(row.scale for row in own)])),
        "quality": min([30, *(row.quality for row in own if row.quality is not None)]) - 2.0,
        "detail": min((row.detail for row in own), default=-4.0) - 0.5,
        "grain": 2.5 * max((row.grain for row in own), default=4.0) + 2.0,
    }


def _numbers(values: Sequence[Any]) -> list[float]:
    array = np.array(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError("a list of finite numbers is needed")
    return [float(value) for value in array]
