"""`invert evaluate attribution`: the figures of `invert attribute` on fresh pictures of known origin."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal, duration
from invert.cli.loading import load_for

if TYPE_CHECKING:
    from invert.attribution.calibrate import Bench
    from invert.attribution.evaluation import Evaluation


def register(app: typer.Typer) -> None:
    command(app, "attribution")(attribution)


def attribution(
    model: options.Model = options.DEFAULT_MODEL,
    other_models: Annotated[
        list[str] | None,
        typer.Option("--other-model", metavar="NAME|FILE", help="Repeat it. (default: the other bundled generators of its size)"),
    ] = None,
    count: Annotated[int, typer.Option("--count", metavar="N", help="Pictures of every class and laundering.")] = 200,
    chains: Annotated[
        str, typer.Option("--laundering", metavar="LIST", help="Of clean, jpeg, resized, cropped, processed, screenshot.")
    ] = "clean,jpeg,resized,cropped,processed,screenshot",
    classes: Annotated[
        str | None,
        typer.Option("--classes", metavar="LIST", help="Of psi 1, psi 0.7, stored noise, style-mixed, edited, in W+, pasted, real, "
                     "scenes, photographs, too small. (default: all)"),
    ] = None,
    perceptual: Annotated[str, typer.Option("--perceptual", metavar="NAME", help="auto, vgg, alex, squeeze, features, none.")] = "auto",
    calibration: Annotated[Path | None, typer.Option("--calibration", metavar="FILE", help="Before that of the cache.")] = None,
    fig9: Annotated[
        list[str] | None, typer.Option("--fig9", metavar="NAME|FILE", help="Further models for the histograms of distances; repeat it.")
    ] = None,
    fingerprint: Annotated[int, typer.Option("--fingerprint", metavar="N", help="Training pictures of every class; 0 = none.")] = 200,
    into: Annotated[Path | None, typer.Option("--into", metavar="FILE.md", help="Also put the tables into this page.")] = None,
    output: options.Output = Path("out/attribution"),
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Measure attribution on fresh pictures: own ones of many kinds, real ones, other models', clean and laundered.

    \b
    Examples:
      invert evaluate attribution --count 20 --classes "psi 1,real" --laundering clean,jpeg
      invert evaluate attribution --other-model portraits64-early --into docs/attribution.md

    The model needs a calibration (`invert calibrate`). A run that was stopped goes on where it was. The folder gets tables.md,
    tables.json and the pictures.
    """
    from invert.attribution.chains import CHAINS
    from invert.attribution.evaluation import CLASSES
    from stylegan_core.errors import UsageError
    from stylegan_core.runtime import resolve_device, set_threads

    terminal = Terminal(quiet=quiet)
    chosen = listed("--laundering", chains, list(CHAINS))
    kinds = list(CLASSES) if classes is None else listed("--classes", classes, list(CLASSES))
    if "clean" not in chosen:
        raise UsageError(f"--laundering {chains!r}: clean must be among them")
    if count < 2 or fingerprint < 0:
        raise UsageError(f"--count {count}, --fingerprint {fingerprint}: at least 2, and 0 or more")
    place = resolve_device(device)
    others = other_models if other_models is not None else bundled_others(model)
    if dry_run:
        terminal.json({"model": model, "other_models": others, "count": count, "laundering": chosen, "classes": kinds,
                       "output": str(output)})  # fmt: skip
        return
    set_threads(threads)
    evaluation = _collected(terminal, model, others, count, chosen, kinds, perceptual, calibration, output, place)
    words = ["invert", "evaluate", "attribution", "--model", model, *(word for name in others for word in ("--other-model", name)),
             "--count", str(count), "--laundering", ",".join(chosen), "--classes", ",".join(kinds)]  # fmt: skip
    tables = _tables(terminal, evaluation, fingerprint)
    facts = {"model": model, "model_sha256": evaluation.bench.sha256, "count": count, "calibration": evaluation.calibration.sha256,
             "command": shlex.join(words)}  # fmt: skip
    _write(terminal, evaluation, tables, facts, output, into, _further(terminal, fig9 or [], evaluation, output, place, perceptual))
    if json:
        terminal.json({**facts, **tables})


def listed(option: str, text: str, known: list[str]) -> list[str]:
    """The names of a list with commas. Raises UsageError for one that is not known, or for none."""
    from stylegan_core.errors import UsageError
    from stylegan_core.files import display

    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise UsageError(f"{option} {display(text)}: of {', '.join(known)}")
    return names


