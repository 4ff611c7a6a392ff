"""`invert train encoder`: pSp, e4e, W, ReStyle and HyperStyle for any generator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from invert.cli import options
from invert.cli.console import Terminal
from invert.cli.train import Stopper
from invert.cli.train_options import LOSS, RUN
from invert.cli.training import open_data

if TYPE_CHECKING:
    from stylegan_core.progress import StepInfo

PICTURES = "The pictures"
NETWORK = "The network"


def encoder(
    output: options.Output,
    kind: Annotated[str, typer.Option("--kind", metavar="NAME", help="psp, e4e, w, restyle-psp, restyle-e4e, hyperstyle.")] = "e4e",
    model: options.Model = options.DEFAULT_MODEL,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DIR|ZIP|NAME", help="Real pictures (default: own samples).", rich_help_panel=PICTURES),
    ] = None,
    samples_share: Annotated[
        float | None,
        typer.Option("--samples-share", metavar="X", help="Of own samples beside --data; 0.5 mixes.", rich_help_panel=PICTURES),
    ] = None,
    count: Annotated[int, typer.Option("--count", metavar="N", help="How many procedural pictures.", rich_help_panel=PICTURES)] = 50_000,
    augment: Annotated[
        float | None,
        typer.Option("--augment", metavar="X", help="Share that the encoder sees damaged (default: 0.5).", rich_help_panel=PICTURES),
    ] = None,
    transform: Annotated[
        str | None,
        typer.Option("--source-transform", metavar="NAME", help="super-resolution, inpainting, sketch, or package.module:function.",
                     rich_help_panel=PICTURES),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", metavar="NAME", help="light, strided, ir-se-50, resnet-34, … (by size)", rich_help_panel=NETWORK),
    ] = None,
    backbone_start: Annotated[
        str | None,
        typer.Option("--backbone-start", metavar="NAME|FILE", help="Its filters: portraits-features, with --backbone strided.",
                     rich_help_panel=NETWORK),
    ] = None,
    input_side: Annotated[
        int | None, typer.Option("--input-side", metavar="PX", help="Of what the network sees (by size).", rich_help_panel=NETWORK)
    ] = None,
    passes: Annotated[
        int | None, typer.Option("--passes", metavar="N", help="Of ReStyle and HyperStyle (default: 3; 1).", rich_help_panel=NETWORK)
    ] = None,
    w_encoder: Annotated[
        str | None, typer.Option("--w-encoder", metavar="FILE", help="That HyperStyle starts from.", rich_help_panel=NETWORK)
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", "--transfer", metavar="FILE", help="Start from these weights.", rich_help_panel=NETWORK)
    ] = None,
    kimg: Annotated[float | None, typer.Option("--kimg", metavar="N", help="Length in 1000 pictures.", rich_help_panel=RUN)] = None,
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", help="Pictures per step.", rich_help_panel=RUN)] = None,
    micro_batch: Annotated[int | None, typer.Option("--micro-batch", metavar="N", help="Pictures per pass.", rich_help_panel=RUN)] = None,
    lr: Annotated[float | None, typer.Option("--lr", metavar="X", help="Learning rate.", rich_help_panel=LOSS)] = None,
    decay_kimg: Annotated[
        float | None, typer.Option("--decay-kimg", metavar="N", help="Lower the rate over the last so many.", rich_help_panel=LOSS)
    ] = None,
    loss: Annotated[
        list[str] | None,
        typer.Option("--loss", metavar="NAME=X", help="Weights: pixel, perceptual, identity, w_norm, latent, delta, adversarial.",
                     rich_help_panel=LOSS),
    ] = None,
    perceptual: Annotated[
        str, typer.Option("--perceptual", metavar="NAME", help="auto, vgg, alex, squeeze, features, none.", rich_help_panel=LOSS)
    ] = "auto",
    identity: Annotated[
        str | None, typer.Option("--identity", metavar="features|FILE", help="Who is shown; an ArcFace or MoCo file.", rich_help_panel=LOSS)
    ] = None,
    progressive: Annotated[
        str | None,
        typer.Option("--progressive", metavar="START[:EVERY]", help="kimg at which e4e's deltas begin; none = all at once.",
                     rich_help_panel=LOSS),
    ] = None,
    precision: Annotated[str | None, typer.Option("--precision", metavar="NAME", help="fp32 or bf16.", rich_help_panel=RUN)] = None,
    snapshot_kimg: Annotated[
        float | None, typer.Option("--snapshot-kimg", metavar="N", help="A snapshot this often.", rich_help_panel=RUN)
    ] = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Train an encoder for a generator. A run that was stopped goes on when the same command is started again.

    \b
    Examples:
      invert train encoder --kind e4e -o runs/e4e
      invert train encoder --kind restyle-psp --model cats.pkl --data cats.zip --samples-share 0.5 -o runs/cats
      invert train encoder --kind hyperstyle --w-encoder runs/w/encoder-000100.0.safetensors -o runs/hyper
      invert train encoder --kind psp --source-transform sketch -o runs/sketch
    """
    from encoders.training.loop import train_encoder
    from invert.cli.loading import load_for
    from invert.loaded import LoadedModel
    from stylegan_core.runtime import resolve_device, set_threads
    from stylegan_core.training.distributed import start_processes

    terminal = Terminal(quiet=quiet)
    place = resolve_device(device)
    set_threads(threads)
    loaded: LoadedModel = load_for(terminal, model, place)
    pictures = None if data is None else open_data(data, size=loaded.generator.img_shape, count=count)
    asked = {"kimg": kimg, "batch": batch, "micro_batch": micro_batch, "lr": lr, "decay_kimg": decay_kimg, "augment_prob": augment,
             "precision": precision, "snapshot_kimg": snapshot_kimg, "source_transform": transform,
             "backbone_start": backbone_start}  # fmt: skip
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    given |= {"seed": seed, "samples_share": samples_share if samples_share is not None else 1.0 if data is None else 0.0}
    given |= weights_of(loss or [], perceptual, identity) | progress_of(progressive)
    config, begin = configured(kind, loaded.generator, given, backbone, input_side, passes, start, w_encoder)
    if dry_run:
        named = None if pictures is None else pictures.name
        terminal.json({"training": config.to_dict(), "model": model, "data": named, "device": str(place), "output": str(output)})
        return
    networks = measures_of(config, loaded.generator, perceptual, identity)
    start_processes(str(place))
    stopper = Stopper()
    with stopper.listening(), terminal.progress("train", config.kimg) as bar:

        def callback(info: StepInfo) -> bool:
            losses = ", ".join(f"{name} {value.float().mean():.4f}" for name, value in list(info.parts.items())[:3])
            seen = info.step * config.batch / 1000
            bar.update(seen, note=f"{seen:.1f} kimg, {losses}")
            return not stopper.exit_code

        newest = train_encoder(config, loaded.generator, output, generator_name=model, data=pictures, start=begin, callback=callback,
                               **networks)
    terminal.say(f"newest snapshot: {newest}; before and after: {newest.with_suffix('.png').name}")
    if stopper.exit_code:
        terminal.say("stopped after a snapshot; start the same command again to go on")
        raise typer.Exit(stopper.exit_code)


