"""Collecting the evidence of pictures of known origin, in parts that survive an interruption, and fitting a calibration to it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from invert.attribution.calibration import FEWEST, RENDERED, SAMPLED, Calibration, Measured, limits_of, plain_score
from invert.attribution.chains import FAMILY, launder
from invert.attribution.evidence import NAMES, VERSION, Evidence, examine
from invert.attribution.fit import Effort
from invert.attribution.groundwork import Groundwork
from invert.attribution.laundering import laundering_of
from invert.attribution.measures import auc, rate_row, share_above
from invert.attribution.score import Head, RatioCurve, mixed
from invert.attribution.sources import FIRST_PORTRAIT, FIRST_SEED, PORTRAIT_SEED, Kept, Source, as_file, own_source_of_seed
from invert.reports import jsonable, options_sha256
from stylegan_core.checkpoints.catalog import cache_folder
from stylegan_core.errors import ImageError, UsageError
from stylegan_core.features import Features
from stylegan_core.files import write_json
from stylegan_core.images import save_image
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.losses.perceptual import FeatureDistance
from stylegan_core.provenance import model_sha256, version

PART = 12  # pictures of a part: one batch, one file
MOST_TRIES = 4  # times as many samples are looked at for a class of laundering
SHARES = {"fit": 3, "calibration": 5, "test": 2}  # of ten
CHAINS_OF = {"clean": ("clean",), "jpeg": ("jpeg",), "moved": ("resized", "cropped"), "processed": ("processed",)}  # class → chains
Null = dict[str, dict[str, list[float]]]  # class → kind → scores
Tell = Callable[[int, int, str], None]  # (pictures done, in all, which)


@dataclass(frozen=True)
class Bench:
    """One model with everything that its evidence needs. folder: of the user's cache, for this model and this evidence."""

    name: str
    sha256: str
    ground: Groundwork
    measure: FeatureDistance
    effort: Effort
    folder: Path
    calibration_folder: Path | None = None  # where the calibration's evidence is, when `folder` holds other pictures

    @property
    def measure_key(self) -> str:
        """Name and hash of the perceptual distance."""
        return measure_key(self.measure)


def measure_key(measure: FeatureDistance) -> str:
    """Name of a perceptual distance, and its hash where it is a network of ours."""
    return f"{measure.name}:{model_sha256(measure.network)[:12]}" if isinstance(measure, Features) else measure.name


def model_folder(sha256: str) -> Path:
    """Where everything about a model's attribution is kept."""
    return cache_folder() / "attribution" / sha256[:16]


def evidence_folder(sha256: str, measure: str, effort: Effort) -> Path:
    """Where evidence and calibration are kept: they differ with the distance, the effort and the version."""
    decides = {"measure": measure, "effort": asdict(effort), "version": VERSION}
    return model_folder(sha256) / options_sha256(decides)[:12]


def part_of(index: int) -> str:
    """'fit', 'calibration' or 'test', by turns of ten."""
    place = index % 10
    return "fit" if place < SHARES["fit"] else "calibration" if place < SHARES["fit"] + SHARES["calibration"] else "test"


@dataclass
class Collector:
    """Evidence of sources, from the cache where it is there. warnings: what could not be read."""

    bench: Bench
    tell: Tell | None = None
    warnings: list[str] = field(default_factory=list)
    done: int = 0
    total: int = 0

    def collect(self, source: Source, chain: str, count: int, *, keep_renders: bool = False) -> list[Measured]:
        """Pictures 0 … count - 1 of a source through a chain.

        keep_renders: the fit in W+ of every picture is rendered and kept, see `sources.Kept`.
        """
        count = count if source.count is None else min(count, source.count)
        rows: list[Measured] = []
        for first in range(0, count, PART):
            indices = list(range(first, min(count, first + PART)))
            path = self.bench.folder / "parts" / f"{source.kind}-{chain}-{first:06d}.json"
            looked_at, known = _read_part(path, source.key)
            if keep_renders and not all(self._renders().path(row.index).is_file() for row in known):
                looked_at, known = [], []
            missing = [index for index in indices if index not in looked_at]
            if missing:
                known = sorted(known + self._measure(source, chain, missing, keep_renders), key=lambda row: row.index)
                record = {"key": source.key, "indices": sorted({*looked_at, *missing}), "rows": [asdict(row) for row in known]}
                write_json(path, jsonable(record))
            rows += [row for row in known if row.index in indices]
            self.done += len(indices)
            if self.tell is not None:
                self.tell(self.done, max(self.total, self.done), f"{source.kind}, {chain}")
        return rows

    def _measure(self, source: Source, chain: str, indices: Sequence[int], keep_renders: bool) -> list[Measured]:
        pictures, read = [], []
        for index in indices:
            try:
                laundered = launder(chain, source.pictures([index])[0], _number_of(source.kind), index)
            except ImageError as error:
                self.warnings.append(str(error))
                continue
            pictures.append((laundered.pixels, laundering_of(laundered.pixels, laundered.content)))
            read.append(index)
        shape = self.bench.ground.generator.img_shape
        found = examine(pictures, self.bench.ground, self.bench.measure, self.bench.effort) if pictures else []
        rows = [Measured.of(source.kind, chain, index, part_of(index), evidence, shape) for index, evidence in zip(read, found)]
        if keep_renders:
            for index, evidence in zip(read, found):
                self._keep_render(index, evidence)
        return rows

    def _renders(self) -> Kept:
        return Kept(self.bench.folder / "renders")

    def _keep_render(self, index: int, evidence: Evidence) -> None:
        assert evidence.ws is not None
        generator = self.bench.ground.generator
        with torch.no_grad():
            latent = Latent(evidence.ws.to(generator.w_avg), LatentSpace.W_PLUS)
            noise = {name: value.to(generator.w_avg) for name, value in evidence.noise.items()}
            save_image(as_file(latent.render(generator, noise=noise)), self._renders().path(index))


