"""`invert data`: procedural pictures, and pictures packed for the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal

Count = Annotated[int, typer.Option("--count", metavar="N", help="How many.")]
Resolution = Annotated[int, typer.Option("--resolution", metavar="R", help="Side in pixels.")]
DataSeed = Annotated[int, typer.Option("--seed", metavar="S", help="Training uses 0, validation 1, tests 1000 and above.")]


def build_app() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(name="data", help="Make and pack pictures.", no_args_is_help=True)
    command(app, "portraits")(portraits)
    command(app, "scenes")(scenes)
    command(app, "pack")(pack)
    return app


def portraits(
    output: options.Output,
    count: Count = 1000,
    resolution: Resolution = 64,
    seed: DataSeed = 0,
    law: Annotated[str, typer.Option("--law", metavar="NAME", help="correlated or independent attributes.")] = "correlated",
    style: Annotated[str, typer.Option("--style", metavar="NAME", help="colour or ink.")] = "colour",
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Draw procedural portraits with known attributes: images/000000.png … and labels.csv.

    \b
    Examples:
      invert data portraits --count 50000 --resolution 64 -o portraits
      invert data portraits --count 100 --resolution 256 --seed 1000 --law independent -o test
      invert data portraits --count 500 --style ink -o ink
    """
    from stylegan_core.data.portraits import write_portraits

    terminal = Terminal(quiet=quiet)
    if dry_run:
        terminal.json({"output": str(output), "count": count, "resolution": resolution, "seed": seed, "law": law, "style": style})
        return
    with terminal.progress("portraits", count) as bar:
        write_portraits(
            output,
            count=count,
            resolution=resolution,
            seed=seed,
            law=law,
            style=style,
            callback=lambda done, _: bar.update(done),
        )
    terminal.say(f"{count} portraits in {output / 'images'}, attributes in {output / 'labels.csv'}")


def scenes(
    output: options.Output,
    count: Count = 1000,
    resolution: Resolution = 64,
    seed: DataSeed = 0,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Draw procedural houses in landscapes: images/000000.png …

    \b
    Examples:
      invert data scenes --count 1000 --resolution 64 -o scenes
    """
    from PIL import Image

    from stylegan_core.data.scenes import scene_u8
    from stylegan_core.errors import UsageError
    from stylegan_core.files import atomic_write

    terminal = Terminal(quiet=quiet)
    if count < 1:
        raise UsageError(f"--count {count}: a whole number from 1 is allowed")
    if dry_run:
        terminal.json({"output": str(output), "count": count, "resolution": resolution, "seed": seed})
        return
    with terminal.progress("scenes", count) as bar:
        for index in range(count):
            picture = Image.fromarray(scene_u8(seed, index, resolution))
            with atomic_write(output / "images" / f"{index:06d}.png") as temporary:
                picture.save(temporary, format="PNG")
            bar.update(index + 1)
    terminal.say(f"{count} scenes in {output / 'images'}")


def pack(
    source: Annotated[Path, typer.Argument(metavar="DIR|ZIP|LMDB", help="A folder with its sub-folders, a zip, an LSUN data base.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.zip", help="The zip to write.")],
    resolution: Annotated[
        str | None, typer.Option("--resolution", metavar="R|HxW", help="Side in pixels, or height x width. (default: the first picture's)")
    ] = None,
    fit: Annotated[str, typer.Option("--fit", metavar="MODE", help="crop, pad or stretch (Lanczos).")] = "crop",
    channels: Annotated[int, typer.Option("--channels", metavar="N", help="1 grey, 3 RGB, 4 with opacity.")] = 3,
    class_by_folder: Annotated[
        bool, typer.Option("--class-by-folder", help="The first sub-folder's name is the class: writes dataset.json.")
    ] = False,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="Leave out the source's own dataset.json.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", help="At most so many pictures. (default: all)")] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Pack pictures into one zip for the trainer; those that cannot be read are left out and named.

    \b
    Examples:
      invert data pack photos/ -o photos.zip --resolution 256
      invert data pack animals/ -o animals.zip --resolution 64 --class-by-folder
      invert data pack church_outdoor_train_lmdb/ -o churches.zip --resolution 256 --limit 10000
      invert data pack cars.zip -o cars512.zip --resolution 384x512
    """
    from stylegan_core.data.pack import pack_folder
    from stylegan_core.errors import UsageError
    from stylegan_core.image_reader import FIT_MODES

    terminal = Terminal(quiet=quiet)
    if fit not in FIT_MODES:
        raise UsageError(f"--fit {fit!r}: one of {', '.join(FIT_MODES)} is allowed")
    size = _size(resolution)
    if class_by_folder and not source.is_dir():
        raise UsageError(f"--class-by-folder: {source} is not a folder")
    labels = _classes(source) if class_by_folder else {} if no_labels else None
    with terminal.progress("pack", None) as bar:
        result = pack_folder(
            source,
            output,
            resolution=size,
            mode=fit,
            labels=labels,
            channels=channels,
            limit=limit,
            callback=lambda done, count: bar.update(done, total=count),
        )
    for _, reason in result.failures:
        terminal.fail(reason)
    height, width = result.size
    if json:
        failures = [{"picture": str(picture), "reason": reason} for picture, reason in result.failures]
        terminal.json({"output": str(output), "packed": result.num_packed, "height": height, "width": width, "enlarged": result.enlarged,
                       "classes": {str(number): count for number, count in result.classes.items()}, "failures": failures})  # fmt: skip
    if result.enlarged:
        terminal.warn(f"{result.enlarged} picture(s) were smaller than {width}×{height} and were enlarged")
    classes = f" in {len(result.classes)} classes" if result.classes else ""
    terminal.say(f"{result.num_packed} picture(s) of {width}×{height}{classes} in {output}, {len(result.failures)} failed")
    if result.failures:
        raise typer.Exit(1)


def _size(text: str | None) -> int | tuple[int, int] | None:
    """'256' → 256, '384x512' → (384, 512). Raises UsageError for anything else."""
    from stylegan_core.errors import UsageError

    if text is None:
        return None
    parts = text.lower().split("x")
    if not (1 <= len(parts) <= 2 and all(part.isascii() and part.isdecimal() and 4 <= int(part) <= 4096 for part in parts)):
        raise UsageError(f"--resolution {text!r}: 4 to 4096 is allowed, or HxW such as 384x512")
    return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))


def _classes(folder: Path) -> dict[str, int]:
    """Path inside the folder → index of its first sub-folder among the sorted ones."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    return {file.relative_to(folder).as_posix(): index for index, name in enumerate(names) for file in (folder / name).rglob("*")}