def configured(kind: str, generator: Any, given: dict[str, Any], backbone: str | None, input_side: int | None, passes: int | None,
               start: str | None, w_encoder: str | None) -> tuple[Any, Any]:
    """(configuration, the encoder to start from or None)."""
    from dataclasses import replace

    from encoders.base import method_of
    from encoders.checkpoints import load_encoder
    from encoders.training.config import training_config
    from encoders.training.transforms import checked, source_transform
    from stylegan_core.errors import UsageError

    in_channels = None
    if given.get("source_transform") is not None:
        import torch

        like = torch.zeros(1, generator.img_channels, *generator.img_shape)
        in_channels = checked(source_transform(given["source_transform"]), like, torch.Generator().manual_seed(0)).shape[1]
    config = training_config(kind, generator, backbone=backbone, input_side=input_side, num_iterations=passes, in_channels=in_channels,
                             **given)
    if (kind == "hyperstyle") != (w_encoder is not None) and start is None:
        raise UsageError("--kind hyperstyle starts from an encoder of one pass: train one with --kind w and give it with --w-encoder"
                         if kind == "hyperstyle" else "--w-encoder is for --kind hyperstyle")
    begin = None
    if w_encoder is not None or start is not None:
        begin = load_encoder(w_encoder or start, generator=generator)  # type: ignore[arg-type]
        held = begin.config
        wanted = "a W encoder or another of one pass" if w_encoder is not None else kind
        if kind == f"restyle-{method_of(held)}":  # of one pass: the same, beside the picture so far
            channels = config.encoder.backbone.in_channels
            held = replace(held, backbone=replace(held.backbone, in_channels=channels), is_iterative=True,
                           num_iterations=config.encoder.num_iterations)
        elif method_of(held) != kind if w_encoder is None else not hasattr(begin, "w_avg") or hasattr(begin, "passes"):
            raise UsageError(f"{w_encoder or start} is a {method_of(held)}; {wanted} is needed")
        config = replace(config, encoder=replace(config.encoder, encoder=held) if w_encoder is not None else held).validate()
    return config, begin


def weights_of(losses: list[str], perceptual: str, identity: str | None) -> dict[str, float]:
    """--loss NAME=X …; what has no network to measure it has the weight 0."""
    from encoders.training.config import TERMS
    from stylegan_core.errors import UsageError

    weights: dict[str, float] = {"identity": 0.5} if identity is not None else {}
    if perceptual == "none":
        weights["perceptual"] = 0.0
    for text in losses:
        name, _, number = text.partition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            raise UsageError(f"--loss {text!r}: NAME=X is allowed, for example perceptual=0.8") from None
        if name not in TERMS:
            raise UsageError(f"--loss {text!r}: one of {', '.join(TERMS)} is allowed")
    return weights


def progress_of(text: str | None) -> dict[str, float | None]:
    """--progressive START[:EVERY] or none."""
    from stylegan_core.errors import UsageError

    if text is None:
        return {}
    if text == "none":
        return {"progressive_start_kimg": None}
    first, _, every = text.partition(":")
    try:
        return {"progressive_start_kimg": float(first), **({"progressive_every_kimg": float(every)} if every else {})}
    except ValueError:
        raise UsageError(f"--progressive {text!r}: START, START:EVERY (in kimg) or none is allowed") from None


def measures_of(config: Any, generator: Any, perceptual: str, identity: str | None) -> dict[str, Any]:
    """The networks that the losses need, on the generator's device."""
    from encoders.identity import load_embedder
    from invert.projectors.measures import load_measure

    found: dict[str, Any] = {"measure": None, "embedder": None}
    if config.perceptual:
        found["measure"] = load_measure(perceptual, generator)
    if config.identity:
        found["embedder"] = load_embedder(identity or "features").to(generator.w_avg.device)
    return found
