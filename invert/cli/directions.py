"""`invert directions`: find, list, show and import what edits move along."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invert.cli import editing_options as editing
from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal

if TYPE_CHECKING:
    from invert.editing.direction import Direction

LEARN = "What it learns from"


def build_app() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(name="directions", help="Find directions in a model, list and show them.", no_args_is_help=True)
    for name, function in (("find", find), ("list", list_), ("show", show), ("import", import_)):
        command(app, name)(function)
    return app


def find(
    method: Annotated[
        str, typer.Option("--method", metavar="NAME", help="interfacegan, regression, ganspace, sefa, stylespace, jacobian, text.")
    ] = "interfacegan",
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", "-a", metavar="NAME", help="Only this one; may be given several times.", rich_help_panel=LEARN),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="NAME|CSV|MODULE:FUNCTION", help="Where labels come from.", rich_help_panel=LEARN),
    ] = None,
    samples: Annotated[int | None, typer.Option("--samples", metavar="N", help="How many pictures.", rich_help_panel=LEARN)] = None,
    hold: Annotated[
        list[str] | None,
        typer.Option("--hold", metavar="NAME", help="Conditional: these attributes stay; all, none.", rich_help_panel=LEARN),
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="NAME", help="Of the conditional step: length, std.", rich_help_panel=LEARN)
    ] = None,
    space: Annotated[str | None, typer.Option("--space", metavar="z|w|w+|s", help="Where to look.", rich_help_panel=LEARN)] = None,
    rows: editing.Rows = None,
    layer: Annotated[str | None, typer.Option("--layer", metavar="NAME", help="ganspace: a layer's activations, such as b16.")] = None,
    count: Annotated[int | None, typer.Option("--count", metavar="N", help="How many components or channels.")] = None,
    mask: Annotated[str | None, typer.Option("--mask", metavar="FILE", help="stylespace, jacobian: the region that counts.")] = None,
    inversion: Annotated[str | None, typer.Option("--inversion", metavar="FILE", help="jacobian: where to look.")] = None,
    text: Annotated[str | None, typer.Option("--text", metavar="WORDS", help="text: what to move towards.")] = None,
    neutral: Annotated[str | None, typer.Option("--neutral", metavar="WORDS", help="text: from what.")] = None,
    clip: Annotated[str | None, typer.Option("--clip", metavar="FILE", help="text: weights of a CLIP.")] = None,
    limits: Annotated[bool, typer.Option("--limits", help="Edits stop where the samples of the model end.")] = False,
    licence: Annotated[str, typer.Option("--licence", metavar="NAME", help="Written into the files.")] = "",
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Of the file names.")] = "",
    output: options.Output = Path("directions"),
    model: options.Model = options.DEFAULT_MODEL,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Find directions; every one becomes NAME.direction.safetensors in the folder.

    \b
    Examples:
      invert directions find --attribute smile --attribute glasses --hold all
      invert directions find --method sefa --rows coarse --count 5
      invert directions find --method stylespace --attribute hat
      invert directions find --labels mine.csv --model ffhq -o mine/
    """
    from invert.editing.finder import finder
    from invert.editing.units import with_limits
    from stylegan_core.runtime import resolve_device, set_threads

    terminal = Terminal(quiet=quiet)
    asked = asked_options(
        method, attribute=attribute, labels=labels, samples=samples, hold=hold, metric=metric, space=space, rows=rows, layer=layer,
        count=count, mask=mask, inversion=inversion, text=text, neutral=neutral, clip=clip, seed=seed,
    )  # fmt: skip
    chosen = finder(method, **asked)
    set_threads(threads)
    if dry_run:
        from dataclasses import asdict

        from invert.reports import jsonable

        terminal.json({"method": method, "model": model, "output": str(output), **jsonable(asdict(chosen))})  # type: ignore[call-overload]
        return
    from invert.cli.loading import load_for

    loaded = load_for(terminal, model, resolve_device(device))
    with terminal.progress(method) as bar:

        def callback(done: int, total: int) -> None:
            bar.update(done, total=total)

        found = chosen.find(loaded.generator, callback=callback)
        found = measured(found, chosen, loaded.generator)
        if limits:
            found = [with_limits(one, loaded.generator) for one in found]
    _save(terminal, found, loaded, output, prefix, licence, json=json)


