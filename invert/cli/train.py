"""`invert train`: generators, encoders (train_encoder.py) and feature networks."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal
from invert.cli.exits import INTERRUPTED, TERMINATED

if TYPE_CHECKING:
    from stylegan_core.progress import StepInfo

RUN = "The run"
LOSS = "The loss"
WARM_START_DELAY_KIMG = 5.0  # the discriminator catches up for this long


@dataclass
class Stopper:
    """Ctrl-C and SIGTERM end the run after a snapshot; a second one ends it at once."""

    exit_code: int = 0

    @contextmanager
    def listening(self) -> Iterator[Stopper]:
        """Handles both signals while the body runs."""
        codes = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}
        before = {number: signal.getsignal(number) for number in codes}

        def on_signal(number: int, frame: Any) -> None:
            self.exit_code = codes[signal.Signals(number)]
            for each, handler in before.items():
                signal.signal(each, handler)

        for number in codes:
            signal.signal(number, on_signal)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def build_app() -> typer.Typer:
    """The group of commands."""
    from invert.cli.train_encoder import encoder

    app = typer.Typer(name="train", help="Train networks from scratch or from a checkpoint.", no_args_is_help=True)
    command(app, "generator")(generator)
    command(app, "encoder")(encoder)
    command(app, "features")(features)
    return app


def generator(
    output: options.Output,
    data: Annotated[
        str, typer.Option("--data", metavar="DIR|ZIP|NAME", help="Pictures, or the procedural portraits, ink, scenes.")
    ] = "portraits",
    preset: Annotated[
        str,
        typer.Option("--preset", "--cfg", metavar="NAME", rich_help_panel=RUN,
                     help="portraits64, small, config-e, config-f, stylegan1-a … f, stylegan3-t, stylegan3-r."),
    ] = "portraits64",
    resolution: Annotated[
        int | None,
        typer.Option("--resolution", metavar="R", help="Side in pixels (default: 64, or the pictures' own)."),
    ] = None,
    count: Annotated[int, typer.Option("--count", metavar="N", help="How many procedural pictures.")] = 50_000,
    kimg: Annotated[float | None, typer.Option("--kimg", metavar="N", help="Length in 1000 images.", rich_help_panel=RUN)] = None,
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", help="Images per step.", rich_help_panel=RUN)] = None,
    micro_batch: Annotated[int | None, typer.Option("--micro-batch", metavar="N", help="Images per pass.", rich_help_panel=RUN)] = None,
    lr: Annotated[float | None, typer.Option("--lr", metavar="X", help="Learning rate.", rich_help_panel=LOSS)] = None,
    gamma: Annotated[float | None, typer.Option("--gamma", metavar="X", help="Weight of R1.", rich_help_panel=LOSS)] = None,
    channel_base: Annotated[int | None, typer.Option("--channel-base", "--cbase", metavar="N", help="Width.", rich_help_panel=RUN)] = None,
    channel_max: Annotated[int | None, typer.Option("--channel-max", "--cmax", metavar="N", help="Most.", rich_help_panel=RUN)] = None,
    mirror: Annotated[bool, typer.Option("--mirror", help="Show pictures mirrored half of the time.")] = False,
    precision: Annotated[str | None, typer.Option("--precision", metavar="NAME", help="fp32 or bf16.", rich_help_panel=RUN)] = None,
    snapshot_kimg: Annotated[
        float | None, typer.Option("--snapshot-kimg", metavar="N", help="A snapshot this often.", rich_help_panel=RUN)
    ] = None,
    transfer: Annotated[
        str | None,
        typer.Option("--transfer", "--resume", metavar="NAME|FILE", help="Start from these weights (fine-tuning)."),
    ] = None,
    warm_start_kimg: Annotated[
        float,
        typer.Option("--warm-start-kimg", metavar="N", help="First regress portraits from the numbers they are drawn from, this long."),
    ] = 0,
    noise_delay_kimg: Annotated[
        float,
        typer.Option("--noise-delay-kimg", metavar="N", help="No noise inputs for this long.", rich_help_panel=LOSS),
    ] = 0,
    anchor_weight: Annotated[
        float,
        typer.Option("--anchor-weight", metavar="X", help="Hold portraits to the numbers they are drawn from.", rich_help_panel=LOSS),
    ] = 0,
    growing_kimg: Annotated[
        float | None,
        typer.Option("--growing-kimg", metavar="N", help="stylegan1: every size, and every fade, this long.", rich_help_panel=RUN),
    ] = None,
    compile_: Annotated[bool, typer.Option("--compile", help="torch.compile; starts slower, runs faster.", rich_help_panel=RUN)] = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Train a StyleGAN2, a StyleGAN3, or a StyleGAN that grows. A run that was stopped goes on when the same command is started again.

    \b
    Examples:
      invert train generator -o runs/portraits64 --warm-start-kimg 600 --anchor-weight 10 --kimg 150
      invert train generator -o runs/cats --data cats.zip --preset small --resolution 128 --gamma 1
      invert train generator -o runs/ink --data ink --transfer portraits64 --kimg 60
      invert train generator -o runs/sg1 --preset stylegan1-f --resolution 32 --cbase 4096 --kimg 300
    """
    from stylegan_core.networks.acceleration import check_compiler
    from stylegan_core.runtime import resolve_device, set_threads
    from stylegan_core.training.config import preset_config

    terminal = Terminal(quiet=quiet)
    where = resolve_device(device)
    place = str(where)
    if compile_:
        check_compiler(where)
    set_threads(threads)
    pictures = open_data(data, resolution=resolution, count=count)
    asked = {"kimg": kimg, "batch": batch, "micro_batch": micro_batch, "lr": lr, "r1_gamma": gamma, 
             "precision": precision, "snapshot_kimg": snapshot_kimg, "growing_kimg": growing_kimg,
             "channel_base": channel_base, "channel_max": channel_max}  # fmt: skip
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    given.update(noise_delay_kimg=noise_delay_kimg, anchor_weight=anchor_weight, compile=compile_)
    if warm_start_kimg > 0:
        given["generator_delay_kimg"] = WARM_START_DELAY_KIMG
    config = preset_config(preset, resolution=pictures.resolution, seed=seed, mirror=mirror, **given)
    networks = None
    if transfer is not None:
        networks, config = networks_to_start_from(transfer, config)
    if dry_run:
        terminal.json({"training": config.to_dict(), "data": pictures.name, "device": place, "output": str(output)})
        return
    from stylegan_core.training.distributed import start_processes
    from stylegan_core.training.growing import nimg_at
    from stylegan_core.training.loop import train_generator

    start_processes(place)
    stopper = Stopper()
    features = features_of(pictures).to(place) if warm_start_kimg > 0 or anchor_weight > 0 else None
    if warm_start_kimg > 0:
        networks = warm_networks(config, pictures, output, warm_start_kimg, features, place, stopper, terminal)
    with stopper.listening(), terminal.progress("train", config.kimg) as bar:

        def callback(info: StepInfo) -> bool:
            losses = ", ".join(f"{name} {value.float().mean():.3f}" for name, value in list(info.parts.items())[:2])
            seen = nimg_at(config, info.step) / 1000
            bar.update(seen, note=f"{seen:.1f} kimg, {losses}")
            return not stopper.exit_code

        newest = train_generator(config, pictures, output, device=place, transfer=networks, features=features, callback=callback)
    terminal.say(f"newest snapshot: {newest}")
    if stopper.exit_code:
        terminal.say("stopped after a snapshot; start the same command again to go on")
        raise typer.Exit(stopper.exit_code)