def collect_all(bench: Bench, own: Source, reals: Sequence[Source], others: Sequence[Source], *, count: int,
                chains: Sequence[str] = tuple(FAMILY), tell: Tell | None = None) -> tuple[list[Measured], list[str]]:  # fmt: skip
    """(evidence of `count` pictures of every source through every chain, warnings). The first real source is also inverted into
    W+ and rendered again.
    """
    negatives = [*reals, *others]
    collector = Collector(bench, tell)
    amounts = [count if source.count is None else min(count, source.count) for source in [own, *negatives]]
    rendered = amounts[1] if reals else 0
    collector.total = (sum(amounts) + rendered) * len(chains)
    rows: list[Measured] = []
    for chain in chains:
        for source in [own, *negatives]:
            is_kept = bool(reals) and source is reals[0] and chain == chains[0]
            rows += collector.collect(source, chain, count, keep_renders=is_kept)
        if rendered:
            rows += collector.collect(Kept(bench.folder / "renders"), chain, rendered)
    return rows, collector.warnings


def fit_calibration(bench: Bench, rows: Sequence[Measured], facts: Mapping[str, Any]) -> Calibration:
    """Heads from the part 'fit', null and ratios from 'calibration', figures from 'test'. Raises UsageError for too few pictures."""
    fitted = [row for row in rows if row.part == "fit"]
    negatives = [row for row in fitted if not row.is_own]
    kinds = sorted({row.kind for row in negatives})
    heads = {}
    for kind in (SAMPLED, RENDERED):
        own = [row for row in fitted if row.kind == kind]
        if kind == RENDERED and not own:
            continue
        if len(own) < 4 or len(negatives) < 4:
            raise UsageError(f"{len(own)} own and {len(negatives)} other pictures are too few to fit a score: raise --count")
        used = own + negatives
        weights = [1.0 if row.is_own else 1.0 / (len(kinds) * sum(other.kind == row.kind for other in negatives)) for row in used]
        heads[kind] = Head.fit([row.values for row in used], [row.laundering_class for row in used], [row.is_own for row in used],
                               weights, NAMES)  # fmt: skip
    null, ratios = _null_and_ratios([row for row in rows if row.part == "calibration"], heads)
    calibration = Calibration(bench.name, bench.sha256, bench.measure_key, heads, null, ratios, limits_of(rows), dict(facts))
    tests = tested(calibration, [row for row in rows if row.part == "test"])
    return replace(calibration, facts={**calibration.facts, "tests": tests})


def fit_one_class(bench: Bench, rows: Sequence[Measured], facts: Mapping[str, Any]) -> Calibration:
    """Own samples alone: all of them are the null, since nothing is fitted."""
    null: Null = {}
    for row in rows:
        null.setdefault(row.laundering_class, {}).setdefault(SAMPLED, []).append(plain_score(row.values))
    return Calibration(bench.name, bench.sha256, bench.measure_key, {}, null, {}, limits_of(rows), dict(facts))


