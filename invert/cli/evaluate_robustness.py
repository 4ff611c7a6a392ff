"""`invert evaluate robustness`: what embedding can and cannot do, one page with tables and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invert.cli import options
from invert.cli.console import Terminal

if TYPE_CHECKING:
    import torch

PARTS = "domain, moves, starts, morphs, turns, models, shifts"


def robustness(
    model: options.Model = options.DEFAULT_MODEL,
    output: options.Output = Path("robustness"),
    count: Annotated[int, typer.Option("--count", metavar="N", help="Pictures per cell of a table, from 2.")] = 4,
    parts: Annotated[str | None, typer.Option("--parts", metavar="LIST", help=f"Of {PARTS}. (default: all)")] = None,
    preset: Annotated[str, typer.Option("--preset", metavar="NAME", help="Of every embedding; one that needs no encoder.")] = "fast",
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", help="Of every embedding. (default: the preset's)")] = None,
    snapshots: Annotated[str | None, typer.Option("--snapshots", metavar="LIST", help="Other models, for the part models.")] = None,
    also: Annotated[list[str] | None, typer.Option("--also", metavar="NAME|FILE", help="A model for the part shifts; repeat it.")] = None,
    perceptual: Annotated[str, typer.Option("--perceptual", metavar="NAME", help="auto, vgg, alex, squeeze, features, none.")] = "auto",
    judge: Annotated[str, typer.Option("--judge", metavar="NAME|FILE", help="A network that no objective uses.")] = "portraits-judge",
    device: options.Device = "auto",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Embed pictures inside and outside of the domain, moved ones, from other starts, into other models: robustness.md with pictures.

    \b
    Each part is written as it is ready; the same command again redoes only what is missing.
    Examples:
      invert evaluate robustness --count 4 -o robustness
      invert evaluate robustness --parts moves,shifts --also stylegan3.safetensors
    """
    from invert.robustness.embedding import checked_preset
    from invert.robustness.page import PAGE, evaluate_robustness
    from invert.robustness.parts import parts_of
    from stylegan_core.errors import UsageError
    from stylegan_core.features import load_features
    from stylegan_core.runtime import resolve_device, set_threads

    terminal = Terminal(quiet=quiet)
    chosen = parts_of(parts, has_also=bool(also))
    if count < 2:
        raise UsageError(f"--count {count}: a whole number from 2 is allowed")
    checked_preset(preset, steps)
    if dry_run:
        terminal.json([{"part": part.name, "count": count, "preset": preset, "steps": steps, "output": str(output / f"{part.name}.json")}
                       for part in chosen])
        return
    set_threads(threads)
    place = resolve_device(device)
    looking = load_features(judge).to(place)
    with terminal.progress("robustness") as bar:
        setting = prepared(terminal, model, looking, place, perceptual, snapshots, also or [],
                           told=lambda what, done, total: bar.update(done, total=total, what=what), count=count, preset=preset, steps=steps,
                           seed=seed)

        def callback(record: dict[str, Any], was_there: bool) -> None:
            terminal.say(f"{record['part']}: " + ("there already" if was_there else f"done in {record['seconds']:.0f} s"))

        records = evaluate_robustness(setting, chosen, output, callback=callback)
    if json:
        terminal.json(records)
    else:
        terminal.data(str(output / PAGE))


def prepared(terminal: Terminal, model: str, judge: Any, place: torch.device, perceptual: str, snapshots: str | None, also: list[str],
             **facts: Any) -> Any:
    """The Setting, with every model that it needs. snapshots: None = those that are known of the model."""
    from invert.cli.loading import load_for
    from invert.projectors.measures import load_measure
    from invert.robustness.models import SNAPSHOTS
    from invert.robustness.setting import Setting

    generator = load_for(terminal, model, place).generator
    names = SNAPSHOTS.get(model, ()) if snapshots is None else [name.strip() for name in snapshots.split(",") if name.strip()]
    beside = {name: generator if name == model else load_for(terminal, name, place).generator for name in names}
    others = {name: load_for(terminal, name, place).generator for name in also if name != model}
    return Setting(model, generator, judge, load_measure(perceptual, generator), snapshots=beside, also=others, **facts)