def features_of(pictures: Any) -> Any:
    """The bundled features, by which a portrait is compared with the picture of its own z."""
    from stylegan_core.errors import UsageError
    from stylegan_core.features import load_features

    if not hasattr(pictures, "normals"):
        raise UsageError("--warm-start-kimg and --anchor-weight work with --data portraits or ink, drawn from known numbers")
    return load_features("portraits-features")


def warm_networks(
    config: Any, pictures: Any, output: Path, kimg: float, features: Any, place: str, stopper: Stopper, terminal: Terminal
) -> dict[str, Any]:
    """{"G"} after the warm start, whose file is used again when the command is started again."""
    from stylegan_core.checkpoints.registry import load_generator
    from stylegan_core.training.warm_start import warm_start

    path = output / "warm-start.safetensors"
    if not path.exists():
        with stopper.listening(), terminal.progress("warm start", kimg) as bar:

            def callback(info: StepInfo) -> bool:
                bar.update(info.step / info.num_steps * kimg, note=f"{info.psnr.mean():.2f} dB" if info.psnr is not None else "")
                return not stopper.exit_code

            warm_start(config.generator, pictures, output, kimg=kimg, batch=config.batch, seed=config.seed, precision=config.precision,
                       compile=config.compile, device=place, features=features, callback=callback)  # fmt: skip
        if stopper.exit_code:
            path.unlink(missing_ok=True)
            terminal.say("stopped during the warm start, which starts again from the beginning")
            raise typer.Exit(stopper.exit_code)
    return {"G": load_generator(path)}


