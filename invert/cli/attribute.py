"""`invert attribute`: which generator made a picture, with evidence."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal, duration
from invert.cli.loading import load_for

if TYPE_CHECKING:
    import torch

    from invert.attribution.attribute import AttributeOptions
    from invert.attribution.calibrate import Bench, Tell
    from invert.attribution.folder import Run
    from invert.reports import Report

EVIDENCE = "Evidence"
PICTURE = "How to read the picture"


def register(app: typer.Typer) -> None:
    command(app, "attribute")(attribute)


def attribute(
    pictures: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Pictures, folders, globs.")],
    output: options.Output = Path("out"),
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "--network", metavar="NAME|FILE", help="A candidate; repeat it for several. (default: portraits64)"),
    ] = None,
    fpr: Annotated[
        float | None,
        typer.Option("--fpr", metavar="P", help="False alarms that made_by may have. (default: 0.01)", rich_help_panel=EVIDENCE),
    ] = None,
    null: Annotated[
        int, typer.Option("--null", metavar="N", help="Own samples for a model without a calibration.", rich_help_panel=EVIDENCE)
    ] = 19,
    calibration: Annotated[
        list[Path] | None,
        typer.Option("--calibration", metavar="FILE", help="Of a candidate, before that of the cache.", rich_help_panel=EVIDENCE),
    ] = None,
    perceptual: Annotated[
        str, typer.Option("--perceptual", metavar="NAME", help="auto, vgg, alex, squeeze, features, none.", rich_help_panel=EVIDENCE)
    ] = "auto",
    report: Annotated[bool, typer.Option("--report", help="A case file per picture: case.html and case.json.")] = False,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Also one row per picture and candidate.")] = None,
    background: Annotated[
        str, typer.Option("--background", metavar="COLOUR", help="Under transparent pixels.", rich_help_panel=PICTURE)
    ] = "white",
    max_megapixels: Annotated[
        float, typer.Option("--max-megapixels", metavar="MP", help="Refuse larger pictures.", rich_help_panel=PICTURE)
    ] = 64.0,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Look into sub-folders too.", rich_help_panel=PICTURE)] = False,
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", help="Pictures examined together. (default: by size)")] = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Tell which of the candidate models made a picture: made_by, consistent_with, none, or cannot_say.

    \b
    Examples:
      invert attribute photo.png
      invert attribute photos/ --model portraits64 --model portraits64-early --csv verdicts.csv
      invert attribute face.jpg --model ffhq.pkl --perceptual features --null 99 --report

    made_by needs a calibration (`invert calibrate`) and keeps --fpr. Without one the model is known by own samples alone, made at
    first use: they tell none from consistent_with. The exit code is 0 for any verdict. The folder gets report.json.
    """
    from invert.attribution.attribute import AttributeOptions
    from invert.attribution.folder import Run, plan_cases
    from invert.inputs import collect_inputs, is_picture_file
    from invert.jobs import default_batch
    from invert.loaded import LoadedModel
    from stylegan_core.errors import UsageError
    from stylegan_core.image_reader import parse_color
    from stylegan_core.runtime import resolve_device, set_threads

    terminal = Terminal(quiet=quiet)
    chosen = AttributeOptions(perceptual, fpr, null, seed, tuple(str(path) for path in calibration or ())).validate()
    parse_color(background)
    if batch is not None and batch < 1:
        raise UsageError(f"--batch {batch}: a whole number from 1 is allowed")
    names = list(dict.fromkeys(models or [options.DEFAULT_MODEL]))
    inputs = collect_inputs(pictures, wanted=is_picture_file, recursive=recursive)
    place = resolve_device(device)
    command_line = ("invert", *sys.argv[1:]) if Path(sys.argv[0]).stem in ("invert", "__main__") else ("invert", "attribute", *pictures)
    run = Run(output, report, background, round(max_megapixels * 1e6), batch or 1, command_line)
    plan_cases(inputs.paths, run)
    if inputs.ignored:
        terminal.say(f"left out {len(inputs.ignored)} file(s) that are no pictures: {', '.join(path.name for path in inputs.ignored[:3])}")
    if dry_run:
        terminal.json({"models": names, "device": str(place), "output": str(output), "inputs": [str(path) for path in inputs.paths],
                       **asdict(chosen)})  # fmt: skip
        return
    set_threads(threads)
    loaded: list[LoadedModel] = [load_for(terminal, name, place) for name in names]
    if batch is None:
        run = Run(output, report, background, run.max_pixels, default_batch(loaded[0].generator.img_resolution, place.type), command_line)
    result = _run(terminal, inputs.paths, loaded, chosen, run, place)
    if csv is not None:
        from invert.attribution.folder import rows_of
        from invert.cli.evaluate import write_csv

        write_csv(csv, rows_of(result.records))
    if json:
        terminal.json(result.records)
    if result.failed:
        raise typer.Exit(1)


