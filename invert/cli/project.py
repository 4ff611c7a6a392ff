"""`invert project`: pictures → inversions, by optimisation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal

HOW = "How to project"
PICTURE = "How to read the picture"


def register(app: typer.Typer) -> None:
    command(app, "project")(project)


def project(
    pictures: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Pictures, folders, globs.")],
    output: options.Output = Path("out"),
    model: options.Model = options.DEFAULT_MODEL,
    space: Annotated[str, typer.Option("--space", metavar="z|w|w+|s", help="Where to look for the picture.", rich_help_panel=HOW)] = "w+",
    preset: Annotated[
        str,
        typer.Option("--preset", metavar="NAME", help="fast, hybrid, careful, in-domain, stylegan2, …", rich_help_panel=HOW),
    ] = "fast",
    steps: Annotated[
        int | None,
        typer.Option("--steps", "--num-steps", metavar="N", help="How many (default: the preset's).", rich_help_panel=HOW),
    ] = None,
    perceptual: Annotated[
        str,
        typer.Option("--perceptual", metavar="NAME", help="auto, vgg, alex, squeeze, features, none.", rich_help_panel=HOW),
    ] = "auto",
    start: Annotated[
        str,
        typer.Option("--start", metavar="NAME|FILE", help="auto, mean, nearest, seed, encoder, or an inversion.", rich_help_panel=HOW),
    ] = "auto",
    encoder: Annotated[
        str, typer.Option("--encoder", metavar="NAME|FILE", help="To start from (default: that of the model's card).", rich_help_panel=HOW)
    ] = "auto",
    restarts: Annotated[
        int | None,
        typer.Option("--restarts", metavar="N", help="Try from N starts, keep the best.", rich_help_panel=HOW),
    ] = None,
    class_: Annotated[
        str | None,
        typer.Option("--class", metavar="N|search", help="Class of a conditional model.", rich_help_panel=HOW),
    ] = None,
    transform: Annotated[
        bool,
        typer.Option("--transform", help="StyleGAN3: also find rotation and motion of its input.", rich_help_panel=HOW),
    ] = False,
    fit: Annotated[
        str,
        typer.Option("--fit", metavar="MODE", help="crop, pad or stretch to the model's shape.", rich_help_panel=PICTURE),
    ] = "crop",
    mask: Annotated[
        str | None,
        typer.Option("--mask", metavar="FILE|DIR", help="Match only where this picture is white.", rich_help_panel=PICTURE),
    ] = None,
    background: Annotated[
        str, typer.Option("--background", metavar="COLOUR", help="Under transparent pixels.", rich_help_panel=PICTURE)
    ] = "white",
    max_megapixels: Annotated[
        float, typer.Option("--max-megapixels", metavar="MP", help="Refuse larger pictures.", rich_help_panel=PICTURE)
    ] = 64.0,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Look into sub-folders too.", rich_help_panel=PICTURE)] = False,
    video: Annotated[
        Path | None,
        typer.Option("--video", "--save-video", metavar="FILE", help="Show the optimisation: .gif, .webp, .mp4."),
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", help="Pictures optimised together. (default: by size)")] = None,
    devices: Annotated[str | None, typer.Option("--devices", metavar="LIST", help="Share the pictures out over 0,1 or cpu,cpu.")] = None,
    no_metadata: options.NoMetadata = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Find pictures in the latent space of a generator.

    \b
    Examples:
      invert project photo.jpg
      invert project photos/ -o out --space w --steps 200
      invert project face.png --model ffhq --preset stylegan2 --video walk.gif
      invert project cat.png --model cifar10.pkl --class search

    For photo.jpg the folder gets photo.inversion.safetensors (latent and noise), photo.png (the render),
    photo.compare.png (target, render, difference), and report.json. A command that was stopped goes on where it was.
    """
    from invert.cli.jobs import plan_of, run_jobs
    from invert.cli.loading import load_for
    from invert.folder import Execution
    from invert.inputs import collect_inputs, is_picture_file
    from invert.jobs import ProjectOptions, parse_class, plan_outputs
    from invert.video import check_video
    from stylegan_core.runtime import parse_devices, resolve_device, set_threads

    terminal = Terminal(quiet=quiet)
    chosen = ProjectOptions(
        space=space, preset=preset, steps=steps, seed=seed, perceptual=perceptual, start=start, restarts=restarts,
        class_index=parse_class(class_), transform=transform, fit=fit, background=background, mask=mask,
        max_pixels=round(max_megapixels * 1e6), encoder=encoder,
    ).validate()  # fmt: skip
    if video is not None:
        check_video(video)
    inputs = collect_inputs(pictures, wanted=is_picture_file, recursive=recursive)
    outputs = plan_outputs(inputs.paths, output, video)
    if inputs.ignored:
        names = ", ".join(path.name for path in inputs.ignored[:3])
        more = ", …" if len(inputs.ignored) > 3 else ""
        terminal.say(f"left out {len(inputs.ignored)} file(s) that are no pictures: {names}{more}")
    places = parse_devices(devices) if devices is not None else [str(resolve_device(device))]
    if dry_run:
        terminal.json(plan_of(chosen, outputs, model=model, devices=places, output=str(output), batch=batch))
        return
    execution = Execution(tuple(places), batch, threads, set_threads(None), with_metadata=not no_metadata)
    loaded = load_for(terminal, model, places[0] if len(places) == 1 else "cpu")
    run_jobs(terminal, "project", outputs, loaded, chosen, execution, output, json=json)
