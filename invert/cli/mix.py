"""`invert mix`: rows of one picture in another."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invert.cli import editing_options as editing
from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal

if TYPE_CHECKING:
    from invert.editing.setting import Setting
    from stylegan_core.inversion import Inversion


def register(app: typer.Typer) -> None:
    command(app, "mix")(mix)


def mix(
    pictures: Annotated[
        list[str], typer.Argument(metavar="BASE OTHER…", help="Inversions, photos or seed:NUMBER; the others lend rows to the first.")
    ],
    rows: Annotated[
        str, typer.Option("--rows", metavar="ROWS", help="coarse, middle, fine, rows such as 4-7, a crossover 'from 4', or each.")
    ] = "each",
    amount: Annotated[float, typer.Option("--amount", metavar="X", help="1 takes rows over, 0.5 goes half of the way.")] = 1.0,
    output: options.Output = Path("out"),
    model: options.Model = options.DEFAULT_MODEL,
    related: editing.Related = False,
    space: editing.Space = "w+",
    preset: editing.Preset = "fast",
    steps: editing.Steps = None,
    perceptual: editing.Perceptual = "auto",
    no_metadata: options.NoMetadata = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Mix styles: the coarse, middle or fine rows of other pictures in the first one.

    \b
    Examples:
      invert mix photo.png seed:3 --rows fine
      invert mix a.inversion.safetensors b.inversion.safetensors c.inversion.safetensors
      invert mix seed:1 seed:2 --rows "from 4" --amount 0.5

    The folder gets BASE.OTHER.ROWS.png and its inversion for every mixture, and BASE.mix.png, a sheet: the first row shows the
    others, the first column the base and one row per set of rows.
    """
    from invert.cli.loading import load_for
    from invert.editing.setting import Setting
    from stylegan_core.errors import UsageError
    from stylegan_core.runtime import resolve_device, set_threads

    terminal = Terminal(quiet=quiet)
    if len(pictures) < 2:
        raise UsageError("mixing takes a base and at least one other picture")
    stems = [stem_of_source(name) for name in pictures]
    double = [stem for stem in stems if stems.count(stem) > 1]
    if double:
        raise UsageError(f"two inputs are called {double[0]!r}; rename one")
    set_threads(threads)
    if dry_run:
        terminal.json({"base": pictures[0], "others": pictures[1:], "rows": rows, "amount": amount, "model": model, "output": str(output)})
        return
    loaded = load_for(terminal, model, resolve_device(device))
    setting = Setting(loaded, {"space": space, "preset": preset, "steps": steps, "perceptual": perceptual, "seed": seed}, related)
    sets = row_sets(rows, setting)
    with terminal.progress("mix", len(pictures)) as bar:
        inversions = []
        for name in pictures:
            inversions.append(setting.inversion(name))
            bar.update(len(inversions))
    records = _write(setting, pictures, stems, inversions, sets, amount, output, with_metadata=not no_metadata)
    terminal.say(f"{len(records)} mixture(s) and {stems[0]}.mix.png in {output}")
    if json:
        terminal.json(records)


def stem_of_source(name: str) -> str:
    """What files of this input are called: 'photo', or 'seed3' for seed:3."""
    from invert.inputs import stem_of

    return name.replace(":", "") if name.startswith("seed:") else stem_of(Path(name))


def row_sets(rows: str, setting: Setting) -> dict[str, Any]:
    """Name → rows: the ones asked for; 'each' is every range that this model has, or every row of one without ranges."""
    from invert.editing.layers import RANGES, parse_rows, rows_of_range
    from invert.editing.mixing import crossover
    from stylegan_core.errors import UsageError

    if rows != "each":
        parse_rows(crossover(rows, setting.generator), setting.generator)
        return {rows.replace(" ", "-").replace(",", "-"): rows}
    sets = {}
    for name in RANGES:
        try:
            sets[name] = rows_of_range(setting.generator, name)
        except UsageError:
            continue
    return sets or {f"row{row}": (row,) for row in range(setting.generator.num_ws)}


def _write(
    setting: Setting, pictures: list[str], stems: list[str], inversions: list[Inversion], sets: dict[str, Any], amount: float,
    folder: Path, *, with_metadata: bool,
) -> list[dict[str, Any]]:  # fmt: skip
    import torch

    from invert.editing.mixing import mix as mixed
    from invert.editing.sweep import sheet
    from invert.rendering import metadata_of
    from invert.reports import DONE, Report
    from stylegan_core.images import picture_proper, save_image
    from stylegan_core.provenance import version
    from stylegan_core.runtime import device_name

    generator = setting.generator

    def shown(inversion: Inversion) -> Any:
        return picture_proper(inversion.render(generator), generator).float().cpu()

    top = [shown(one[0]) for one in inversions]
    grid = [[torch.ones_like(top[0]), *top[1:]]]
    report = Report(folder, [])
    for label, rows in sets.items():
        line = [top[0]]
        for name, stem, other in zip(pictures[1:], stems[1:], inversions[1:]):
            started = time.monotonic()
            result = mixed(inversions[0], other, rows, generator=generator, amount=amount)
            base = f"{stems[0]}.{stem}.{label}"
            picture = shown(result)
            save_image(picture, folder / f"{base}.png", metadata=metadata_of(result) if with_metadata else None)
            result.save(folder / f"{base}.inversion.safetensors")
            line.append(picture)
            facts = {"input": pictures[0], "other": name, "rows": label, "amount": amount, "model": setting.model.name}
            facts |= {"model_sha256": setting.model.sha256, "output": f"{base}.png", "seconds": round(time.monotonic() - started, 3)}
            facts |= {"device": device_name(generator.w_avg.device), "version": version(), "status": DONE, "error": None}
            report.put(base, facts, write=False)
        grid.append(line)
    save_image(sheet(grid), folder / f"{stems[0]}.mix.png", metadata=metadata_of(result) if with_metadata else None)
    report.write()
    return report.records