def one_class(bench: Bench, wanted: Sequence[str], count: int, *, seed: int = 0, tell: Tell | None = None) -> Calibration:
    """From `count` own samples of each of these classes of laundering; those that are in the cache are not made again."""
    own, collector = own_source_of_seed(bench.ground.generator, seed), Collector(bench, tell)
    rows: list[Measured] = []
    made = 0
    for name in sorted({"clean", *wanted}):
        for chain in CHAINS_OF[name]:
            share = -(-count // len(CHAINS_OF[name]))
            for amount in range(share, MOST_TRIES * share + 1, max(2, share // 4)):  # a picture can look like one of another class
                found = collector.collect(own, chain, amount)
                if sum(row.laundering_class == name for row in found) >= share:
                    break
            rows += [row for row in found if row.laundering_class == name][:share]
            made += len(found)
    facts = {"made_with": version(), "count": count, "classes": sorted({"clean", *wanted}), "samples_made": made,
             "sources": {SAMPLED: own.key}, "effort": asdict(bench.effort)}  # fmt: skip
    return fit_one_class(bench, rows, facts)


def _null_and_ratios(rows: Sequence[Measured], heads: Mapping[str, Head]) -> tuple[Null, dict[str, RatioCurve]]:
    null: Null = {}
    for row, score in zip(rows, scores_of(rows, heads)):
        null.setdefault(row.laundering_class, {}).setdefault(row.kind, []).append(float(score))
    ratios = {}
    for name, kinds in null.items():
        own = [score for kind, scores in kinds.items() if kind in (SAMPLED, RENDERED) for score in scores]
        others = [score for kind, scores in kinds.items() if kind not in (SAMPLED, RENDERED) for score in scores]
        if min(len(own), len(others)) >= FEWEST:
            ratios[name] = RatioCurve.fit(own, others)
    return null, ratios


def scores_of(rows: Sequence[Measured], heads: Mapping[str, Head]) -> list[float]:
    """The score of every row: of the heads together, or the plain one without any."""
    if not rows:
        return []
    if not heads:
        return [plain_score(row.values) for row in rows]
    values, classes = [row.values for row in rows], [row.laundering_class for row in rows]
    return [float(score) for score in mixed([head.score(values, classes) for head in heads.values()])]


def tested(calibration: Calibration, rows: Sequence[Measured], fprs: Sequence[float] = (0.01, 0.05)) -> list[dict[str, Any]]:
    """Figures on pictures that neither fit nor calibration saw, by class of laundering and kind of other pictures."""
    figures = []
    assessed = [(row, calibration.assess(row.values, row.laundering_class)) for row in rows]
    for name in sorted({row.laundering_class for row in rows}):
        own = [a.score for row, a in assessed if row.laundering_class == name and row.kind == SAMPLED]
        for kind in sorted({row.kind for row in rows if not row.is_own}):
            others = [a for row, a in assessed if row.laundering_class == name and row.kind == kind]
            if not own or not others:
                continue
            scores = [a.score for a in others]
            record = {"class": name, "against": kind, "num_own": len(own), "num_others": len(others), "auc": auc(own, scores)}
            for fpr in fprs:
                known = calibration.null.get(name, {}).get(kind, [])
                alarms = sum(a.p_not_generated is not None and a.p_not_generated <= fpr for a in others)
                record[f"rate_at_{fpr:g}"] = rate_row(alarms, len(others), fpr, len(known))
                record[f"tpr_at_{fpr:g}"] = share_above(own, scores, fpr)
            figures.append(record)
    return figures


def plan_facts(bench: Bench, own: Source, reals: Sequence[Source], others: Sequence[Source], count: int, chains: Sequence[str],
               warnings: Sequence[str], started: float) -> dict[str, Any]:  # fmt: skip
    """What a calibration says of how it was made."""
    sources = [own, *reals, *others]
    return {
        "made_with": version(), "made": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()), "seconds": round(time.monotonic() - started, 1),
        "count": count, "chains": list(chains), "sources": {source.kind: source.key for source in sources},
        "seeds": {"own samples from": FIRST_SEED, "portraits": [PORTRAIT_SEED, FIRST_PORTRAIT]}, "shares": SHARES,
        "effort": asdict(bench.effort), "evidence": list(NAMES), "warnings": list(warnings),
    }  # fmt: skip


def known_rows(folder: Path | None) -> list[Measured]:
    """Everything that was measured for a calibration, from its folder."""
    paths = sorted((folder / "parts").glob("*.json")) if folder is not None else []
    return [row for path in paths for row in _read_part(path)[1]]


def _read_part(path: Path, key: str | None = None) -> tuple[list[int], list[Measured]]:
    """(pictures that were looked at, what was measured of those that could be read); nothing of a file that is not there, not whole
    or not of these pictures. key: None = of any.
    """
    record = _json_of(path)
    if record is None or (key is not None and record.get("key") != key):
        return [], []
    try:
        looked_at = [int(index) for index in record["indices"]]
        rows = [Measured(**{name: row[name] for name in Measured.__dataclass_fields__}) for row in record["rows"]]
        is_whole = all(set(row.values) == set(NAMES) for row in rows)
    except (KeyError, TypeError, ValueError, AttributeError):
        return [], []
    return (looked_at, rows) if is_whole else ([], [])


def _json_of(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _number_of(kind: str) -> int:
    """A seed for the laundering of a kind of pictures."""
    return int(options_sha256({"kind": kind})[:8], 16)
