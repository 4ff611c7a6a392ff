"""`invert evaluate attribution`: fresh pictures of every class through every laundering, and the figures of their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from invert.attribution.calibrate import Bench, Collector, Tell, scores_of
from invert.attribution.calibration import SAMPLED, Assessment, Calibration, Measured
from invert.attribution.chains import CHAINS, FAMILY, launder
from invert.attribution.evaluation_sources import (
    OWN_CLASSES,
    Photographs,
    Shrunk,
    Variant,
    held_out_portraits,
    other_samples,
    own_sources,
)
from invert.attribution.evidence import GROUPS, NAMES
from invert.attribution.measures import auc, cllr, cllr_min, rate_row, share_above
from invert.attribution.score import Head
from invert.attribution.sources import Kept, Procedural, Samples, Source, own_source_of_seed
from invert.attribution.verdict import DEFAULT_FPR, ruled
from stylegan_core.generator import Generator

LAUNDERED = "laundered"  # all chains of the family but clean, together
FPRS = (0.01, 0.05)
CLASSES = (*OWN_CLASSES, "real", "scenes", "photographs", "too small")  # of pictures, beside other models'
AS_THEY_ARE = ("scenes", "photographs", "too small")  # are not laundered


@dataclass(frozen=True)
class Scored:
    """An evaluated picture: what was measured, what the calibration makes of it, and the verdict."""

    measured: Measured
    assessment: Assessment
    verdict: str


@dataclass
class Evaluation:
    """bench: evidence of fresh pictures goes into its folder. others: name → generator. classes: of CLASSES; pictures of others are
    always measured.
    """

    bench: Bench
    calibration: Calibration
    others: Mapping[str, Generator]
    count: int
    chains: Sequence[str] = tuple(CHAINS)
    classes: Sequence[str] = CLASSES
    rows: list[Scored] = field(default_factory=list)

    @property
    def known_kinds(self) -> list[str]:
        """Kinds of other pictures that the calibration holds."""
        return self.calibration.other_kinds

    def sources(self) -> list[Source]:
        """Real pictures, own classes, what must be none, what must be cannot_say, other models: those that are wanted."""
        resolution = self.bench.ground.generator.img_resolution
        real, scenes = held_out_portraits(resolution), Procedural("scenes", resolution, seed=1000, first=0, kind="scenes")
        renders = Kept(self.bench.folder / "renders")
        small = Shrunk(Variant(self.bench.ground, "psi 1"), side=max(4, resolution // 4), kind="too small")
        models = [other_samples(generator, name) for name, generator in self.others.items()]
        known = [real, *own_sources(self.bench.ground, renders), scenes, Photographs(resolution), small]
        wanted = {*self.classes, "real"} if "in W+" in self.classes else set(self.classes)
        return [source for source in known if source.kind in wanted] + models

    def collect(self, tell: Tell | None = None) -> list[str]:
        """Measures everything that the folder does not hold yet; returns warnings."""
        sources = self.sources()
        collector = Collector(self.bench, tell)
        collector.total = self.count * sum(len(self.chains_of(source)) for source in sources)
        measured: list[Measured] = []
        for source in sources:  # the real ones first: their fits in W+ are rendered for another class
            for chain in self.chains_of(source):
                is_kept = source.kind == "real" and chain == "clean"
                measured += collector.collect(source, chain, self.count, keep_renders=is_kept)
        self.rows = [self._scored(row) for row in measured]
        return collector.warnings

    def collect_kinds(self, kinds: Sequence[str]) -> None:
        """Measures only these kinds, as they are."""
        collector = Collector(self.bench)
        for source in self.sources():
            if source.kind in kinds:
                self.rows += [self._scored(row) for row in collector.collect(source, "clean", self.count)]

    def chains_of(self, source: Source) -> Sequence[str]:
        """What must be none or cannot_say is only looked at as it is."""
        return ("clean",) if source.kind in AS_THEY_ARE else self.chains

    def _scored(self, row: Measured) -> Scored:
        assessment = self.calibration.assess(row.values, row.laundering_class)
        return Scored(row, assessment, ruled(self.bench.name, row, assessment, self.calibration, DEFAULT_FPR)[0])

    def scores(self, kind: str, chain: str) -> list[float]:
        """Of one kind through one chain, or through all but clean."""
        return [one.assessment.score for one in self.chosen(kind, chain)]

    def chosen(self, kind: str, chain: str) -> list[Scored]:
        """The pictures of a kind and a chain."""
        chains = [name for name in FAMILY if name != "clean"] if chain == LAUNDERED else [chain]
        return [one for one in self.rows if one.measured.kind == kind and one.measured.chain in chains]

    @property
    def columns(self) -> list[str]:
        """Chains as tables show them: clean, laundered, then each."""
        return ["clean", LAUNDERED, *(chain for chain in self.chains if chain != "clean")]

    @property
    def other_kinds(self) -> list[str]:
        """Kinds that the model did not make, of which every chain was measured."""
        return ["real", *(f"by {name}" for name in self.others)]


def attribution_table(evaluation: Evaluation) -> list[dict[str, Any]]:
    """AUC and hit rate at 1 % false alarms of every own class against every other kind, by laundering."""
    table = []
    for kind in OWN_CLASSES:
        for against in evaluation.other_kinds:
            for chain in evaluation.columns:
                own, others = evaluation.scores(kind, chain), evaluation.scores(against, chain)
                if own and others:
                    table.append({"own": kind, "against": against, "laundering": chain, "num_own": len(own), "num_others": len(others),
                                  "auc": auc(own, others), "tpr": share_above(own, others, 0.01)})  # fmt: skip
    return table


def threshold_table(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Measured rates of false alarms of fresh pictures of the calibrated kinds, by laundering, beside the interval that holds."""
    table = []
    for chain in evaluation.chains:
        for fpr in FPRS:
            kinds = [kind for kind in evaluation.other_kinds if kind in evaluation.known_kinds]
            rows = []
            for kind in kinds:
                chosen = evaluation.chosen(kind, chain)
                alarms = sum(_is_alarm(one.assessment, fpr) for one in chosen)
                known = [len(null.get(kind, [])) for null in evaluation.calibration.null.values() if null.get(kind)]
                rows.append({"kind": kind, **rate_row(alarms, len(chosen), fpr, min(known, default=0))})
            if rows:
                worst = max(rows, key=lambda row: row["rate"])
                table.append({"laundering": chain, "fpr": fpr, "guaranteed": chain in FAMILY, "worst": worst, "kinds": rows,
                              "alarms": sum(row["alarms"] for row in rows), "count": sum(row["count"] for row in rows)})  # fmt: skip
    return table


