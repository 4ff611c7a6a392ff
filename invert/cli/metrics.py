"""`invert metrics`: how far a generator's samples are from data, or two pictures from each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal
from invert.cli.loading import load_for

if TYPE_CHECKING:
    from torch import Tensor


def register(app: typer.Typer) -> None:
    command(app, "metrics")(metrics)


def metrics(
    pair: Annotated[list[Path] | None, typer.Argument(metavar="A B", help="Two pictures, or two folders whose names match.")] = None,
    model: options.Model = options.DEFAULT_MODEL,
    psi: options.Psi = 1.0,
    count: Annotated[int, typer.Option("--count", metavar="N", help="Samples, and as many real pictures.")] = 5000,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DIR|ZIP", help="Real pictures, 2 N of them (default: portraits never seen)."),
    ] = None,
    judge: Annotated[
        str, typer.Option("--judge", metavar="NAME|FILE", help="The network that looks; never one of an objective.")
    ] = "portraits-judge",
    only: Annotated[
        str | None,
        typer.Option("--metrics", metavar="LIST", help="Only these, which need no data: eq_t,eq_t_frac,eq_r."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="First seed of the samples.")] = 1000,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Measure a generator against data, beside the floor (data against data); or two pictures against each other.

    \b
    Examples:
      invert metrics --model portraits64 --count 5000
      invert metrics --model stylegan3-r.pkl --metrics eq_t,eq_r --count 256
      invert metrics target.png out/target.png --json
      invert metrics photos/ renders/
    """
    from stylegan_core.errors import UsageError
    from stylegan_core.runtime import resolve_device, set_threads

    terminal = Terminal(quiet=quiet)
    set_threads(threads)
    place = resolve_device(device)
    if pair:
        if len(pair) != 2:
            raise UsageError(f"{len(pair)} pictures or folders were named; two are compared")
        records = compare_pictures(matching(*pair))
        if json:
            terminal.json(records)
        else:
            _print_pairs(terminal, records)
        return
    if only is not None:
        figures = measure_named(terminal, model, place, only.split(","), count=count, psi=psi, seed=seed)
        if json:
            terminal.json(figures)
        else:
            rows = [[name, f"{sides['samples']:.4f}"] for name, sides in figures["metrics"].items()]
            terminal.table(["metric", "samples"], rows, right=[1])
        return
    from stylegan_core.data.images import open_images
    from stylegan_core.features import load_features
    from stylegan_core.metrics.report import measure_generator

    looking = load_features(judge).to(place)
    pictures = None if data is None else open_images(data, resolution=looking.img_resolution)
    loaded = load_for(terminal, model, place)
    with terminal.progress("measure", 3 * count) as bar:
        before: dict[str, int] = {}

        def callback(what: str, done: int, total: int) -> None:
            before[what] = done
            bar.update(sum(before.values()), what=what)

        figures = measure_generator(loaded.generator, looking, count=count, data=pictures, truncation_psi=psi, seed=seed, callback=callback)
    figures = {"model": model, **figures}
    if json:
        terminal.json(figures)
    else:
        _print_report(terminal, figures)


def measure_named(terminal: Terminal, model: str, place: Any, names: list[str], *, count: int, psi: float, seed: int) -> dict[str, Any]:
    """Figures of metrics that look at the generator alone."""
    from stylegan_core.metrics.report import measure_alone

    loaded = load_for(terminal, model, place)
    with terminal.progress("measure", len(names)) as bar:

        def callback(what: str, done: int, total: int) -> None:
            bar.update(done, what=what)

        names = [name.strip() for name in names]
        figures = measure_alone(loaded.generator, names, count=count, truncation_psi=psi, seed=seed, callback=callback)
    return {"model": model, **figures}


def matching(first: Path, second: Path) -> list[tuple[Path, Path]]:
    """The two files, or the files of one stem in two folders. Raises UsageError when nothing matches."""
    from stylegan_core.errors import UsageError
    from stylegan_core.image_reader import SUFFIXES

    if not first.is_dir() and not second.is_dir():
        return [(first, second)]
    if first.is_dir() != second.is_dir():
        raise UsageError(f"{first} and {second}: a picture and a folder cannot be compared")
    stems = [{path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES} for folder in (first, second)]
    common = [stem for stem in stems[0] if stem in stems[1]]
    if not common:
        raise UsageError(f"{first} and {second} have no pictures of the same name")
    return [(stems[0][stem], stems[1][stem]) for stem in common]


def compare_pictures(pairs: list[tuple[Path, Path]]) -> list[dict[str, Any]]:
    """One record per pair with every metric of pictures. Raises ImageError for different sizes."""
    from stylegan_core.errors import ImageError, UsageError
    from stylegan_core.images import load_image, to_u8
    from stylegan_core.metrics.registry import METRICS, PICTURES

    def load(path: Path) -> Tensor:
        return to_u8(load_image(path))

    records = []
    for first, second in pairs:
        a, b = load(first), load(second)
        if a.shape != b.shape:
            raise ImageError(f"{first} is {a.shape[2]}×{a.shape[1]}, {second} {b.shape[2]}×{b.shape[1]}; sizes must be equal")
        figures: dict[str, float | None] = {}
        for name, metric in METRICS.items():
            if metric.compares == PICTURES:
                try:
                    figures[name] = round(metric.function(a, b).item(), 6)
                except UsageError:  # pictures too small for this metric
                    figures[name] = None
        records.append({"first": str(first), "second": str(second), **figures})
    return records


def _print_pairs(terminal: Terminal, records: list[dict[str, Any]]) -> None:
    names = [name for name in records[0] if name not in ("first", "second")]
    rows = [[Path(record["second"]).name, *(_figure(record[name]) for name in names)] for record in records]
    if len(records) > 1:
        rows.append(["mean", *(_figure(_mean([record[name] for record in records])) for name in names)])
    terminal.table(["picture", *names], rows, right=range(1, len(names) + 1))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _figure(value: float | None) -> str:
    return "too small" if value is None else f"{value:.4f}"


def _print_report(terminal: Terminal, figures: dict[str, Any]) -> None:
    terminal.data(f"{figures['model']}: {figures['count']} samples at psi {figures['truncation_psi']:g} against {figures['data']}")
    for group in ("metrics", "attributes"):
        rows = [[name, f"{sides['samples']:.4f}", f"{sides['floor']:.4f}"] for name, sides in figures[group].items()]
        terminal.table([group, "samples", "floor"], rows, right=[1, 2])
    pairs = list(figures["pairs"].items())[:5]
    rows = [[name, f"{sides['samples']:.4f}", f"{sides['floor']:.4f}"] for name, sides in pairs]
    terminal.table(["worst pairs", "samples", "floor"], rows, right=[1, 2])
