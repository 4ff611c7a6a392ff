"""`invert models`: what there is, what a file holds, whether it loaded right, fetching, converting."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal
from invert.cli.export import export
from invert.cli.loading import DownloadBar, load_for

ModelArgument = Annotated[str, typer.Argument(metavar="NAME|FILE", help="A short name or a checkpoint.")]


def build_app() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(name="models", help="List, examine, check, fetch and convert models.", no_args_is_help=True)
    command(app, "list")(list_models)
    command(app, "info")(info)
    command(app, "check")(check)
    command(app, "pull")(pull)
    command(app, "convert")(convert)
    command(app, "export")(export)
    return app


def list_models(json: options.Json = False, debug: options.Debug = False) -> None:
    """Models by short name: bundled, downloaded, to be downloaded.

    \b
    Examples:
      invert models list
      invert models list --json
    """
    from stylegan_core.checkpoints.catalog import cards

    terminal = Terminal()
    rows = [
        {
            "name": card.name,
            "kind": card.kind,
            "state": _state(card),
            "size": card.size,
            "licence": card.licence,
            "title": card.title,
        }
        for card in cards().values()
    ]
    if json:
        terminal.json(rows)
        return
    cells = [[row["name"], row["kind"], row["state"], row["title"], str(row["licence"]).partition(" (")[0]] for row in rows]
    terminal.table(["name", "kind", "state", "what", "licence"], cells)


def info(model: ModelArgument, json: options.Json = False, debug: options.Debug = False) -> None:
    """What a checkpoint holds: kind, sizes, configuration, where it comes from, hashes. Nothing in it is executed.

    \b
    Examples:
      invert models info portraits64
      invert models info network-snapshot.pkl --json
    """
    terminal = Terminal()
    facts = describe(model, terminal)
    if json:
        terminal.json(facts)
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            terminal.data(f"{key}:")
            for name, item in value.items():
                terminal.data(f"  {name}: {item}")
        else:
            terminal.data(f"{key}: {value}")


def check(
    model: ModelArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", "--outdir", metavar="DIR", help="Also write a sheet of samples here."),
    ] = None,
    device: options.Device = "auto",
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Say in plain words whether a checkpoint loaded right.

    \b
    Examples:
      invert models check ffhq.pkl
      invert models check stylegan2-cats.pt -o checked/
    """
    from invert.model_check import check_generator
    from stylegan_core.checkpoints.registry import load_discriminator
    from stylegan_core.errors import InvertError
    from stylegan_core.images import picture_proper, save_image
    from stylegan_core.runtime import resolve_device
    from stylegan_core.sheet import grid

    terminal = Terminal()
    place = resolve_device(device)
    loaded = load_for(terminal, model, place)
    try:
        discriminator = load_discriminator(model).to(place)
    except InvertError:
        discriminator = None  # most files have none
    result = check_generator(loaded.generator, discriminator)
    if output is not None and result.images.isfinite().all():
        path = output / f"{Path(model).stem}.samples.png"
        save_image(grid(picture_proper(result.images, loaded.generator)), path)
        terminal.say(f"samples: {path}")
    if json:
        findings = [vars(finding) for finding in result.findings]
        terminal.json({"model": model, "model_sha256": loaded.sha256, "is_good": result.is_good, "findings": findings})
    else:
        for finding in result.findings:
            terminal.data(f"{'ok ' if finding.is_good else 'BAD'}  {finding.name}: {finding.words}")
        terminal.data("It loaded right." if result.is_good else "It did not load right, or it was never trained.")
    if not result.is_good:
        raise typer.Exit(1)


def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Short names (`invert models list`).")],
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Fetch public weights into the cache; a download that was cut goes on.

    \b
    Examples:
      invert models pull ffhq
    """
    from stylegan_core.checkpoints import catalog

    terminal = Terminal(quiet=quiet)
    for name in names:
        card = catalog.card(name)
        if card.licence and not card.is_bundled:
            terminal.say(f"{name}: licence {card.licence}")
        with DownloadBar(terminal, name) as download:
            path = catalog.pull(name, progress=download)
        terminal.data(str(path))


def convert(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")],
    layout: Annotated[str, typer.Option("--to", metavar="LAYOUT", help="native, rosinality, nvlabs.")] = "native",
    half: Annotated[bool, typer.Option("--half", help="Native files: 16-bit weights, half the size.")] = False,
    content_box: Annotated[
        str | None,
        typer.Option("--content-box", metavar="L,T,R,B", help="Native files: the picture proper in a square with margins, in pixels."),
    ] = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Convert a checkpoint: NVIDIA pickle, rosinality .pt, native safetensors.

    \b
    Examples:
      invert models convert ffhq.pkl -o ffhq.safetensors
      invert models convert portraits64 --to rosinality -o portraits64.pt
      invert models convert stylegan2-car-config-f.pkl -o cars.safetensors --content-box 0,64,512,448
    """
    from stylegan_core.checkpoints import catalog
    from stylegan_core.checkpoints.convert import convert as convert_file

    terminal = Terminal(quiet=quiet)
    with DownloadBar(terminal, model) as download:
        source = catalog.find(model, progress=download)
    import torch

    box = None if content_box is None else parse_box(content_box)
    written = convert_file(source, output, layout, dtype=torch.float16 if half else torch.float32, content_box=box)
    for path in written:
        terminal.data(str(path))


def parse_box(text: str) -> tuple[int, int, int, int]:
    """'0,64,512,448' → (left, top, right, bottom). Raises UsageError."""
    from stylegan_core.errors import UsageError

    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"--content-box {text!r}: four whole numbers left,top,right,bottom are needed, such as 0,64,512,448")
    left, top, right, bottom = (int(part) for part in parts)
    return left, top, right, bottom


def describe(model: str, terminal: Terminal) -> dict[str, Any]:
    """JSON-ready facts of a checkpoint."""
    from stylegan_core.checkpoints import catalog
    from stylegan_core.checkpoints.registry import read_checkpoint
    from stylegan_core.networks.configs import config_to_dict
    from stylegan_core.provenance import model_sha256

    with DownloadBar(terminal, model) as download:
        path = catalog.find(model, kind=_kind_of(model), progress=download)
    checkpoint = read_checkpoint(path)
    facts: dict[str, Any] = {
        "file": str(path),
        "kind": checkpoint.kind,
        "parameters": sum(value.numel() for value in checkpoint.state.values()),
        "model_sha256": model_sha256(checkpoint.state),
        "config": config_to_dict(checkpoint.config),
        "provenance": checkpoint.provenance,
    }
    card = catalog.cards().get(model)
    if card is not None:
        facts["card"] = {"title": card.title, "licence": card.licence, "perceptual": card.perceptual, **card.facts}
    return facts


def _kind_of(model: str) -> str:
    from stylegan_core.checkpoints import catalog

    card = catalog.cards().get(model)
    return "generator" if card is None else card.kind


def _state(card: Any) -> str:
    if card.is_bundled:
        return "bundled" if card.is_present() else "missing"
    return "downloaded" if card.is_present() else "to download"