def verdict_table(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Shares of verdicts of every kind of clean pictures."""
    table = []
    for kind in dict.fromkeys(one.measured.kind for one in evaluation.rows):
        verdicts = [one.verdict for one in evaluation.chosen(kind, "clean")]
        origins = [one.assessment.origin or "not told" for one in evaluation.chosen(kind, "clean") if one.verdict == "made_by"]
        if verdicts:
            table.append({"kind": kind, "count": len(verdicts), **{name: verdicts.count(name) / len(verdicts) for name in
                          ("made_by", "none", "cannot_say", "consistent_with")},
                          **{f"origin {name}": origins.count(name) / len(origins) if origins else 0.0
                             for name in ("sampled", "rendered", "not told")}})  # fmt: skip
    return table


def ratio_table(evaluation: Evaluation) -> list[dict[str, Any]]:
    """What the likelihood ratios cost, by laundering: own samples against each other kind."""
    table = []
    for chain in ("clean", LAUNDERED):
        for kind in evaluation.other_kinds:
            own = [r for one in evaluation.chosen("psi 1", chain) if (r := one.assessment.log10_ratio) is not None]
            others = [r for one in evaluation.chosen(kind, chain) if (r := one.assessment.log10_ratio) is not None]
            if own and others:
                table.append({"against": kind, "laundering": chain, "cllr": cllr(own, others), "cllr_min": cllr_min(own, others)})
    return table


def detection_table(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Generated pictures whose generator is neither a candidate nor in the calibration, told from real ones by how well the
    candidate imitates them.
    """
    table = []
    for name in evaluation.others:
        if f"by {name}" in evaluation.known_kinds:
            continue
        for chain in ("clean", LAUNDERED):
            generated, real = (scores_of([one.measured for one in evaluation.chosen(kind, chain)], {}) for kind in (f"by {name}", "real"))
            if generated and real:
                table.append({"generator": name, "laundering": chain, "count": len(generated), "auc": auc(generated, real)})
    return table


def ablation_table(evaluation: Evaluation, fitted: Sequence[Measured]) -> list[dict[str, Any]]:
    """AUC of own samples against each other kind when a group of the evidence is left out, or alone is left; all refitted.

    fitted: rows of the calibration's part 'fit'.
    """
    used = [row for row in fitted if row.part == "fit" and row.kind != "rendered"]
    kinds = sorted({row.kind for row in used if not row.is_own})
    if not used or not kinds:
        return []
    weights = [1.0 if row.is_own else 1.0 / sum(other.kind == row.kind for other in used) for row in used]
    table = []
    for left_out in ("nothing", *GROUPS):
        names = [name for name in NAMES if name not in GROUPS.get(left_out, ())]
        head = Head.fit([row.values for row in used], [row.laundering_class for row in used], [row.is_own for row in used], weights, names)
        record: dict[str, Any] = {"left out": left_out}
        for chain in ("clean", LAUNDERED):
            own = [one.measured for one in evaluation.chosen("psi 1", chain)]
            for kind in evaluation.other_kinds:
                others = [one.measured for one in evaluation.chosen(kind, chain)]
                if own and others:
                    record[f"{kind}, {chain}"] = auc(scores_of(own, {SAMPLED: head}), scores_of(others, {SAMPLED: head}))[0]
        table.append(record)
    return table


def fingerprint_table(evaluation: Evaluation, count: int) -> list[dict[str, Any]]:
    """The yardstick: a classifier trained on `count` pictures of every calibrated kind and chain, of the calibration's seeds, and
    measured on the evaluation's.
    """
    from invert.attribution.fingerprint import scores, trained

    generator = evaluation.bench.ground.generator
    resolution = generator.img_resolution
    chains = [chain for chain in evaluation.chains if chain in FAMILY]
    measured = {source.kind: source for source in evaluation.sources() if source.kind in ("psi 1", *evaluation.other_kinds)}
    if "psi 1" not in measured or len(measured) < 2:
        return []

    def pictures(source: Source, chain: str, amount: int, salt: int) -> list[Any]:
        return [launder(chain, source.pictures([i])[0], salt, i).pixels for i in range(amount)]

    others: list[Source] = [Procedural("portraits", resolution)]
    others += [Samples(other, kind=f"by {name}") for name, other in evaluation.others.items() if f"by {name}" in evaluation.known_kinds]
    own = [p for chain in chains for p in pictures(own_source_of_seed(generator, 0), chain, count, 1)]
    network = trained(own, [p for source in others for chain in chains for p in pictures(source, chain, count, 2)], resolution)
    table = []
    for name, used in (("clean", ["clean"]), (LAUNDERED, [chain for chain in chains if chain != "clean"])):
        if not used:
            continue
        found = {kind: scores(network, [p for chain in used for p in pictures(source, chain, evaluation.count, 3)], resolution)
                 for kind, source in measured.items()}  # fmt: skip
        own_scores = found.pop("psi 1")
        table += [{"against": kind, "laundering": name, "auc": auc(own_scores, values), "tpr": share_above(own_scores, values, 0.01)}
                  for kind, values in found.items()]  # fmt: skip
    return table


def at(bench: Bench, folder: Path) -> Bench:
    """The same model with its evidence in another folder."""
    return replace(bench, folder=folder / bench.sha256[:16], calibration_folder=bench.folder)


def _is_alarm(assessment: Assessment, fpr: float) -> bool:
    return assessment.p_not_generated is not None and assessment.p_not_generated <= fpr
