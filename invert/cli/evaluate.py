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
    from invert.cli.evaluate_inversions import inversions, race
    from invert.cli.evaluate_robustness import robustness

    app = typer.Typer(name="evaluate", help="Measure what methods do on pictures whose truth is known.", no_args_is_help=True)
    command(app, "methods")(methods)
    command(app, "edits")(edits)
    command(app, "inversions")(inversions)
    command(app, "race")(race)
    command(app, "robustness")(robustness)
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


def edits(
    model: options.Model = options.DEFAULT_MODEL,
    methods: Annotated[str, typer.Option("--methods", metavar="LIST", help="Of `edit_methods`: bundled, interfacegan, …")] = "bundled",
    directions: Annotated[str | None, typer.Option("--directions", metavar="LIST", help="Only these attributes.")] = None,
    inversion: Annotated[str, typer.Option("--inversion", metavar="NAME", help="own (of the bundled models), or a preset.")] = "own",
    space: Annotated[str, typer.Option("--space", metavar="w|w+", help="Of the preset.")] = "w+",
    count: Annotated[int, typer.Option("--count", metavar="N", help="Portraits.")] = 200,
    samples: Annotated[int, typer.Option("--samples", metavar="N", help="From which the methods learn.")] = 4000,
    mixing: Annotated[bool, typer.Option("--mixing", help="Also which attributes mixing transfers.")] = False,
    judge: Annotated[str, typer.Option("--judge", metavar="NAME|FILE", help="A network that no objective uses.")] = "portraits-judge",
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Also write the table here.")] = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Edit portraits never seen along directions of known attributes, and compare with the pictures that should have come out.

    \b
    Examples:
      invert evaluate edits --count 200
      invert evaluate edits --methods interfacegan,interfacegan-held,ganspace,sefa --mixing
      invert evaluate edits --inversion fast --count 16
    """
    from invert.edit_methods import METHODS, directions_by
    from invert.editing.labels import labelled
    from invert.evaluate_edits import evaluate_edits, mixing_table, mixing_transfer, records, subjects_of, table
    from stylegan_core.errors import UsageError
    from stylegan_core.features import load_features
    from stylegan_core.latent import LatentSpace
    from stylegan_core.runtime import resolve_device, set_threads

    terminal = Terminal(quiet=quiet)
    set_threads(threads)
    place = resolve_device(device)
    names = [name.strip() for name in methods.split(",")]
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise UsageError(f"--methods {unknown[0]!r}: of {', '.join(METHODS)}")
    looking = load_features(judge).to(place)
    generator = load_for(terminal, model, place).generator
    with terminal.progress("evaluate edits") as bar:

        def counting(done: int, total: int) -> None:
            bar.update(done, total=total)

        data = labelled("portraits-features", generator, num_samples=samples, seed=seed, callback=counting)
        data = data.lowered(generator, LatentSpace.W)
        only = None if directions is None else [name.strip() for name in directions.split(",")]
        found = {name: [one for one in directions_by(name, generator, data) if only is None or one.name in only] for name in names}
        subjects = subjects_of(generator, count, inverted=inversion, space=space, callback=counting)
        rows = evaluate_edits(generator, found, looking, subjects, callback=lambda row, done, total: bar.update(done, total=total))
        transfer = mixing_transfer(generator, looking, count=count) if mixing else None
    if csv is not None and rows:
        write_csv(csv, records(rows))
    if json:
        terminal.json({"edits": records(rows), "mixing": transfer})
    else:
        terminal.data(table(rows))
        if transfer is not None:
            terminal.data("\n" + mixing_table(transfer))


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