def _run(terminal: Terminal, paths: list[Path], loaded: list[Any], chosen: AttributeOptions, run: Run, place: torch.device) -> Report:
    from invert.attribution.attribute import known_calibrations
    from invert.attribution.folder import attribute_folder
    from invert.attribution.verdict import check_fpr

    with terminal.progress("attribute") as bar:
        tell = _teller(bar)
        benches = [prepared(terminal, one, chosen, tell) for one in loaded]
        known = known_calibrations(benches, chosen.calibrations)
        for bench in benches:
            if bench.sha256 not in known:
                _say_one_class(terminal, bench, chosen)
        check_fpr(chosen.fpr, list(known.values()))
        done = 0

        def on_record(key: str, record: dict[str, Any], is_new: bool) -> None:
            nonlocal done
            done += 1
            bar.update(done, total=len(paths), what="attribute")
            say_record(terminal, record, is_new)

        report = attribute_folder(paths, benches, chosen, run, tell=tell, on_record=on_record)
    failed = len(report.failed)
    terminal.say(f"{len(report.records) - failed} done, {failed} failed: {run.folder / 'report.json'}")
    return report


def prepared(terminal: Terminal, loaded: Any, chosen: AttributeOptions, tell: Tell | None) -> Bench:
    """A model ready for evidence; says so when that takes a while."""
    from invert.attribution.attribute import bench_of, has_groundwork, seconds_of_groundwork

    if not has_groundwork(loaded.sha256):
        terminal.say(f"{loaded.name} is looked at for the first time; about {duration(seconds_of_groundwork(loaded.generator))}, then kept")
    return bench_of(loaded, chosen, tell)


def _teller(bar: Any) -> Tell:
    return lambda done, total, what: bar.update(done, total=total, what=what)


def _say_one_class(terminal: Terminal, bench: Bench, chosen: AttributeOptions) -> None:
    from invert.attribution.attribute import seconds_per_picture

    seconds = duration(chosen.null * seconds_per_picture(bench))
    terminal.say(
        f"{bench.name} has no calibration: {chosen.null} own samples are its null, made at first use, about {seconds} for each kind of "
        f"laundering that is met; `invert calibrate --model {bench.name} --real DIR` would also control false alarms"
    )


def say_record(terminal: Terminal, record: dict[str, Any], is_new: bool) -> None:
    """The verdict in one line, the candidates below it where there are several."""
    if record["status"] == "failed":
        terminal.fail(record["error"] if record["input"] in record["error"] else f"{record['input']}: {record['error']}")
        return
    terminal.say(f"{record['input']}: {record['verdict']}: {record['reason']}" + ("" if is_new else " (done before)"))
    if len(record["candidates"]) > 1:
        for candidate in record["candidates"]:
            ratio = candidate["likelihood_ratio"]
            shown = "" if ratio is None else f", likelihood ratio {ratio:.3g}"
            terminal.say(f"  {candidate['model']}: {candidate['verdict']}, score {candidate['score']:.3f}{shown}, "
                         f"p {candidate['p_generated']:.3g}")  # fmt: skip