def features(
    output: options.Output,
    preset: Annotated[
        str, typer.Option("--preset", "--cfg", metavar="NAME", help="portraits-features, portraits-judge.")
    ] = "portraits-features",
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", help="How many (default: the preset's).")] = None,
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", help="Pictures per step.")] = None,
    people: Annotated[int | None, typer.Option("--people", metavar="N", help="Portraits to learn from.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Of weights and order.")] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Train a network that reads attributes off portraits: perceptual distance, labels, or the judge.

    \b
    Examples:
      invert train features -o runs/features
      invert train features -o runs/judge --preset portraits-judge
    """
    from stylegan_core.runtime import resolve_device, set_threads
    from stylegan_core.training.features import preset_config, train_features

    terminal = Terminal(quiet=quiet)
    place = str(resolve_device(device))
    set_threads(threads)
    config = preset_config(preset, steps=steps, batch=batch, people=people, seed=seed)
    if dry_run:
        terminal.json({"training": config.to_dict(), "device": place, "output": str(output)})
        return
    stopper = Stopper()
    with stopper.listening(), terminal.progress("draw portraits") as bar:

        def drawing(done: int, count: int) -> bool:
            bar.update(done, total=count)
            return not stopper.exit_code

        def callback(info: StepInfo) -> bool:
            bar.update(info.step, total=info.num_steps, what="train", note=f"loss {info.loss.float().mean():.4f}")
            return not stopper.exit_code

        path = train_features(config, output, device=place, drawing=drawing, callback=callback, name=preset)
    terminal.say(f"weights: {path}; figures: {path.with_suffix('.json')}")
    if stopper.exit_code:
        raise typer.Exit(stopper.exit_code)


def open_data(data: str, *, resolution: int | None, count: int) -> Any:
    """The pictures that --data names."""
    from stylegan_core.data import images

    if data == "portraits":
        return images.portraits(count, resolution or 64)
    if data == "ink":
        return images.portraits(count, resolution or 64, style="ink")
    if data == "scenes":
        return images.scenes(count, resolution or 64)
    return images.open_images(data, resolution=resolution)


def networks_to_start_from(name: str, config: Any) -> tuple[dict[str, Any], Any]:
    """{"G", "D"} of a checkpoint and the configuration with their sizes; no D where neither it nor its run has one."""
    from dataclasses import replace

    from stylegan_core.checkpoints.registry import load_discriminator, load_generator
    from stylegan_core.errors import CheckpointError
    from stylegan_core.training.growing import grown

    start = load_generator(name)
    networks = {"G": start}
    config = replace(config, generator=grown(start.config))
    try:
        path = Path(name)  # a run keeps the discriminator of snapshot-<kimg> beside it
        beside = path.with_name(path.name.replace("snapshot-", "discriminator-"))
        networks["D"] = load_discriminator(beside if path.exists() and beside.exists() else name)
        config = replace(config, discriminator=grown(networks["D"].config))
    except CheckpointError:
        pass
    return networks, config.validate()