def asked_options(method: str, **given: Any) -> dict[str, Any]:
    """Options of the command line as the finder calls them; None and what the method does not have and was not asked for are left out."""
    from dataclasses import fields

    from invert.editing.finder import finder_class

    known = {part.name for part in fields(finder_class(method))}
    many = "attributes" in known
    names = {"samples": "num_samples", "count": "num_components", "hold": "conditions", "attribute": "attributes" if many else "attribute"}
    asked = {names.get(key, key): value for key, value in given.items() if value is not None and (key != "seed" or "seed" in known)}
    for key in ("attributes", "conditions"):
        if key in asked:
            asked[key] = tuple(name for name in asked[key] if name != "none")
    if "attribute" in asked:
        from stylegan_core.errors import UsageError

        if len(asked["attribute"]) != 1:
            raise UsageError(f"method {method} takes one --attribute, not {len(asked['attribute'])}")
        asked["attribute"] = asked["attribute"][0]
    return asked


def measured(found: list[Direction], chosen: Any, generator: Any) -> list[Direction]:
    """With what strength 1 does to every attribute, where the labels can be asked about new pictures."""
    from dataclasses import replace

    from invert.editing.effects import effects
    from invert.editing.labels import load_scorer

    labels = getattr(chosen, "labels", None)
    if not isinstance(labels, str) or labels.lower().endswith(".csv"):
        return found
    scorer = load_scorer(labels, generator)
    return [replace(one, provenance={**one.provenance, "moves": effects(one, generator, scorer)}) for one in found]


def _save(terminal: Terminal, found: list[Direction], loaded: Any, folder: Path, prefix: str, licence: str, *, json: bool) -> None:
    from dataclasses import replace

    from invert.editing.direction_file import SUFFIX
    from invert.editing.sweep import safe_name

    found = [replace(one, model=Path(loaded.name).name, licence=licence or one.licence) for one in found]
    files = []
    for direction in found:
        path = folder / f"{prefix}{safe_name(direction.name)}{SUFFIX}"
        direction.save(path)
        files.append(str(path))
    if found and found[0].provenance.get("left_out"):
        for name, why in found[0].provenance["left_out"].items():
            terminal.warn(f"{name} was left out: {why}")
    rows = [[direction.name, direction.space.value, _figures(direction)] for direction in found]
    if json:
        terminal.json([{"file": file, **facts_of(direction)} for file, direction in zip(files, found)])
    else:
        terminal.table(["name", "space", "figures"], rows)
    terminal.say(f"{len(found)} direction(s) in {folder}")


def list_(
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="A folder of direction files (default: the bundled ones).")] = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """List directions: those that come with the package, or those of a folder.

    \b
    Examples:
      invert directions list
      invert directions list mine/
    """
    from invert.editing.library import bundled_directions, directions_in

    terminal = Terminal()
    found = list(bundled_directions()) if folder is None else [direction for _, direction in directions_in(folder)]
    if json:
        terminal.json([facts_of(direction) for direction in found])
        return
    terminal.table(["name", "model", "space", "method", "figures"], [
        [one.name, one.model or "?", one.space.value, one.provenance.get("method", "?"), _figures(one)] for one in found
    ])  # fmt: skip


