"""Attributing many pictures into one folder: what is done is skipped, one report is kept, one case file per picture if asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from invert.attribution.attribute import AttributeOptions, Picture, attribute_pictures, known_calibrations, read_picture
from invert.attribution.calibrate import Bench, Tell
from invert.attribution.calibration import Calibration
from invert.attribution.evidence import VERSION
from invert.attribution.report import DATA, PAGE, write_case
from invert.attribution.verdict import Attribution
from invert.inputs import check_outputs, stem_of
from invert.reports import DONE, FAILED, Report, options_sha256
from stylegan_core.errors import ImageError, InvertError
from stylegan_core.files import display
from stylegan_core.image_reader import check_file
from stylegan_core.provenance import file_sha256, version
from stylegan_core.runtime import device_name


@dataclass(frozen=True)
class Run:
    """How pictures are read and what is written. command: the words that were typed, for case files. batch: pictures together."""

    folder: Path
    with_report: bool = False
    background: str = "white"
    max_pixels: int = 64_000_000
    batch: int = 8
    command: tuple[str, ...] = ()


def plan_cases(sources: Sequence[Path], run: Run) -> None:
    """Raises UsageError when two inputs would write one case folder, or a case would overwrite an input."""
    if run.with_report:
        check_outputs((source, [run.folder / stem_of(source) / PAGE]) for source in sources)


def attribute_folder(sources: Sequence[Path], benches: Sequence[Bench], options: AttributeOptions, run: Run, *, tell: Tell | None = None,
                     on_record: Callable[[str, dict[str, Any], bool], None]) -> Report:  # fmt: skip
    """Does what is not done yet and returns the report. on_record: called as on_record(input, record, is_new)."""
    report = Report(run.folder, [str(source) for source in sources])
    known = known_calibrations(benches, options.calibrations)
    decided = _decides(benches, options, run, known)
    waiting: list[tuple[Path, str, Picture]] = []

    def settle(source: Path, record: dict[str, Any], is_new: bool = True) -> None:
        report.put(str(source), record)
        on_record(str(source), record, is_new)

    def flush() -> None:
        if not waiting:
            return
        found = attribute_pictures([picture for _, _, picture in waiting], benches, options, tell=tell, calibrations=known)
        for (source, sha256, picture), attribution in zip(waiting, found):
            settle(source, _done(source, sha256, decided, picture, attribution, options, run))
        waiting.clear()

    for source in sources:
        try:
            check_file(source, display(source))
            sha256 = file_sha256(source)
            before = report.record_before(input_sha256=sha256, options_sha256=decided)
            if before is not None and (not run.with_report or _has_case(run.folder / stem_of(source))):
                settle(source, {**before, "input": str(source)}, is_new=False)
                continue
            waiting.append((source, sha256, read_picture(source, background=run.background, max_pixels=run.max_pixels)))
        except ImageError as error:
            settle(source, _failed(source, error, benches))
        except OSError as error:
            settle(source, _failed(source, ImageError(f"{display(source)} cannot be read: {(error.strerror or '').lower()}"), benches))
        if len(waiting) >= run.batch:
            flush()
    flush()
    report.write()
    return report


def rows_of(records: Sequence[dict[str, Any]]) -> list[dict[str, object]]:
    """One row per input and candidate, for a CSV file."""
    rows: list[dict[str, object]] = []
    for record in records:
        shared = {key: record.get(key) for key in ("input", "input_sha256", "status", "error", "verdict", "reason", "made_by")}
        for candidate in record.get("candidates") or [{}]:
            keys = ("model", "model_sha256", "verdict", "score", "likelihood_ratio", "p_generated", "p_not_generated", "origin",
                    "laundering_class", "guaranteed")  # fmt: skip
            rows.append({**shared, **{("candidate_verdict" if key == "verdict" else key): candidate.get(key) for key in keys}})
    return rows


def _done(
    source: Path, sha256: str, decided: str, picture: Picture, found: Attribution, options: AttributeOptions, run: Run
) -> dict[str, Any]:
    record: dict[str, Any] = {
        "input": str(source), "input_sha256": sha256, **found.record(), "version": version(), "status": DONE, "error": None,
        "options": _options_record(options), "options_sha256": decided,
    }  # fmt: skip
    if run.with_report:
        folder = run.folder / stem_of(source)
        try:
            files = write_case(folder, source, picture[0], record, found, run.command)
        except InvertError as error:
            return {**record, "status": FAILED, "error": str(error)}
        record["outputs"] = [str(path.relative_to(run.folder)) for path in files]
    return record


def _failed(source: Path, error: InvertError, benches: Sequence[Bench]) -> dict[str, Any]:
    nothing = dict.fromkeys(("input_sha256", "verdict", "reason", "made_by", "seconds"))
    device = device_name(benches[0].ground.samples.w.device)
    facts = {"candidates": [], "device": device, "version": version(), "status": FAILED, "error": str(error)}
    return {"input": str(source), **nothing, **facts}


def _options_record(options: AttributeOptions) -> dict[str, Any]:
    values = asdict(options)
    del values["calibrations"]
    return values


def _decides(benches: Sequence[Bench], options: AttributeOptions, run: Run, known: dict[str, Calibration]) -> str:
    """Hash of everything that decides a verdict beside the picture."""
    models = [[bench.sha256, bench.measure_key, known[bench.sha256].sha256 if bench.sha256 in known else None] for bench in benches]
    return options_sha256({**_options_record(options), "models": models, "background": run.background, "evidence": VERSION})


def _has_case(folder: Path) -> bool:
    return (folder / PAGE).is_file() and (folder / DATA).is_file()
