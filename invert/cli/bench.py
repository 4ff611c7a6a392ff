"""`invert bench`: how fast synthesis is here, beside the plain grouped form in the same run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal

if TYPE_CHECKING:
    from invert.bench import Case


def register(app: typer.Typer) -> None:
    command(app, "bench")(bench)


def bench(
    resolutions: Annotated[
        str | None, typer.Option("--resolutions", metavar="LIST", help="Of 64, 256, 1024 (default: all, and the bundled model).")
    ] = None,
    batches: Annotated[str | None, typer.Option("--batches", metavar="LIST", help="Of 1, 8 (default: what fits the machine).")] = None,
    encoder: Annotated[bool, typer.Option("--encoder", help="Of a pSp of the published size instead, beside its plain form.")] = False,
    training: Annotated[bool, typer.Option("--training", help="Of training steps instead: both networks, all gradients, Adam.")] = False,
    variants: Annotated[str, typer.Option("--variants", metavar="LIST", help="Of eager, bf16, compiled, compiled-bf16.")] = "eager",
    repeats: Annotated[int, typer.Option("--repeats", metavar="N", help="Medians are of this many turns.")] = 5,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", help="No further turns of a case after this long.")] = 60.0,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE.md", help="Also write the table here.")] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Measure synthesis, forward and with its gradient, as a ratio to the plain grouped-convolution form.

    \b
    Examples:
      invert bench
      invert bench --resolutions 64 --batches 8 --variants eager,bf16
      invert bench --encoder --batches 1,8
      invert bench --training --resolutions 64 --batches 16 --variants eager,bf16
      invert bench --device cuda --variants eager,bf16,compiled-bf16 -o speed.md
    """
    from invert.bench import bench as measure
    from invert.bench import default_cases, markdown
    from stylegan_core.errors import UsageError
    from stylegan_core.runtime import resolve_device, set_threads

    terminal = Terminal(quiet=quiet)
    if repeats < 1 or seconds <= 0:
        raise UsageError(f"--repeats {repeats} and --seconds {seconds:g}: both must be above 0")
    place = resolve_device(device)
    set_threads(threads)
    if encoder:
        bench_encoders(terminal, _numbers("--batches", batches) or [1, 8], repeats, seconds, place, output, json=json, dry_run=dry_run)
        return
    if training:
        bench_steps(terminal, _numbers("--resolutions", resolutions) or [64], _numbers("--batches", batches) or [16], variants, repeats,
                    seconds, place, output, json=json, dry_run=dry_run)
        return
    cases = chosen_cases(default_cases(place), _numbers("--resolutions", resolutions), _numbers("--batches", batches))
    names = [name.strip() for name in variants.split(",")]
    if dry_run:
        terminal.json({"device": str(place), "variants": names, "cases": [{"name": case.name, "batch": case.batch} for case in cases]})
        return
    with terminal.progress("bench", 2 * len(cases)) as bar:
        started = 0

        def callback(what: str) -> None:
            nonlocal started
            bar.update(started, what=what)
            started += 1

        rows = list(measure(cases, names, repeats=repeats, seconds=seconds, device=place, callback=callback))
    show(terminal, rows, markdown, place, output, json=json)


def bench_encoders(terminal: Terminal, batches: list[int], repeats: int, seconds: float, place: Any, output: Path | None, *,
                   json: bool, dry_run: bool) -> None:
    """The table of encoders."""
    from invert.bench_encoder import bench_encoder, markdown

    if dry_run:
        terminal.json({"device": str(place), "encoder": "psp ir-se-50, 256 px, 18 rows", "batches": batches})
        return
    with terminal.progress("bench", len(batches)) as bar:
        rows = []
        for number, batch in enumerate(batches):
            bar.update(number, what=f"batch {batch}")
            rows += bench_encoder(batch, repeats=repeats, seconds=seconds, device=place)
    show(terminal, rows, markdown, place, output, json=json)


def bench_steps(terminal: Terminal, resolutions: list[int], batches: list[int], variants: str, repeats: int, seconds: float, place: Any,
                output: Path | None, *, json: bool, dry_run: bool) -> None:
    """The table of training steps."""
    from invert.bench import Case
    from invert.bench_training import bench_training, markdown

    names = [name.strip() for name in variants.split(",")]
    cases = [Case(f"{resolution}²", batch, resolution) for resolution in resolutions for batch in batches]
    if dry_run:
        terminal.json({"device": str(place), "variants": names, "cases": [{"name": case.name, "batch": case.batch} for case in cases]})
        return
    rows = []
    with terminal.progress("bench", len(cases)) as bar:
        for number, case in enumerate(cases):
            bar.update(number, what=f"{case.name} batch {case.batch}")
            rows += bench_training(case, names, repeats=repeats, seconds=seconds, device=place)
    show(terminal, rows, markdown, place, output, json=json)


def show(terminal: Terminal, rows: list[Any], markdown: Callable[[Any, Any], str], place: Any, output: Path | None, *, json: bool) -> None:
    """Rows with the machine that they come from: to a file, where one was named, and to stdout."""
    from invert.bench import machine
    from stylegan_core.files import atomic_write

    here = machine(place)
    if output is not None:
        with atomic_write(output) as temporary:
            temporary.write_text(markdown(rows, here), encoding="utf-8")
    if json:
        terminal.json({"machine": vars(here), "rows": [row.to_dict() for row in rows]})
    else:
        terminal.data(markdown(rows, here))


def chosen_cases(cases: list[Case], resolutions: list[int] | None, batches: list[int] | None) -> list[Case]:
    """Those of these sizes and batches; None = all. Raises UsageError when none is left."""
    from stylegan_core.errors import UsageError

    left = [
        case for case in cases if (resolutions is None or case.resolution in resolutions) and (batches is None or case.batch in batches)
    ]
    if not left:
        known = ", ".join(sorted({f"{case.resolution} × {case.batch}" for case in cases}))
        raise UsageError(f"no case has these --resolutions and --batches; there are {known}")
    return left


def _numbers(option: str, text: str | None) -> list[int] | None:
    from stylegan_core.errors import UsageError

    if text is None:
        return None
    parts: list[Any] = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise UsageError(f"{option} {text!r}: whole numbers with commas between them are allowed")
    return [int(part) for part in parts]
