"""`invert interpolate`: walks between pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invert.cli import editing_options as editing
from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal

if TYPE_CHECKING:
    from invert.editing.interpolation import Walk


def register(app: typer.Typer) -> None:
    command(app, "interpolate")(interpolate)


def interpolate(
    pictures: Annotated[list[str], typer.Argument(metavar="KEY KEY…", help="Inversions, photos or seed:LIST, in the order of the walk.")],
    method: Annotated[str, typer.Option("--method", metavar="NAME", help="linear, slerp, spline.")] = "linear",
    loop: Annotated[bool, typer.Option("--loop", help="Back to the first key.")] = False,
    frames: Annotated[int, typer.Option("--frames", metavar="N", help="From each key to the next.")] = 16,
    fps: Annotated[int, typer.Option("--fps", metavar="N", help="Frames per second of moving pictures.")] = 20,
    output: Annotated[
        Path, typer.Option("--output", "-o", "--outdir", metavar="FILE|DIR", help="A .gif, .webp or .mp4, a sheet .png, a folder.")
    ] = Path("walk.gif"),
    no_lengths: Annotated[bool, typer.Option("--no-lengths", help="Do not measure local path lengths.")] = False,
    model: options.Model = options.DEFAULT_MODEL,
    related: editing.Related = False,
    space: editing.Space = "w+",
    preset: editing.Preset = "fast",
    steps: editing.Steps = None,
    perceptual: editing.Perceptual = "auto",
    no_metadata: options.NoMetadata = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Walk from picture to picture; the local path length d / ε² tells how fast the picture changes on the way.

    \b
    Examples:
      invert interpolate a.inversion.safetensors b.inversion.safetensors -o walk.gif
      invert interpolate seed:1-4 --method spline --loop --frames 24 -o loop.webp
      invert interpolate photo.png seed:7 --method slerp -o frames/
    """
    from invert.editing.interpolation import METHODS, Walk, keys_of
    from invert.video import SUFFIXES, check_video
    from stylegan_core.errors import UsageError
    from stylegan_core.runtime import resolve_device, set_threads

    terminal = Terminal(quiet=quiet)
    if method not in METHODS:
        raise UsageError(f"--method {method!r}: one of {', '.join(METHODS)} is allowed")
    if not 1 <= frames <= 1000 or not 1 <= fps <= 60:
        raise UsageError(f"--frames {frames} lies between 1 and 1000, --fps {fps} between 1 and 60")
    suffix = output.suffix.lower()
    if suffix in SUFFIXES:
        check_video(output)
    elif suffix not in ("", ".png"):
        raise UsageError(f"-o {output}: {', '.join(SUFFIXES)}, .png or a folder are allowed")
    set_threads(threads)
    if dry_run:
        terminal.json({"keys": pictures, "method": method, "loop": loop, "frames": frames, "model": model, "output": str(output)})
        return
    from invert.cli.loading import load_for
    from invert.editing.setting import Setting

    loaded = load_for(terminal, model, resolve_device(device))
    setting = Setting(loaded, {"space": space, "preset": preset, "steps": steps, "perceptual": perceptual, "seed": seed}, related)
    keys = keys_of([setting.inversion(name) for name in pictures])
    walk = Walk(setting.generator, keys, method, loop)
    measure = None if no_lengths else _measure(perceptual, setting.generator)
    record = _walk(terminal, walk, frames, fps, output, measure, with_metadata=not no_metadata)
    record |= {"model": loaded.name, "model_sha256": loaded.sha256, "keys": pictures, "method": method, "loop": loop}
    if json:
        terminal.json(record)


def _measure(perceptual: str, generator: Any) -> Any:
    from invert.projectors.measures import load_measure

    return load_measure(perceptual, generator)


def _walk(terminal: Terminal, walk: Walk, per_segment: int, fps: int, output: Path, measure: Any, *, with_metadata: bool) -> dict[str, Any]:
    """Renders, writes, and prints d / ε² of every frame."""
    from stylegan_core.images import picture_proper, save_image, to_rgb, to_u8

    pictures, lengths = [], []
    total = walk.num_segments * per_segment + (0 if walk.is_loop else 1)
    with terminal.progress("interpolate", total) as bar:
        for t, inversion in walk.frames(per_segment):
            pictures.append(picture_proper(inversion.render(walk.generator), walk.generator).float().cpu())
            if measure is not None:
                lengths.append({"t": round(t, 4), "length": walk.local_length(t, measure.features)})
            bar.update(len(pictures))
    note = note_of_walk(walk) if with_metadata else None
    suffix = output.suffix.lower()
    if suffix == "":
        for index, picture in enumerate(pictures):
            save_image(picture, output / f"frame{index:04d}.png", metadata=note)
    elif suffix == ".png":
        import torch

        from stylegan_core.sheet import grid, magnify

        save_image(grid(magnify(torch.cat(pictures), 64), columns=per_segment), output, metadata=note)
    else:
        from invert.video import save_video

        arrays = [to_u8(to_rgb(picture))[0].numpy() for picture in pictures]
        save_video(arrays, output, fps=fps, note=None if note is None else note["invert"], is_held=not walk.is_loop)
    terminal.say(f"{len(pictures)} frames: {output}")
    if lengths:
        terminal.table(["t", "d / eps^2"], [[f"{row['t']:.3f}", f"{row['length']:.4g}"] for row in lengths], right=[0, 1])
        mean = sum(row["length"] for row in lengths) / len(lengths)
        terminal.say(f"local path length ({measure.name}): mean {mean:.4g}, largest {max(row['length'] for row in lengths):.4g}")
    return {"frames": len(pictures), "output": str(output), "perceptual": getattr(measure, "name", None), "lengths": lengths}


def note_of_walk(walk: Walk) -> dict[str, str]:
    """What a frame says about itself."""
    from invert.rendering import picture_metadata
    from stylegan_core.provenance import version

    facts = walk.keys[0].metadata
    return picture_metadata({"model": Path(str(facts.get("model", "unknown"))).name, "model_sha256": facts.get("model_sha256"),
                             "version": version(), "edited": [{"step": "interpolate", "method": walk.method}]})  # fmt: skip
