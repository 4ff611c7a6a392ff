"""`invert blend`: two related models in one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal


def register(app: typer.Typer) -> None:
    command(app, "blend")(blend)


def blend(
    first: Annotated[str, typer.Argument(metavar="MODEL", help="A short name or a checkpoint; the mapping is its own.")],
    second: Annotated[str, typer.Argument(metavar="OTHER", help="A related one, such as its fine-tuned child.")],
    amount: Annotated[float | None, typer.Option("--amount", metavar="X", help="Weights this far from the first to the second.")] = None,
    swap: Annotated[int | None, typer.Option("--swap", metavar="PX", help="Layers above this resolution from the second.")] = None,
    width: Annotated[float, typer.Option("--width", metavar="OCTAVES", help="Of the change around --swap; 0 = at once.")] = 0.0,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The new model.")] = Path("blended.safetensors"),
    sheet: Annotated[Path | None, typer.Option("--sheet", metavar="FILE", help="Also a picture: first, blends, second.")] = None,
    seeds: Annotated[str, typer.Option("--seeds", metavar="LIST", help="Of the sheet.")] = "0-5",
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Blend two related generators: weights in between (--amount), or the layers of one in the other (--swap).

    \b
    Examples:
      invert blend portraits64 child.safetensors --amount 0.5 -o half.safetensors
      invert blend portraits64 child.safetensors --swap 16 -o mixed.safetensors --sheet swap.png
    """
    from stylegan_core.errors import UsageError
    from stylegan_core.runtime import resolve_device, set_threads
    from stylegan_core.seeds import parse_seeds

    terminal = Terminal(quiet=quiet)
    if (amount is None) == (swap is None):
        raise UsageError("give --amount or --swap, one of the two")
    if output.suffix.lower() != ".safetensors":
        raise UsageError(f"-o {output}: models are written as .safetensors")
    numbers = parse_seeds(seeds)
    set_threads(threads)
    if dry_run:
        terminal.json({"first": first, "second": second, "amount": amount, "swap": swap, "width": width, "output": str(output)})
        return
    from invert.cli.loading import load_for
    from invert.editing.blending import blend as blended
    from invert.editing.blending import swap_layers
    from stylegan_core.checkpoints.native import save_native

    place = resolve_device(device)
    one, other = (load_for(terminal, name, place) for name in (first, second))
    if swap is not None:
        result = swap_layers(one.generator, other.generator, resolution=swap, width=width)
    else:
        result = blended(one.generator, other.generator, amount=float(amount or 0.0))
    how = {"first": first, "first_sha256": one.sha256, "second": second, "second_sha256": other.sha256, "amount": amount, "swap": swap}
    sha256 = save_native(result, output, provenance={"blended": how})
    terminal.say(f"{output}: {sha256[:12]}…")
    if sheet is not None:
        columns = {first: one.generator, **_columns(one.generator, other.generator, result, swap, width), second: other.generator}
        _save_sheet(sheet, list(columns.values()), numbers)
        terminal.say(f"{sheet}: columns {', '.join(columns)}; seeds {seeds}")
    if json:
        terminal.json({**how, "output": str(output), "model_sha256": sha256})


def _columns(one: Any, other: Any, result: Any, swap: int | None, width: float) -> dict[str, Any]:
    """What the sheet shows between the two models: the blend, or the swap at every resolution, so that its point can be seen."""
    from invert.editing.blending import swap_layers, swap_points

    if swap is None:
        return {"the blend": result}
    return {f"swapped above {size} px": swap_layers(one, other, resolution=size, width=width) for size in swap_points(one)}


def _save_sheet(path: Path, generators: list[Any], seeds: list[int]) -> None:
    import torch

    from invert.editing.sweep import sheet
    from stylegan_core.images import picture_proper, save_image
    from stylegan_core.latent import Latent

    rows = []
    for seed in seeds:
        with torch.no_grad():
            rows.append([
                picture_proper(Latent.sample(generator, [seed]).render(generator), generator).float().cpu() for generator in generators
            ])  # fmt: skip
    save_image(sheet(rows), path)
