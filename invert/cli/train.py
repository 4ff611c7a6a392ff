"""`invert train`: generators, encoders (train_encoder.py) and feature networks."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invert.cli import options
from invert.cli import train_options as choices
from invert.cli.app import command
from invert.cli.console import Terminal
from invert.cli.exits import INTERRUPTED, TERMINATED

if TYPE_CHECKING:
    from stylegan_core.progress import StepInfo

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
    data: choices.Data = "portraits",
    preset: choices.PresetName = "portraits64",
    resolution: choices.Resolution = None,
    channels: choices.Channels = None,
    cond: choices.Cond = False,
    count: choices.Count = 50_000,
    kimg: choices.Kimg = None,
    batch: choices.Batch = None,
    micro_batch: choices.MicroBatch = None,
    precision: choices.Precision = None,
    snapshot_kimg: choices.SnapshotKimg = None,
    compile_: choices.Compile = False,
    checkpoint_activations: choices.CheckpointActivations = False,
    tensorboard: choices.TensorBoard = False,
    channel_base: choices.ChannelBase = None,
    channel_max: choices.ChannelMax = None,
    loss: choices.Loss = None,
    d_steps: choices.DSteps = None,
    lr: choices.Lr = None,
    gamma: choices.Gamma = None,
    r2_gamma: choices.R2Gamma = None,
    pl_weight: choices.PlWeight = None,
    mixing_prob: choices.MixingProb = None,
    growing_kimg: choices.GrowingKimg = None,
    noise_delay_kimg: choices.NoiseDelayKimg = 0,
    anchor_weight: choices.AnchorWeight = 0,
    mirror: choices.Mirror = False,
    augment: choices.Augment = None,
    augment_p: choices.AugmentP = None,
    target: choices.Target = None,
    ada_kimg: choices.AdaKimg = None,
    transfer: choices.Transfer = None,
    freeze_d: choices.FreezeD = None,
    warm_start_kimg: choices.WarmStartKimg = 0,
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
      invert train generator -o runs/cats --data cats.zip --preset auto --resolution 256 --mirror
      invert train generator -o runs/ink --data ink --transfer portraits64 --freeze-d 4 --augment bgc --kimg 60
      invert train generator -o runs/cars --data cars/ --resolution 384x512 --preset small --dry-run
      invert train generator -o runs/sg1 --preset stylegan1-f --resolution 32 --cbase 4096 --kimg 300
    """
    from invert.cli import training
    from stylegan_core.data.images import parse_size
    from stylegan_core.networks.acceleration import check_compiler
    from stylegan_core.runtime import resolve_device, set_threads
    from stylegan_core.training.distributed import announced_processes, start_processes

    terminal, processes = Terminal(quiet=quiet), announced_processes()
    where = resolve_device(device)
    if compile_:
        check_compiler(where)
    set_threads(threads)
    networks = {} if transfer is None else training.networks_of(transfer)
    start = networks.get("G")
    size = parse_size(resolution) if resolution is not None else start.img_shape if start is not None else None
    pictures = training.open_data(data, size=size, count=count, cond=cond,
                                  channels=channels or (3 if start is None else start.img_channels))  # fmt: skip
    given = dict(kimg=kimg, batch=batch, micro_batch=micro_batch, precision=precision, snapshot_kimg=snapshot_kimg, compile=compile_,
                 checkpoint_activations=checkpoint_activations, loss=loss, d_steps=d_steps, lr=lr, r1_gamma=gamma, r2_gamma=r2_gamma,
                 pl_weight=pl_weight, mixing_prob=mixing_prob, noise_delay_kimg=noise_delay_kimg, anchor_weight=anchor_weight,
                 mirror=mirror, augment=augment, augment_p=augment_p, ada_target=target, ada_kimg=ada_kimg, freeze_d=freeze_d, seed=seed,
                 growing_kimg=growing_kimg, generator_delay_kimg=WARM_START_DELAY_KIMG if warm_start_kimg > 0 else None)  # fmt: skip
    config = training.configuration(preset, pictures, networks, processes=processes, channel_base=channel_base, channel_max=channel_max,
                                    given=given)  # fmt: skip
    if dry_run:
        terminal.json({"training": config.to_dict(), "data": pictures.name, "device": str(where), "output": str(output),
                       "needs": training.plan(config, where, processes)})  # fmt: skip
        return
    training.check_memory(config, preset, where, processes)
    place, stopper = start_processes(str(where)), Stopper()
    features = features_of(pictures).to(place) if warm_start_kimg > 0 or anchor_weight > 0 else None
    if warm_start_kimg > 0:
        networks = warm_networks(config, pictures, output, warm_start_kimg, features, place, stopper, terminal)
    run_training(config, pictures, output, networks, features, place, stopper, terminal, tensorboard=tensorboard)


def run_training(
    config: Any, pictures: Any, output: Path, networks: dict[str, Any], features: Any, place: str, stopper: Stopper, terminal: Terminal,
    *, tensorboard: bool,
) -> None:  # fmt: skip
    """Trains until the end or a signal."""
    from contextlib import closing, nullcontext

    from stylegan_core.training.distributed import rank
    from stylegan_core.training.growing import nimg_at
    from stylegan_core.training.loop import train_generator
    from stylegan_core.training.tensorboard import TensorBoardLog

    board = TensorBoardLog(output / "tensorboard", partial(nimg_at, config)) if tensorboard and rank() == 0 else None
    with stopper.listening(), terminal.progress("train", config.kimg) as bar, closing(board) if board else nullcontext():

        def callback(info: StepInfo) -> bool:
            losses = ", ".join(f"{name} {value.float().mean():.3f}" for name, value in list(info.parts.items())[:2])
            seen = nimg_at(config, info.step) / 1000
            bar.update(seen, note=f"{seen:.1f} kimg, {losses}")
            if board is not None:
                board(info)
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
    if pictures.c_dim or pictures.channels != 3 or pictures.shape[0] != pictures.shape[1]:
        raise UsageError("--warm-start-kimg and --anchor-weight work with square RGB portraits without labels; leave --cond, --channels "
                         "and --resolution HxW out, or these two")  # fmt: skip
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
