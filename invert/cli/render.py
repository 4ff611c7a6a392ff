"""`invert render`: saved inversions → the same pixels again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal


def register(app: typer.Typer) -> None:
    command(app, "render")(render)


def render(
    inversions: Annotated[list[Path], typer.Argument(metavar="INVERSION", help="Files of `invert project`, or folders of them.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", "--outdir", metavar="FILE|DIR", help="A picture for one inversion, else a folder."),
    ] = Path("rendered"),
    model: Annotated[
        str | None,
        typer.Option("--model", "--network", metavar="NAME|FILE", help="The generator (default: the one that the file names)."),
    ] = None,
    paste: Annotated[
        Path | None,
        typer.Option("--paste", metavar="PHOTO", help="Put the render back into the photo that it was cut from."),
    ] = None,
    sibling: Annotated[
        bool, typer.Option("--sibling", help="--model is a relative (a fine-tuned child): latents and weight changes suit it too.")
    ] = False,
    device: options.Device = "auto",
    no_metadata: options.NoMetadata = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Render saved inversions: the same pixels again.

    \b
    Examples:
      invert render out/photo.inversion.safetensors -o again.png
      invert render out/ -o rendered/
      invert render out/photo.inversion.safetensors --paste photo.jpg -o photo_inverted.png
    """
    from invert.inputs import check_outputs, collect_inputs, is_inversion_file, stem_of
    from stylegan_core.errors import UsageError
    from stylegan_core.files import display

    terminal = Terminal(quiet=quiet)
    paths = collect_inputs(inversions, wanted=is_inversion_file).paths
    is_file = output.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp") and not output.is_dir()
    if is_file and len(paths) > 1:
        raise UsageError(f"-o {output} is one picture, but there are {len(paths)} inversions; give a folder")
    if paste is not None and len(paths) > 1:
        raise UsageError(f"--paste takes one inversion, not {len(paths)}")
    targets = [output if is_file else output / f"{stem_of(path)}.png" for path in paths]
    check_outputs([(path, [target]) for path, target in zip(paths, targets)])
    if paste is not None:
        check_outputs([(paste, targets)])
    if dry_run:
        for path, target in zip(paths, targets):
            terminal.data(f"{display(path)} → {display(target)}")
        return
    records = _render_all(paths, targets, model, device, paste, terminal, with_metadata=not no_metadata, is_sibling=sibling)
    if not is_file:
        from invert.reports import Report

        report = Report(output, [str(path) for path in paths])
        for record in records:
            report.put(record["input"], record, write=False)
        report.write()
    if json:
        terminal.json(records)
    if any(record["status"] == "failed" for record in records):
        raise typer.Exit(1)


def _render_all(
    paths: list[Path],
    targets: list[Path],
    model: str | None,
    device: str,
    paste: Path | None,
    terminal: Terminal,
    *,
    with_metadata: bool,
    is_sibling: bool,
) -> list[dict[str, Any]]:
    from invert.cli.loading import load_for
    from invert.loaded import LoadedModel
    from invert.rendering import metadata_of, model_named_in, render_file
    from stylegan_core import images
    from stylegan_core.errors import InversionError, InvertError
    from stylegan_core.provenance import file_sha256, version
    from stylegan_core.runtime import device_name, resolve_device

    place = resolve_device(device)
    loaded: dict[str, LoadedModel] = {}
    records: list[dict[str, Any]] = []
    with terminal.progress("render", len(paths)) as bar:
        for path, target in zip(paths, targets):
            started = time.monotonic()
            record: dict[str, Any] = {
                "input": str(path),
                "output": str(target),
                "device": device_name(place),
                "version": version(),
            }
            try:
                name = model or model_named_in(path)
                if name is None:
                    raise InversionError(f"{path} does not say which model made it; give one with --model")
                if name not in loaded:
                    loaded[name] = load_for(terminal, name, place)
                image, inversion = render_file(path, loaded[name], is_sibling=is_sibling)
                if paste is not None:
                    image = images.paste(image, images.load_image(paste), inversion.geometry)
                else:
                    image = images.picture_proper(image, loaded[name].generator)
                images.save_image(image, target, metadata=metadata_of(inversion) if with_metadata else None)
                record |= {"input_sha256": file_sha256(path), "model": name, "model_sha256": loaded[name].sha256}
                record |= {"seconds": round(time.monotonic() - started, 3), "status": "done", "error": None}
                terminal.say(f"{path} → {target}")
            except InvertError as error:
                record |= {"status": "failed", "error": str(error)}
                terminal.fail(error)
            records.append(record)
            bar.update(len(records))
    return records
