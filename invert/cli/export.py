"""`invert models export`: a generator for other code and other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from invert.cli import options
from invert.cli.console import Terminal
from invert.cli.loading import DownloadBar


def export(
    model: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A short name or a checkpoint.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")],
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME", help="native, rosinality, nvlabs, onnx, torchscript, torch-export. (default: by suffix)"),
    ] = None,
    part: Annotated[str, typer.Option("--part", metavar="NAME", help="Of a graph: full (z to images), mapping, synthesis.")] = "full",
    psi: options.Psi = 1.0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write a model as ONNX, TorchScript or torch.export graph, compared with the network; or as a checkpoint of other code.

    \b
    Examples:
      invert models export portraits64 -o portraits64.onnx --psi 0.7
      invert models export ffhq.pkl -o synthesis.pt2 --part synthesis
      invert models export portraits64 -o portraits64.pt --format rosinality
    """
    from stylegan_core.checkpoints import catalog
    from stylegan_core.checkpoints.export import FORMATS, GRAPHS, PARTS, format_of
    from stylegan_core.errors import UsageError

    terminal = Terminal(quiet=quiet)
    chosen = format or format_of(output)
    if chosen not in FORMATS:
        raise UsageError(f"--format {chosen!r}: one of {', '.join(FORMATS)} is allowed")
    if part not in PARTS:
        raise UsageError(f"--part {part!r}: one of {', '.join(PARTS)} is allowed")
    if chosen not in GRAPHS:
        if part != "full" or psi != 1.0:
            raise UsageError(f"--part and --psi are of graphs; a {chosen} file holds the whole network")
        from stylegan_core.checkpoints.convert import convert

        with DownloadBar(terminal, model) as download:
            source = catalog.find(model, progress=download)
        records: list[dict[str, object]] = [{"file": str(path), "format": chosen} for path in convert(source, output, chosen)]
    else:
        records = [_graph(terminal, model, output, chosen, part, psi)]
    if json:
        terminal.json(records)
    else:
        for record in records:
            terminal.data(str(record["file"]))


def _graph(terminal: Terminal, model: str, output: Path, format: str, part: str, psi: float) -> dict[str, object]:
    from invert.cli.loading import load_for
    from stylegan_core.checkpoints.export import export as write

    loaded = load_for(terminal, model)
    result = write(loaded.generator, output, format, part=part, truncation_psi=psi)
    if result.largest_error is None:
        terminal.warn("onnxruntime is not installed, so the file was not compared with the network (extra 'onnx')")
    else:
        terminal.say(f"compared with the network: largest difference {result.largest_error:.1e} of the range")
    return {"file": str(output), "format": format, "part": part, "truncation_psi": psi, "largest_error": result.largest_error}
