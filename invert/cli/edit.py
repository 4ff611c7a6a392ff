"""`invert edit`: photos and inversions, changed along directions or by a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invert.cli import editing_options as editing
from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Bar, Terminal

if TYPE_CHECKING:
    from invert.edits import EditOptions
    from stylegan_core.progress import Callback

WHAT = "What to change"
WHERE = "Where it shows"


def register(app: typer.Typer) -> None:
    command(app, "edit")(edit)


def edit(
    pictures: Annotated[list[str], typer.Argument(metavar="PHOTO|INVERSION", help="Photos, inversions, folders, globs.")],
    direction: Annotated[
        list[str] | None,
        typer.Option("--direction", "-d", metavar="NAME|FILE", help="May be given several times.", rich_help_panel=WHAT),
    ] = None,
    strength: Annotated[
        str,
        typer.Option("--strength", "-s", metavar="X|A,B|A:B:N", help="In standard deviations, for example -3:3:7.", rich_help_panel=WHAT),
    ] = "-2,0,2",
    set_: Annotated[bool, typer.Option("--set", help="Move to these strengths, not by them.", rich_help_panel=WHAT)] = False,
    also: Annotated[
        list[str] | None,
        typer.Option("--also", metavar="NAME=X", help="A further direction at one strength, before all others.", rich_help_panel=WHAT),
    ] = None,
    hold: Annotated[
        list[str] | None,
        typer.Option("--hold", metavar="NAME", help="Leave the reading of this direction as it is.", rich_help_panel=WHAT),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="RULE", help="As strong as it takes: smile>=0.8, age<=0.", rich_help_panel=WHAT),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="RULE", help="No further than: distance<=0.3, identity>=0.9.", rich_help_panel=WHAT),
    ] = None,
    pipeline: Annotated[
        Path | None,
        typer.Option("--pipeline", metavar="FILE", help="Steps from a YAML or JSON file instead.", rich_help_panel=WHAT),
    ] = None,
    rows: editing.Rows = None,
    mask: Annotated[
        str | None,
        typer.Option("--mask", metavar="FILE", help="Show the edit where this picture is white.", rich_help_panel=WHERE),
    ] = None,
    through: Annotated[
        str, typer.Option("--through", metavar="WAY", help="Blend the mask through features or pixels.", rich_help_panel=WHERE)
    ] = "features",
    paste: Annotated[
        str | None,
        typer.Option("--paste", metavar="MODE", help="Also paste back into the photo: replace, difference.", rich_help_panel=WHERE),
    ] = None,
    photo: Annotated[
        Path | None,
        typer.Option("--photo", metavar="FILE", help="The photo of an inversion, to paste into.", rich_help_panel=WHERE),
    ] = None,
    colour: Annotated[
        str, typer.Option("--colour", metavar="MODE", help="Match colours along the seam: none, border.", rich_help_panel=WHERE)
    ] = "none",
    video: editing.Video = None,
    output: options.Output = Path("out"),
    model: Annotated[
        str | None,
        typer.Option("--model", "--network", metavar="NAME|FILE", help="The generator (default: portraits64, or the pipeline's)."),
    ] = None,
    related: editing.Related = False,
    landmarks: editing.Landmarks = None,
    face: editing.Face = None,
    space: editing.Space = "w+",
    preset: editing.Preset = "fast",
    steps: editing.Steps = None,
    perceptual: editing.Perceptual = "auto",
    fit: editing.Fit = "crop",
    no_metadata: options.NoMetadata = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Change photos: smile, glasses, age, or whatever a direction says.

    \b
    Examples:
      invert edit photo.png --direction smile --strength -3:3:7
      invert edit out/photo.inversion.safetensors -d glasses -s 2 --hold age
      invert edit party.jpg -d smile -s 2 --landmarks detect --face largest --paste replace
      invert edit photo.png -d smile --until "smile>=0.8" --keep "distance<=0.3"
      invert edit photo.png --pipeline edit.yaml

    For photo.png and smile the folder gets photo.smile+2.00.png, …, photo.smile.sheet.png, photo.inversion.safetensors, report.json.
    """
    from invert.edits import EditOptions, plan_files
    from invert.inputs import collect_inputs
    from invert.video import check_video
    from stylegan_core.errors import UsageError
    from stylegan_core.runtime import resolve_device, set_threads

    terminal = Terminal(quiet=quiet)
    if (pipeline is None) == (not direction):
        raise UsageError("give a --direction or a --pipeline, one of the two (`invert directions list` shows names)")
    if video is not None:
        check_video(video)
    set_threads(threads)
    place = resolve_device(device)
    inputs = collect_inputs(pictures, wanted=_is_input)
    files = plan_files(inputs.paths, output)
    from invert.editing.steps import Align, PasteBack, Project
    from invert.editing.sweep import parse_strengths
    from stylegan_core.landmarks import parse_face

    chosen = EditOptions(
        strengths=tuple(parse_strengths(strength)),
        is_absolute=set_,
        also=tuple(parse_also(text) for text in also or ()),
        align=Align(landmarks, None if face is None else parse_face(face), fit),
        project=Project(space=space, preset=preset, steps=steps, seed=seed, perceptual=perceptual, fit=fit),
        mask=None if mask is None else (mask, through),
        paste=None if paste is None else PasteBack(paste, colour=colour, photo=photo),
        reach=until,
        keep=tuple(keep or ()),
    )
    if video is not None and len(files) > 1:
        raise UsageError(f"--video takes one input, not {len(files)}")
    if dry_run:
        _say_plan(terminal, files, chosen, direction, pipeline)
        return
    if pipeline is not None:
        records = _run_pipeline(terminal, files, pipeline, model, str(place), output, related=related, with_metadata=not no_metadata)
    else:
        records = _run(terminal, files, chosen, direction or [], hold or [], rows, model or options.DEFAULT_MODEL, place, output,
                       related=related, video=video, with_metadata=not no_metadata)  # fmt: skip
    if json:
        terminal.json(records)
    if any(record["status"] == "failed" for record in records):
        raise typer.Exit(1)


