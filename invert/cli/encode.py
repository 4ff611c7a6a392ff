"""`invert encode`: pictures → inversions, by an encoder in a few passes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal

if TYPE_CHECKING:
    from invert.jobs import Outputs
    from invert.loaded import LoadedModel

PICTURE = "How to read the picture"


def register(app: typer.Typer) -> None:
    command(app, "encode")(encode)


def encode(
    pictures: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Pictures, folders, globs.")],
    output: options.Output = Path("out"),
    encoder: Annotated[
        str, typer.Option("--encoder", "-e", metavar="NAME|FILE", help="Ours or a published one: pSp, e4e, ReStyle, HyperStyle.")
    ] = "auto",
    model: Annotated[
        str | None, typer.Option("--model", "--network", metavar="NAME|FILE", help="The generator (default: the encoder's own).")
    ] = None,
    passes: Annotated[int | None, typer.Option("--passes", metavar="N", help="Of ReStyle and HyperStyle (default: its own).")] = None,
    w_encoder: Annotated[
        str | None, typer.Option("--w-encoder", metavar="FILE", help="Of a HyperStyle that is published apart from it.")
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", metavar="psp|e4e", help="Of a published file that does not say.")
    ] = None,
    num_variants: Annotated[
        int, typer.Option("--variants", metavar="N", help="Also N pictures with the fine rows of samples: other answers.")
    ] = 0,
    perceptual: Annotated[
        str, typer.Option("--perceptual", metavar="NAME", help="For the report: auto, vgg, alex, squeeze, features, none.")
    ] = "auto",
    fit: Annotated[
        str, typer.Option("--fit", metavar="MODE", help="crop, pad or stretch to the model's shape.", rich_help_panel=PICTURE)
    ] = "crop",
    background: Annotated[
        str, typer.Option("--background", metavar="COLOUR", help="Under transparent pixels.", rich_help_panel=PICTURE)
    ] = "white",
    max_megapixels: Annotated[
        float, typer.Option("--max-megapixels", metavar="MP", help="Refuse larger pictures.", rich_help_panel=PICTURE)
    ] = 64.0,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Look into sub-folders too.", rich_help_panel=PICTURE)] = False,
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", help="Pictures at a time. (default: by size)")] = None,
    no_metadata: options.NoMetadata = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Invert pictures by a network, in one pass or a few.

    \b
    Examples:
      invert encode photo.jpg
      invert encode photos/ -o out --encoder e4e_ffhq_encode.pt
      invert encode face.png --encoder restyle_psp_ffhq.pt --passes 10

    `invert project photo.jpg --start encoder` goes on by optimisation.
    The files are those of `invert project`: photo.inversion.safetensors, photo.png, photo.compare.png, report.json.
    """
    from invert.cli.jobs import plan_of, run_jobs
    from invert.cli.loading import load_encoder_for
    from invert.encoding import EncodeOptions
    from invert.folder import Execution
    from invert.inputs import collect_inputs, is_picture_file
    from invert.jobs import plan_outputs
    from stylegan_core.runtime import resolve_device, set_threads

    terminal = Terminal(quiet=quiet)
    chosen = EncodeOptions(
        encoder=encoder, w_encoder=w_encoder, method=method, passes=passes, perceptual=perceptual, fit=fit, background=background,
        max_pixels=round(max_megapixels * 1e6),
    ).validate()  # fmt: skip
    inputs = collect_inputs(pictures, wanted=is_picture_file, recursive=recursive)
    outputs = plan_outputs(inputs.paths, output, None)
    place = resolve_device(device)
    if dry_run:
        terminal.json(plan_of(chosen, outputs, model=model, devices=[str(place)], output=str(output), batch=batch))
        return
    execution = Execution((str(place),), batch, threads, set_threads(None), with_metadata=not no_metadata)
    loaded = load_encoder_for(terminal, model, encoder, method, place)
    then = partial(write_variants, outputs, loaded, num_variants) if num_variants else None
    run_jobs(terminal, "encode", outputs, loaded, chosen, execution, output, json=json, then=then)


def write_variants(outputs: dict[Path, Outputs], loaded: LoadedModel, count: int) -> None:
    """photo.variant1.png, … beside each inversion that is there (pSp Sec. 5.2)."""
    from encoders.style_mixing import variants
    from stylegan_core import images
    from stylegan_core.inversion import Inversion

    for files in outputs.values():
        if not files.inversion.exists():
            continue
        found = variants(Inversion.load(files.inversion), loaded.generator, range(1, count + 1))
        for number, picture in enumerate(found.render(loaded.generator).split(1), start=1):
            path = files.render.with_name(f"{files.render.stem}.variant{number}.png")
            images.save_image(images.picture_proper(picture.cpu(), loaded.generator), path)
