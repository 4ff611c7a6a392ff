"""`invert generate`: seeds → pictures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal

if TYPE_CHECKING:
    from invert.sampling import Sampler

NOISE_MODES = ("const", "random", "none")


def register(app: typer.Typer) -> None:
    command(app, "generate")(generate)


def generate(
    seeds: Annotated[str, typer.Option("--seeds", metavar="LIST", help="For example 0,1,4-6.")] = "0-7",
    output: options.Output = Path("out"),
    model: options.Model = options.DEFAULT_MODEL,
    psi: options.Psi = 1.0,
    cutoff: options.Cutoff = None,
    class_: Annotated[int | None, typer.Option("--class", metavar="N", help="Class of a conditional model.")] = None,
    noise_mode: Annotated[str, typer.Option("--noise-mode", metavar="MODE", help="const, random, none.")] = "const",
    translate: Annotated[
        str | None, typer.Option("--translate", metavar="X,Y", help="StyleGAN3: move right and down by these shares of the width.")
    ] = None,
    rotate: Annotated[float, typer.Option("--rotate", metavar="DEGREES", help="StyleGAN3: turn counter-clockwise.")] = 0.0,
    grid: Annotated[bool, typer.Option("--grid", help="Also one sheet of all: grid.png.")] = False,
    columns: Annotated[int | None, typer.Option("--columns", metavar="N", help="Columns of the sheet.")] = None,
    noise_layers: Annotated[bool, typer.Option("--noise-layers", help="A sheet per seed of what the noise inputs do.")] = False,
    no_metadata: options.NoMetadata = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Generate pictures from seeds.

    \b
    Examples:
      invert generate --seeds 0-7 --psi 0.7 --grid
      invert generate --network ffhq.pkl --seeds 85,265 --trunc 0.5 --outdir samples
      invert generate --model cifar10 --class 3 --seeds 0-31
      invert generate --seeds 3 --noise-layers
      invert generate --network stylegan3-r-ffhqu-256x256.pkl --seeds 2 --rotate 30 --translate 0.1,0
    """
    from stylegan_core.errors import UsageError
    from stylegan_core.seeds import parse_seeds

    terminal = Terminal(quiet=quiet)
    numbers = parse_seeds(seeds)
    if noise_mode not in NOISE_MODES:
        raise UsageError(f"--noise-mode {noise_mode!r}: one of {', '.join(NOISE_MODES)} is allowed")
    if columns is not None and columns < 1:
        raise UsageError(f"--columns {columns}: a whole number from 1 is allowed")
    pose = parse_pose(translate, rotate)
    if dry_run:
        files = [str(output / _name(seed)) for seed in numbers]
        terminal.json({"model": model, "seeds": numbers, "psi": psi, "cutoff": cutoff, "class": class_,
                       "noise_mode": noise_mode, "pose": pose, "device": device, "outputs": files})  # fmt: skip
        return
    from invert.cli.loading import load_for
    from invert.loaded import class_label
    from invert.sampling import Sampler
    from stylegan_core.runtime import resolve_device, set_threads

    set_threads(threads)
    loaded = load_for(terminal, model, resolve_device(device))
    class_label(loaded.generator, class_)
    if pose is not None:
        move_input(loaded.generator, pose)
    sampler = Sampler(loaded, psi, cutoff, class_, noise_mode, pose)
    records = _write_pictures(sampler, numbers, output, terminal, with_metadata=not no_metadata, columns=columns if grid else 0)
    if noise_layers:
        _write_noise_sheets(sampler, numbers, output, terminal)
    if json:
        terminal.json(records)


def parse_pose(translate: str | None, rotate: float) -> tuple[float, float, float] | None:
    """(degrees, right, down), or None when nothing is moved. Raises UsageError."""
    from stylegan_core.errors import UsageError

    if translate is None:
        return (rotate, 0.0, 0.0) if rotate else None
    try:
        right, down = (float(part) for part in translate.split(","))
    except ValueError:
        raise UsageError(f"--translate {translate!r}: two numbers are needed, for example 0.1,-0.05") from None
    return rotate, right, down


def move_input(generator: Any, pose: tuple[float, float, float]) -> None:
    """Moves the input of a StyleGAN3 that was loaded for this command. Raises UsageError for others."""
    from stylegan_core.errors import UsageError
    from stylegan_core.input_transform import has_input_transform, pose_of, set_pose

    if not has_input_transform(generator):
        raise UsageError("--translate and --rotate move the input of a StyleGAN3; this model is none")
    set_pose(generator, pose_of(pose[0], pose[1:]))


def _write_pictures(
    sampler: Sampler, seeds: list[int], folder: Path, terminal: Terminal, *, with_metadata: bool, columns: int | None
) -> list[dict[str, Any]]:
    """One file per seed, grid.png unless columns is 0 (None = as square as can be), report.json."""
    import torch

    from invert.rendering import picture_metadata
    from invert.reports import DONE, Report
    from stylegan_core.images import save_image
    from stylegan_core.provenance import version
    from stylegan_core.runtime import device_name
    from stylegan_core.sheet import grid

    report = Report(folder, [str(seed) for seed in seeds])
    images = []
    with terminal.progress("generate", len(seeds)) as bar:
        for done, seed in enumerate(seeds, start=1):
            started = time.monotonic()
            image = sampler.image(seed)
            facts = {**sampler.facts(seed), "version": version()}
            shown = {**facts, "model": Path(facts["model"]).name}
            save_image(image, folder / _name(seed), metadata=picture_metadata(shown) if with_metadata else None)
            record = {
                "input": f"seed {seed}",
                **facts,
                "output": _name(seed),
                "device": device_name(sampler.generator.w_avg.device),
            }
            record |= {"seconds": round(time.monotonic() - started, 4), "status": DONE, "error": None}
            report.put(str(seed), record, write=False)
            if columns != 0:
                images.append(image)
            bar.update(done)
    if images:
        facts = {key: value for key, value in sampler.facts(0).items() if key != "seed"}
        facts |= {"model": Path(facts["model"]).name, "seeds": seeds, "version": version()}
        sheet = grid(torch.cat(images), columns=columns)
        save_image(sheet, folder / "grid.png", metadata=picture_metadata(facts) if with_metadata else None)
    report.write()
    terminal.say(f"{len(seeds)} picture(s) in {folder}")
    return report.records


def _write_noise_sheets(sampler: Sampler, seeds: list[int], folder: Path, terminal: Terminal) -> None:
    from invert.noise_sheet import COLUMNS, noise_sheet
    from stylegan_core.images import save_image

    for seed in seeds:
        sheet = noise_sheet(sampler.generator, sampler.ws(seed), seed=seed)
        path = folder / f"seed{seed:04d}.noise.png"
        save_image(sheet.picture, path)
        terminal.say(f"{path}: columns: {', '.join(COLUMNS)} (white: {sheet.brightest:.1f} grey levels or more)")
        for row, spread in sheet.spread.items():
            terminal.say(f"  row {row}: noise moves pixels by {spread:.2f} grey levels on average")


def _name(seed: int) -> str:
    return f"seed{seed:04d}.png"
