"""`invert tune`: changes of the generator's weights that bring a picture nearer, by pivotal tuning or HyperStyle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal

HOW = "How to tune"
PICTURE = "How to read the picture"


def register(app: typer.Typer) -> None:
    command(app, "tune")(tune)


def tune(
    inputs: Annotated[list[str], typer.Argument(metavar="INVERSION|IMAGE", help="Inversions, whose latents stay; pictures; folders.")],
    output: options.Output = Path("tuned"),
    method_name: Annotated[str, typer.Option("--method", metavar="NAME", help="pivotal or hyperstyle.", rich_help_panel=HOW)] = "pivotal",
    model: Annotated[
        str | None,
        typer.Option("--model", "--network", metavar="NAME|FILE", help="The generator (default: the inversions')."),
    ] = None,
    pictures: Annotated[
        str | None, typer.Option("--pictures", metavar="DIR|FILE", help="Where the inversions' pictures are (default: beside them).")
    ] = None,
    pivot: Annotated[
        str, typer.Option("--pivot", metavar="NAME", help="Of a picture: auto, encoder, project.", rich_help_panel=HOW)
    ] = "auto",
    encoder: Annotated[
        str, typer.Option("--encoder", "-e", metavar="NAME|FILE", help="The HyperStyle, or for the pivot.", rich_help_panel=HOW)
    ] = "auto",
    w_encoder: Annotated[
        str | None, typer.Option("--w-encoder", metavar="FILE", help="Of a HyperStyle published apart from it.", rich_help_panel=HOW)
    ] = None,
    passes: Annotated[int | None, typer.Option("--passes", metavar="N", help="Of HyperStyle.", rich_help_panel=HOW)] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", "--num-steps", metavar="N", help="Of pivotal tuning (default: 350).", rich_help_panel=HOW)
    ] = None,
    lr: Annotated[
        float | None, typer.Option("--lr", metavar="X", help="Rate (default: 0.003 below 256 px, else 0.0003).", rich_help_panel=HOW)
    ] = None,
    locality: Annotated[
        float | None,
        typer.Option("--locality", metavar="X", help="Holds pictures near by as they were; 0 = off (default: 0.1).", rich_help_panel=HOW),
    ] = None,
    stop_below: Annotated[
        float, typer.Option("--stop-below", metavar="X", help="Stop at this perceptual distance; 0 = never.", rich_help_panel=HOW)
    ] = 0.0,
    pack: Annotated[
        str, typer.Option("--pack", metavar="NAME", help="int8, low-rank:N or none: what the change is stored as.", rich_help_panel=HOW)
    ] = "int8",
    together: Annotated[bool, typer.Option("--together", help="One change of the weights for all inputs.", rich_help_panel=HOW)] = False,
    perceptual: Annotated[
        str, typer.Option("--perceptual", metavar="NAME", help="auto, vgg, alex, squeeze, features, none.", rich_help_panel=HOW)
    ] = "auto",
    fit: Annotated[
        str, typer.Option("--fit", metavar="MODE", help="crop, pad or stretch to the model's shape.", rich_help_panel=PICTURE)
    ] = "crop",
    mask: Annotated[
        str | None, typer.Option("--mask", metavar="FILE|DIR", help="Match only where this picture is white.", rich_help_panel=PICTURE)
    ] = None,
    background: Annotated[
        str, typer.Option("--background", metavar="COLOUR", help="Under transparent pixels.", rich_help_panel=PICTURE)
    ] = "white",
    no_metadata: options.NoMetadata = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Change the generator's weights a little, so that it makes these pictures; the latents stay where they are editable.

    \b
    Examples:
      invert tune out/photo.inversion.safetensors
      invert tune photo.jpg                             # encoded or projected into W first
      invert tune out/ --together --steps 700           # one generator for all
      invert tune photo.jpg --method hyperstyle --encoder hyperstyle_ffhq.pt --w-encoder faces_w_encoder.pt

    The change is stored in the inversion, a few MB at most; the files are those of `invert project`.
    """
    from invert.cli.jobs import plan_of, run_jobs
    from invert.cli.loading import load_encoder_for, load_for
    from invert.folder import Execution
    from invert.inputs import collect_inputs, is_inversion_file, is_picture_file
    from invert.jobs import plan_outputs
    from invert.tuning import TuneOptions
    from stylegan_core.provenance import file_sha256
    from stylegan_core.runtime import resolve_device, set_threads

    terminal = Terminal(quiet=quiet)
    paths = collect_inputs(inputs, wanted=is_inversion_file).paths if _holds_inversions(inputs) else \
        collect_inputs(inputs, wanted=is_picture_file).paths
    outputs = plan_outputs(paths, output, None)
    joined = tuple(file_sha256(path) for path in paths if path.is_file()) if together else ()
    chosen = TuneOptions(
        method_name=method_name, pivot=pivot, pictures=pictures, together=joined, steps=steps, lr=lr, locality=locality,
        stop_below=stop_below, pack=pack,
        encoder=encoder, w_encoder=w_encoder, passes=passes, perceptual=perceptual, seed=seed, fit=fit, background=background,
        mask=mask,
    ).validate()  # fmt: skip
    place = resolve_device(device)
    if dry_run:
        terminal.json(plan_of(chosen, outputs, model=model, devices=[str(place)], output=str(output)))
        return
    execution = Execution((str(place),), len(paths) if together else None, threads, set_threads(None), with_metadata=not no_metadata)
    name = model or _model_of(paths)
    loaded = load_for(terminal, name, place) if name or encoder == "auto" else load_encoder_for(terminal, None, encoder, None, place)
    run_jobs(terminal, "tune", outputs, loaded, chosen, execution, output, json=json)


def _holds_inversions(inputs: list[str]) -> bool:
    """Whether folders among the inputs hold inversions, which then are meant."""
    folders = [Path(text) for text in inputs if Path(text).is_dir()]
    return any(path.name.endswith(".inversion.safetensors") for folder in folders for path in folder.iterdir())


def _model_of(paths: list[Path]) -> str:
    """The model that the first inversion names, else the bundled one. Raises UsageError when inversions are of several."""
    from invert.inputs import is_inversion_file
    from invert.rendering import model_named_in
    from stylegan_core.errors import UsageError

    names = {model_named_in(path) for path in paths if is_inversion_file(path) and path.is_file()} - {None}
    if len(names) > 1:
        raise UsageError(f"the inversions were made with {len(names)} models; tune those of one at a time, or give --model")
    return next((name for name in names if name), options.DEFAULT_MODEL)
