"""`invert evaluate inversions` and `invert evaluate race`: encoders, projections, hybrid and tuning side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invert.cli import options
from invert.cli.console import Terminal

if TYPE_CHECKING:
    from invert.comparison import InversionRow

Methods = Annotated[str, typer.Option("--methods", metavar="LIST", help="KIND[:ARGUMENT], see below.")]
Count = Annotated[int, typer.Option("--count", metavar="N", help="Held-out pictures.")]
Pictures = Annotated[str, typer.Option("--pictures", metavar="NAME", help="portraits (held out) or samples (of the model).")]
Perceptual = Annotated[str, typer.Option("--perceptual", metavar="NAME", help="auto, vgg, alex, squeeze, features, none.")]


def inversions(
    methods: Methods = "mean,w,w+",
    model: options.Model = options.DEFAULT_MODEL,
    pictures: Pictures = "portraits",
    count: Count = 32,
    judge: Annotated[str | None, typer.Option("--judge", metavar="NAME|FILE", help="A network that no objective uses.")] = None,
    edits: Annotated[
        str | None, typer.Option("--edits", metavar="LIST", help="Directions whose effect the judge measures: smile,age,glasses.")
    ] = None,
    perceptual: Perceptual = "auto",
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Also write the table here.")] = None,
    chart: Annotated[
        Path | None, typer.Option("--chart", metavar="FILE.svg", help="Distortion against editability, with --edits.")
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Compare ways to invert: fidelity, identity, editability, seconds, memory.

    \b
    Methods: mean; z, w, w+, s [:PRESET[:STEPS]]; encode:FILE; hybrid:FILE; pivotal[:FILE]; adam:RATE (a plain baseline in w+).
    Examples:
      invert evaluate inversions --methods mean,w,w+,encode:runs/e4e.safetensors,hybrid:runs/e4e.safetensors --judge portraits-judge
      invert evaluate inversions --methods mean,w+,encode,pivotal --judge portraits-judge --edits smile,age,glasses --chart out.svg
    """
    from dataclasses import asdict

    from invert.charts import tradeoff_chart
    from invert.cli.evaluate import write_csv
    from invert.comparison import compare_methods, markdown
    from invert.editability import edits_for
    from stylegan_core.errors import UsageError
    from stylegan_core.features import load_features
    from stylegan_core.files import atomic_write

    terminal = Terminal(quiet=quiet)
    if edits is not None and (judge is None or pictures != "portraits"):
        raise UsageError("--edits are measured on --pictures portraits, by a --judge")
    if chart is not None and edits is None:
        raise UsageError("--chart shows distortion against editability: name directions with --edits")
    generator, targets = prepared(terminal, model, pictures, count, device, threads)
    asked = None if edits is None else edits_for(generator, edits.split(","), count)
    network = None if judge is None else load_features(judge).to(targets.device)
    names = methods.split(",")
    with terminal.progress("evaluate", len(names)) as bar:

        def callback(row: InversionRow, done: int, total: int) -> None:
            bar.update(done, what=row.method, note=f"{row.psnr:.1f} dB")

        rows = compare_methods(names, generator, targets, perceptual=perceptual, judge=network, edits=asked, callback=callback)
    if chart is not None:
        with atomic_write(chart) as temporary:
            temporary.write_text(tradeoff_chart(rows), encoding="utf-8")
    values = [asdict(row) for row in rows]
    if csv is not None:
        write_csv(csv, values)
    terminal.json(values) if json else terminal.data(markdown(rows))


def race(
    methods: Methods = "hybrid,w+:stylegan2",
    baseline: Annotated[str, typer.Option("--baseline", metavar="METHOD", help="Whose final quality counts.")] = "w+:stylegan2",
    model: options.Model = options.DEFAULT_MODEL,
    pictures: Pictures = "portraits",
    count: Count = 64,
    perceptual: Perceptual = "auto",
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="Every point of every run.")] = None,
    chart: Annotated[
        Path | None, typer.Option("--chart", metavar="FILE.svg", help="PSNR over time; FILE-distance.svg is written beside it.")
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Quality over time, picture by picture, and when each method has what the baseline ends with.

    \b
    Examples:
      invert evaluate race --methods hybrid:runs/e4e.safetensors,w+:stylegan2,adam:0.01,adam:0.02,adam:0.05
    """
    from invert.charts import race_charts
    from invert.comparison import race as run
    from invert.comparison import shares_to_reach
    from invert.reports import jsonable
    from stylegan_core.errors import UsageError
    from stylegan_core.files import atomic_write, write_json

    terminal = Terminal(quiet=quiet)
    names = methods.split(",")
    if baseline not in names:
        raise UsageError(f"--baseline {baseline!r} is not among the methods {methods}")
    generator, targets = prepared(terminal, model, pictures, count, device, threads)
    with terminal.progress("race", count * len(names)) as bar:
        done = 0

        def callback(name: str, number: int) -> None:
            nonlocal done
            done += 1
            bar.update(done, what=name, note=f"picture {number + 1}")

        traces = run(names, generator, targets, perceptual=perceptual, callback=callback)
    rows = shares_to_reach(traces, baseline)
    if output is not None:
        write_json(output, {trace.method: trace.points for trace in traces})
    if chart is not None:
        for kind, text in race_charts(traces).items():
            with atomic_write(chart if kind == "psnr" else chart.with_stem(f"{chart.stem}-{kind}")) as temporary:
                temporary.write_text(text, encoding="utf-8")
    if json:
        terminal.json(jsonable(rows))
        return
    for row in rows:
        terminal.data(f"{row['method']}: {row['psnr']:.2f} dB, distance {row['distance']:.4f} after {row['seconds']:.2f} s; has the "
                      f"baseline's PSNR at {row['share_to_psnr']:.3f} of its time, its distance at {row['share_to_distance']:.3f}")


def prepared(terminal: Terminal, model: str, pictures: str, count: int, device: str, threads: int | None) -> tuple[Any, Any]:
    """(generator, targets [N, C, R, R])."""
    from invert.cli.loading import load_for
    from invert.evaluate import SUBJECTS, held_out_portraits, own_samples
    from stylegan_core.errors import UsageError
    from stylegan_core.runtime import resolve_device, set_threads

    if pictures not in SUBJECTS:
        raise UsageError(f"--pictures {pictures!r}: one of {', '.join(SUBJECTS)} is allowed")
    if count < 1:
        raise UsageError(f"--count {count}: a whole number from 1 is allowed")
    set_threads(threads)
    generator = load_for(terminal, model, resolve_device(device)).generator
    return generator, (own_samples if pictures == "samples" else held_out_portraits)(generator, count)[0]