def bundled_others(model: str) -> list[str]:
    """The other bundled generators of the same size that are here."""
    from stylegan_core.checkpoints.catalog import cards

    own = cards().get(model)
    if own is None:
        return []
    return [card.name for card in cards().values() if card.kind == "generator" and card.is_bundled and card.is_present()
            and card.name != model and card.facts.get("resolution") == own.facts.get("resolution")]  # fmt: skip


def _collected(terminal: Terminal, model: str, others: list[str], count: int, chains: list[str], kinds: list[str],
               perceptual: str, file: Path | None, output: Path, place: Any) -> Evaluation:  # fmt: skip
    from invert.attribution.attribute import known_calibrations, seconds_per_picture
    from invert.attribution.evaluation import Evaluation, at
    from stylegan_core.errors import UsageError

    bench = _bench(terminal, model, perceptual, place)
    known = known_calibrations([bench], [] if file is None else [str(file)]).get(bench.sha256)
    if known is None or known.is_one_class:
        raise UsageError(f"{model} has no calibration against other pictures: run `invert calibrate --model {model} --real …` first")
    generators = {Path(name).stem: load_for(terminal, name, place).generator for name in others}
    evaluation = Evaluation(at(bench, output / "evidence"), known, generators, count, chains, kinds)
    total = sum(count * len(evaluation.chains_of(source)) for source in evaluation.sources())
    terminal.say(f"{total} pictures, about {duration(total * seconds_per_picture(bench))}; a stopped run goes on where it was")
    with terminal.progress("evaluate", total) as bar:
        warnings = evaluation.collect(lambda done, total, what: bar.update(done, total=total, note=what))
    for warning in warnings:
        terminal.warn(warning)
    return evaluation


def _bench(terminal: Terminal, model: str, perceptual: str, place: Any) -> Bench:
    from invert.attribution.attribute import AttributeOptions
    from invert.cli.attribute import prepared

    loaded = load_for(terminal, model, place)
    with terminal.progress("first look") as bar:
        return prepared(terminal, loaded, AttributeOptions(perceptual), lambda done, total, what: bar.update(done, total=total, note=what))


def _tables(terminal: Terminal, evaluation: Evaluation, fingerprint: int) -> dict[str, list[dict[str, Any]]]:
    from invert.attribution import evaluation as figures
    from invert.attribution.calibrate import known_rows

    fitted = known_rows(evaluation.bench.calibration_folder)
    tables = {
        "attribution": figures.attribution_table(evaluation), "thresholds": figures.threshold_table(evaluation),
        "verdicts": figures.verdict_table(evaluation), "ratios": figures.ratio_table(evaluation),
        "detection": figures.detection_table(evaluation), "ablation": figures.ablation_table(evaluation, fitted), "fingerprint": [],
    }  # fmt: skip
    if fingerprint:
        terminal.say("training the yardstick")
        tables["fingerprint"] = figures.fingerprint_table(evaluation, fingerprint)
    return tables


def _further(
    terminal: Terminal, names: list[str], evaluation: Evaluation, output: Path, place: Any, perceptual: str
) -> dict[str, Evaluation]:
    """Own and real pictures of further models, clean, for the histograms of SG2 Fig. 9."""
    from dataclasses import replace

    from invert.attribution.evaluation import Evaluation, at

    found = {}
    for name in names:
        bench = at(_bench(terminal, name, perceptual, place), output / "evidence")
        one = Evaluation(bench, replace(evaluation.calibration, heads={}), {}, evaluation.count, ("clean",))
        one.collect_kinds(("psi 1", "real"))
        found[name] = one
    return found


def _write(terminal: Terminal, evaluation: Evaluation, tables: dict[str, Any], facts: dict[str, Any], output: Path, into: Path | None,
           further: dict[str, Evaluation]) -> None:  # fmt: skip
    from invert.attribution.tables import distance_chart, markdown, pictures, put_into
    from invert.plots import alone
    from invert.reports import jsonable
    from stylegan_core.files import atomic_write, write_json

    text = markdown(tables, facts)
    write_json(output / "tables.json", jsonable({**facts, **tables}))
    with atomic_write(output / "tables.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    files = pictures(evaluation, output)
    if further:
        with atomic_write(output / "fig9.svg") as temporary:
            temporary.write_text(alone(distance_chart({evaluation.bench.name: evaluation, **further})), encoding="utf-8")
    if into is not None:
        put_into(into, text)
    terminal.data(text)
    terminal.say(f"written: {output / 'tables.md'}, tables.json, {', '.join(path.name for path in files)}")
