"""`invert evaluate`: methods compared on pictures whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from invert.cli import evaluate_attribution, options
from invert.cli.app import command
from invert.cli.console import Terminal
from invert.cli.loading import load_for

if TYPE_CHECKING:
    from invert.evaluate import MethodRow


def build_app() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(name="evaluate", help="Measure what methods do on pictures whose truth is known.", no_args_is_help=True)
    app.callback()(lambda: None)
    command(app, "methods")(methods)
    evaluate_attribution.register(app)
    return app


def methods(
    model: options.Model = options.DEFAULT_MODEL,
    spaces: Annotated[str, typer.Option("--spaces", metavar="LIST", help="Of z, w, w+, s.")] = "w,w+",
    presets: Annotated[str, typer.Option("--presets", metavar="LIST", help="Names of presets.")] = "fast",
    subjects: Annotated[str, typer.Option("--pictures", metavar="LIST", help="Of samples, portraits.")] = "samples,portraits",
    count: Annotated[int, typer.Option("--count", metavar="N", help="Pictures of each kind.")] = 32,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", help="Of every projection. (default: the preset's)")] = None,
    judge: Annotated[str | None, typer.Option("--judge", metavar="NAME|FILE", help="A network that no objective uses.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Also write the table here.")] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Project own samples and portraits never seen, in every space with every preset, and print one table.

    \b
    Examples:
      invert evaluate methods --count 8
      invert evaluate methods --spaces z,w,w+,s --presets fast,stylegan2 --csv methods.csv
    """
    from invert.evaluate import SUBJECTS, evaluate_methods, records, table
    from stylegan_core.errors import UsageError
    from stylegan_core.features import load_features
    from stylegan_core.runtime import resolve_device, set_threads

    terminal = Terminal(quiet=quiet)
    set_threads(threads)
    place = resolve_device(device)
    chosen = [subject.strip() for subject in subjects.split(",")]
    unknown = [subject for subject in chosen if subject not in SUBJECTS]
    if unknown:
        raise UsageError(f"--pictures {unknown[0]!r}: of {', '.join(SUBJECTS)}")
    if count < 1:
        raise UsageError(f"--count {count}: a whole number from 1 is allowed")
    looking = None if judge is None else load_features(judge).to(place)
    loaded = load_for(terminal, model, place)
    with terminal.progress("evaluate") as bar:

        def callback(row: MethodRow, done: int, total: int) -> None:
            bar.update(done, total=total, note=f"{row.subject} {row.space} {row.preset}: {row.psnr:.1f} dB")

        rows = evaluate_methods(loaded.generator, spaces=spaces.split(","), presets=presets.split(","), subjects=chosen, count=count,
                                steps=steps, judge=looking, callback=callback)
    if csv is not None:
        write_csv(csv, records(rows))
    if json:
        terminal.json(records(rows))
    else:
        terminal.data(table(rows))


def write_csv(path: Path, values: list[dict[str, object]]) -> None:
    """One line per row, whole or not at all."""
    import csv
    import io

    from stylegan_core.files import atomic_write

    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(values[0]))
    writer.writeheader()
    writer.writerows(values)
    with atomic_write(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