def show(
    direction: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A bundled name, a file, or LAYER:CHANNEL.")],
    seeds: Annotated[str, typer.Option("--seeds", metavar="LIST", help="Samples that it is shown on.")] = "0-5",
    strength: Annotated[str, typer.Option("--strength", "-s", metavar="X|A,B|A:B:N", help="In standard deviations.")] = "-3:3:7",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A sheet (.png), or moving (.gif, .webp, .mp4).")
    ] = None,
    rows: editing.Rows = None,
    model: options.Model = options.DEFAULT_MODEL,
    related: editing.Related = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    no_metadata: options.NoMetadata = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Tell all that is known of a direction, and show it on samples.

    \b
    Examples:
      invert directions show smile -o smile.png
      invert directions show b16.conv0:37 --seeds 0-3 -o channel.gif
    """
    from invert.cli.loading import load_for
    from invert.editing.setting import Setting
    from invert.editing.sweep import parse_strengths
    from stylegan_core.runtime import resolve_device, set_threads

    terminal = Terminal(quiet=quiet)
    strengths = parse_strengths(strength)
    set_threads(threads)
    loaded = load_for(terminal, model, resolve_device(device))
    setting = Setting(loaded, {}, related)
    found = setting.direction(direction, rows=rows)
    if json:
        terminal.json(facts_of(found))
    else:
        for key, value in facts_of(found).items():
            terminal.data(f"{key}: {value}")
    if output is not None:
        _show_pictures(terminal, setting, found, seeds, strengths, output, with_metadata=not no_metadata)


def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help=".npy, .npz, .pt of other projects.")],
    space: Annotated[str | None, typer.Option("--space", metavar="z|w|w+|s", help="Where they act (default: told by the shape).")] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="TEXT", help="Instead of the file's.")] = None,
    licence: Annotated[str, typer.Option("--licence", metavar="NAME", help="Of the project they come from.")] = "",
    rows: editing.Rows = None,
    output: options.Output = Path("directions"),
    model: options.Model = options.DEFAULT_MODEL,
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Read published directions: InterFaceGAN boundaries, GANSpace components, those of e4e, anycost-gan, StyleCLIP.

    \b
    Examples:
      invert directions import stylegan_ffhq_smile_w_boundary.npy --space w --model ffhq
      invert directions import ffhq_pca.pt --model ffhq --name pca
    """
    from invert.cli.loading import load_for
    from invert.editing.arithmetic import restrict
    from invert.editing.published import import_directions
    from stylegan_core.runtime import resolve_device

    terminal = Terminal(quiet=quiet)
    loaded = load_for(terminal, model, resolve_device(device))
    found = []
    for file in files:
        found += import_directions(file, loaded.generator, space=space, name=name, model=loaded.name, licence=licence)
    _save(terminal, [restrict(one, rows, loaded.generator) for one in found], loaded, output, "", licence, json=json)


def facts_of(direction: Direction) -> dict[str, Any]:
    """All that a direction says of itself, JSON-ready."""
    from invert.editing.layers import describe_rows

    return {
        "name": direction.name,
        "space": direction.space.value,
        "shape": list(direction.vector.shape),
        "rows": describe_rows(direction.rows),
        "limits": direction.limits,
        "unit": direction.unit,
        "model": direction.model,
        "model_sha256": direction.model_sha256,
        "licence": direction.licence,
        "provenance": direction.provenance,
    }


def _figures(direction: Direction) -> str:
    figures = direction.provenance.get("figures", {})
    shown = {key: value for key, value in figures.items() if isinstance(value, (int, float)) and not isinstance(value, bool)}
    return ", ".join(f"{key} {value:.4g}" for key, value in shown.items())


def _show_pictures(
    terminal: Terminal, setting: Any, direction: Direction, seeds: str, strengths: list[float], output: Path, *, with_metadata: bool
) -> None:
    from invert.editing.sweep import sheet, strip, sweep, there_and_back
    from invert.rendering import metadata_of
    from invert.video import SUFFIXES, check_video, save_video
    from stylegan_core.images import picture_proper, save_image, to_u8
    from stylegan_core.provenance import version

    is_moving = output.suffix.lower() in SUFFIXES
    if is_moving:
        check_video(output)
    samples = setting.inversion(f"seed:{seeds}")
    grid = []
    for i in range(len(samples)):
        versions = sweep(samples[i], direction, strengths, setting.generator)
        grid.append([picture_proper(one.render(setting.generator), setting.generator).float().cpu() for one in versions])
    if is_moving:
        frames = [to_u8(strip([row[k] for row in grid]))[0].numpy() for k in range(len(strengths))]
        note = f"invert {version()}, edited, model {setting.model.sha256}" if with_metadata else None
        save_video(there_and_back(frames), output, fps=10, note=note, is_held=False)
    else:
        save_image(sheet(grid), output, metadata=metadata_of(versions[-1]) if with_metadata else None)
    terminal.say(f"{output}: seeds {seeds}, strengths {', '.join(f'{value:+g}' for value in strengths)}")
