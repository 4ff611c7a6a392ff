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
    import torch
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
    names: Annotated[
        str | None, typer.Option("--metrics", metavar="LIST", help="By name: fid,kid,ppl-w,… (`--metrics list` shows all).")
    ] = None,
    judge: Annotated[
        str, typer.Option("--judge", metavar="NAME|FILE", help="The network that looks; never one of an objective.")
    ] = "portraits-judge",
    detector: Annotated[
        str | None,
        typer.Option("--detector", metavar="NAME|FILE", help="Whose features are compared: inception, a file. (default: the judge)"),
    ] = None,
    detector_sha256: Annotated[
        str | None, typer.Option("--detector-sha256", metavar="HEX", help="Of a TorchScript detector, a program that you trust.")
    ] = None,
    distance: Annotated[
        str | None, typer.Option("--distance", metavar="NAME", help="Of path lengths: vgg (LPIPS), alex, squeeze. (default: the judge's)")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Look at the data again, and keep nothing of it.")] = False,
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
      invert metrics --model ffhq --data ffhq.zip --detector inception --metrics fid,kid,precision,recall --count 35000
      invert metrics --metrics ppl-z,ppl-w,separability-z,separability-w,resolution-contribution --count 2000
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
    if names == "list":
        _print_names(terminal)
        return
    figures = measured(terminal, model, place, names=names, judge=judge, detector=detector, detector_sha256=detector_sha256,
                       distance=distance, data=data, count=count, psi=psi, seed=seed, is_cached=not no_cache)  # fmt: skip
    if figures is None:
        return
    if json:
        terminal.json(figures)
    else:
        _print_report(terminal, figures)


def measured(
    terminal: Terminal, model: str, place: torch.device, *, names: str | None, judge: str, detector: str | None,
    detector_sha256: str | None, distance: str | None, data: str | None, count: int, psi: float, seed: int, is_cached: bool,
) -> dict[str, Any] | None:  # fmt: skip
    """The report of a generator; None in a process of torchrun that is not the first."""
    from stylegan_core.data.images import open_images
    from stylegan_core.features import load_features
    from stylegan_core.metrics.detectors import load_detector
    from stylegan_core.metrics.registry import DEFAULTS, GENERATOR, metrics_of_a_generator
    from stylegan_core.metrics.report import Looking, measure_generator
    from stylegan_core.metrics.statistics_cache import StatisticsCache, identity_of_path
    from stylegan_core.training.distributed import rank, start_processes

    wanted = DEFAULTS if names is None else tuple(name.strip() for name in names.split(",") if name.strip())
    chosen = metrics_of_a_generator(wanted)
    looking_at = load_features(judge).to(place)
    looker = None if detector is None else load_detector(detector, device=place, trusted_sha256=detector_sha256)
    identity = "" if data is None else identity_of_path(data)
    looking = Looking(looking_at, looker, _distance(distance, place), StatisticsCache(identity) if is_cached else None)
    pictures = None if data is None else open_images(data, resolution=None if looker is not None else looking_at.img_resolution)
    start_processes(str(place))
    loaded = load_for(terminal, model, place)
    own = [metric for metric in chosen if metric.compares == GENERATOR]
    with terminal.progress("measure", count * (3 * (len(own) < len(chosen)) + len(own))) as bar:
        before: dict[str, int] = {}

        def callback(what: str, done: int, total: int) -> None:
            before[what] = done
            bar.update(sum(before.values()), what=what)

        figures = measure_generator(loaded.generator, looking, names=wanted, count=count, data=pictures, truncation_psi=psi, seed=seed,
                                    callback=callback)  # fmt: skip
    return {"model": model, **figures} if rank() == 0 else None


def _distance(name: str | None, place: torch.device) -> Any:
    from stylegan_core.losses.perceptual import distance as between
    from stylegan_core.losses.perceptual import load_lpips
    from stylegan_core.metrics.path_length import Distance

    if name is None:
        return None
    lpips = load_lpips(name).to(place)
    return Distance(f"LPIPS ({name})", lambda a, b: between(lpips.features(a), lpips.features(b)))


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
    against = f" against {figures['data']}" if "data" in figures else ""
    terminal.data(f"{figures['model']}: {figures['count']} samples at psi {figures['truncation_psi']:g}{against}")
    for group in ("metrics", "attributes"):
        if figures.get(group):
            rows = [[name, f"{sides['samples']:.4f}", f"{sides['floor']:.4f}"] for name, sides in figures[group].items()]
            heading = f"metrics in {figures['detector']}" if group == "metrics" else group
            terminal.table([heading, "samples", "floor"], rows, right=[1, 2])
    pairs = list(figures.get("pairs", {}).items())[:5]
    if pairs:
        rows = [[name, f"{sides['samples']:.4f}", f"{sides['floor']:.4f}"] for name, sides in pairs]
        terminal.table(["worst pairs", "samples", "floor"], rows, right=[1, 2])
    own = figures.get("generator", {})
    if own:
        rows = [[name, f"{entry['value']:.4f}", entry["measured_in"]] for name, entry in own.items()]
        terminal.table(["of the generator", "value", "measured in"], rows, right=[1])
    for entry in own.values():
        for group in ("entropies", "shares"):
            if group in entry:
                terminal.table([group, "value"], [[name, f"{value:.4f}"] for name, value in entry[group].items()], right=[1])


def _print_names(terminal: Terminal) -> None:
    from stylegan_core.metrics.registry import METRICS

    terminal.table(["metric", "of", "what"], [[row.name, row.compares, row.title] for row in METRICS.values()])