def parse_also(text: str) -> tuple[str, float]:
    """'age=-1' → ('age', -1.0). Raises UsageError."""
    from invert.editing.sweep import parse_strengths
    from stylegan_core.errors import UsageError

    name, equals, value = text.rpartition("=")
    if not equals or not name:
        raise UsageError(f"--also {text!r}: write NAME=STRENGTH, for example age=-1")
    strengths = parse_strengths(value)
    if len(strengths) != 1:
        raise UsageError(f"--also {text!r}: one strength is allowed")
    return name, strengths[0]


def _is_input(path: Path) -> bool:
    from invert.inputs import is_inversion_file, is_picture_file

    return is_inversion_file(path) or is_picture_file(path)


def _run(
    terminal: Terminal, files: Any, chosen: EditOptions, names: list[str], hold: list[str], rows: str | None, model: str, place: Any,
    folder: Path, *, related: bool, video: Path | None, with_metadata: bool,
) -> list[dict[str, Any]]:  # fmt: skip
    from dataclasses import fields

    from invert.cli.loading import load_for
    from invert.editing.library import check_names
    from invert.editing.setting import Setting
    from invert.editing.steps import check_steps
    from invert.edits import edit_input
    from invert.reports import Report

    loaded = load_for(terminal, model, place)
    projecting = {part.name: getattr(chosen.project, part.name) for part in fields(chosen.project)}
    setting = Setting(loaded, projecting, related)
    directions = [setting.direction(name, rows=rows, hold=hold) for name in names]
    check_names([direction.name for direction in directions])
    for name, _ in chosen.also:
        setting.direction(name)
    check_steps(_later_steps(chosen, names[0]), setting)
    report = Report(folder, [str(one.source) for one in files])
    with terminal.progress("edit", len(files)) as bar:
        for done, one in enumerate(files):
            record = edit_input(one, setting, directions, chosen, with_metadata=with_metadata, video=video,
                                callback=_showing(bar, done, one.source.name))  # fmt: skip
            report.put(str(one.source), record)
            bar.update(done + 1)
            _say_record(terminal, record)
    return report.records


def _later_steps(chosen: EditOptions, direction: str) -> list[Any]:
    """What these options would be in a pipeline, to be checked before a photo is projected."""
    from invert.editing.steps import Mask, Until

    steps: list[Any] = [] if chosen.mask is None else [Mask(*chosen.mask)]
    steps += [] if chosen.paste is None else [chosen.paste]
    return steps + ([Until(direction, chosen.reach, chosen.keep, chosen.max_strength, chosen.labels)] if chosen.has_rules else [])


def _run_pipeline(
    terminal: Terminal, files: Any, pipeline: Path, model: str | None, device: str, folder: Path, *, related: bool, with_metadata: bool
) -> list[dict[str, Any]]:
    from invert.edits import run_pipeline
    from invert.pipeline import Pipeline
    from invert.reports import Report

    line = Pipeline.load(pipeline, model=model, device=device, is_related=related or None)
    terminal.say(str(line))
    report = Report(folder, [str(one.source) for one in files])
    with terminal.progress("edit", len(files)) as bar:
        for done, one in enumerate(files):
            record = run_pipeline(one, line, with_metadata=with_metadata, callback=_showing(bar, done, one.source.name))
            report.put(str(one.source), record)
            bar.update(done + 1)
            _say_record(terminal, record)
    return report.records


def _showing(bar: Bar, done: int, name: str) -> Callback:
    def callback(info: Any) -> None:
        quality = "" if info.psnr is None else f", {float(info.psnr.mean()):.1f} dB"
        bar.update(done + info.step / max(1, info.num_steps), what=name, note=f"step {info.step}/{info.num_steps}{quality}")

    return callback


def _say_record(terminal: Terminal, record: dict[str, Any]) -> None:
    if record["status"] == "failed":
        terminal.fail(f"{record['input']}: {record['error']}" if record["input"] not in record["error"] else record["error"])
        return
    for note in record.get("steps", []):
        facts = ", ".join(f"{key} {value}" for key, value in note.items() if key != "step")
        terminal.say(f"  {note['step']}{': ' if facts else ''}{facts}")
    for name, outcome in record.get("until", {}).items():
        terminal.say(f"  {name}: strength {outcome['strength']:+.2f} ({outcome['reason']})")
    terminal.say(f"{record['input']}: {', '.join(record['outputs'])}")


def _say_plan(terminal: Terminal, files: Any, chosen: EditOptions, directions: list[str] | None, pipeline: Path | None) -> None:
    from dataclasses import asdict

    from invert.reports import jsonable

    plan = {"directions": directions, "pipeline": None if pipeline is None else str(pipeline), **asdict(chosen)}
    plan["inputs"] = [{"input": str(one.source), "outputs": [str(one.picture(name, strength)) for name in directions or []
                                                             for strength in chosen.strengths]} for one in files]  # fmt: skip
    terminal.json(jsonable(plan))
