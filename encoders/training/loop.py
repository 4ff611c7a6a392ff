"""The training loop of encoders: one visible loop, exact resume, several processes, snapshots with sheets, a JSONL log.

Every random number of a step is a function of (seed, step), so stopping and resuming equals a straight run.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encoders.backbones.strided import load_features_into
from encoders.build import build_encoder, start_at_average
from encoders.hyperstyle import HyperStyle
from encoders.latent_discriminator import LatentDiscriminator, LatentPool
from encoders.native import set_generator
from encoders.restyle import ReStyle
from encoders.training.config import EncoderTrainingConfig
from encoders.training.dataset import Batch, check_data, draw_batch
from encoders.training.objective import discriminator_step, encoder_objective
from encoders.training.snapshot import STATE_FILE, snapshot_name, write_snapshot
from encoders.training.transforms import Transform, source_transform
from stylegan_core.data.images import ImageData
from stylegan_core.errors import TrainingError, UsageError
from stylegan_core.features import load_features
from stylegan_core.files import write_json
from stylegan_core.latent import LatentSpace
from stylegan_core.losses.identity import Embedder
from stylegan_core.losses.perceptual import FeatureDistance
from stylegan_core.losses.term import Rendering
from stylegan_core.progress import Callback, StepInfo
from stylegan_core.provenance import model_sha256
from stylegan_core.training.distributed import any_stops, average, average_gradients, num_processes, rank
from stylegan_core.training.ema import ema_beta, update_ema
from stylegan_core.training.loop import step_seed
from stylegan_core.training.state import load_state, save_state

SPREAD_SAMPLES = 2000
POOLS_FILE = "pools.{}.safetensors"


@dataclass
class Run:
    """What a step changes, and what it needs beside."""

    encoder: Any                # that is trained
    average: Any                # its running mean, which snapshots hold
    trained: nn.Module          # the part of the encoder that moves
    generator: Any
    optimiser: torch.optim.Optimizer
    discriminator: LatentDiscriminator | None
    discriminator_optimiser: torch.optim.Optimizer | None
    pools: Any                  # real and fake LatentPool
    spread: float               # of w around its average
    step: int = 0

    @property
    def networks(self) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {"E": self.encoder, "E_ema": self.average, "pools": self.pools}
        return {**found, **({} if self.discriminator is None else {"D": self.discriminator})}

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        found = {"opt_E": self.optimiser}
        return {**found, **({} if self.discriminator_optimiser is None else {"opt_D": self.discriminator_optimiser})}


def train_encoder(config: EncoderTrainingConfig, generator: Any, output: str | Path, *, generator_name: str | None = None,
                  data: ImageData | None = None, measure: FeatureDistance | None = None, embedder: Embedder | None = None,
                  start: Any = None, callback: Callback | None = None) -> Path:
    """Trains until config.kimg on the generator's device, resuming from `output`; returns the newest snapshot's path.

    data: real pictures, for the part of a batch that is not sampled. measure, embedder: of the perceptual and the identity term.
    start: an encoder of this configuration whose weights are taken; for ReStyle also one of one pass, whose filters then see the
    picture so far with 0; for hyperstyle also one of one pass, which it then starts from. A callback that returns False stops the
    run after a snapshot. Raises TrainingError when a loss is not finite, and when `output` holds a run of another configuration; UsageError
    before the first step.
    """
    output, config = Path(output), config.validate()
    check_data(config, generator, data, num_processes())
    for name, weight, given in (("perceptual", config.perceptual, measure), ("identity", config.identity, embedder)):
        if weight and given is None:
            raise UsageError(f"the {name} loss has the weight {weight:g} but no network to measure it; give one, or the weight 0")
    transform = None if config.source_transform is None else source_transform(config.source_transform)
    run = start_run(config, generator, start)
    names = {"data": None if data is None else data.name, "generator": model_sha256(generator), "generator_name": generator_name}
    facts = resume(run, config, output, names)
    output.mkdir(parents=True, exist_ok=True)
    if rank() == 0:
        write_json(output / "config.json", {"training": config.to_dict(), **names})
    num_steps = math.ceil(config.kimg * 1000 / config.batch)
    snapshot_steps = max(1, round(config.snapshot_kimg * 1000 / config.batch))
    before, begun = float(facts.get("seconds", 0.0)), time.monotonic()
    newest = output / facts["snapshot"] if "snapshot" in facts else None

    with open_log(output / ("log.jsonl" if rank() == 0 else f"log.{rank()}.jsonl"), run.step) as log:
        while run.step < num_steps:
            measured = train_step(run, config, data, measure, embedder, transform)
            run.step += 1
            seconds = before + time.monotonic() - begun
            values = {name: float(value.float().mean()) for name, value in measured.items()}
            if not all(math.isfinite(value) for value in values.values()):
                good = f"the last good snapshot is {newest}" if newest else "there is no snapshot yet"
                raise TrainingError(f"a loss is not finite at step {run.step}: {values}; {good}; try a lower --lr")
            nimg = run.step * config.batch
            log.write(json.dumps({"step": run.step, "kimg": nimg / 1000, "seconds": round(seconds, 3), **values}) + "\n")
            info = StepInfo(run.step, num_steps, measured["loss"], measured, seconds=seconds)
            keep_going = not any_stops(callback is not None and callback(info) is False)
            if run.step % snapshot_steps == 0 or run.step == num_steps or not keep_going:
                log.flush()
                newest = output / snapshot_name(nimg)
                if rank() > 0:  # the latents that this process has seen; everything else is the same in all
                    save_state(output / POOLS_FILE.format(rank()), {"pools": run.pools}, {}, {}, {"step": run.step})
                else:
                    write_snapshot(output, run.average, run.networks, run.optimisers, config, names, step=run.step, seconds=seconds,
                                   transform=transform)
            if not keep_going:
                break
    if newest is None:
        raise UsageError(f"--kimg {config.kimg:g} is less than one batch")
    return newest


def start_run(config: EncoderTrainingConfig, generator: Any, start: Any) -> Run:
    """Networks with the weights of (seed) or of `start`, and their optimisers."""
    device = generator.w_avg.device
    seed = config.seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rows = generator.w_avg.detach().cpu().float().expand(generator.num_ws, -1)
        encoder = build_encoder(config.encoder, generator=generator, w_avg=rows)
        start_at_average(encoder)
        if config.backbone_start is not None and start is None:
            load_features_into(trained_part(encoder).backbone, load_features(config.backbone_start))
        discriminator = LatentDiscriminator(generator.w_dim) if config.adversarial else None
    if start is not None:
        inner: Any = encoder.encoder if isinstance(encoder, HyperStyle) and not isinstance(start, HyperStyle) else encoder
        inner.load_state_dict(widened(start.state_dict(), inner.state_dict()))
    encoder = encoder.to(device)
    set_generator(encoder, generator.requires_grad_(False))
    trained = trained_part(encoder)
    encoder.eval().requires_grad_(False)
    trained.train().requires_grad_(True)
    average = copy.deepcopy(encoder, {id(generator): generator}).eval().requires_grad_(False)
    adam = torch.optim.Adam(trained.parameters(), lr=config.lr, fused=True)
    adam_d = None
    if discriminator is not None:
        discriminator = discriminator.to(device)
        adam_d = torch.optim.Adam(discriminator.parameters(), lr=config.discriminator_lr, fused=True)
    pools = nn.ModuleDict({name: LatentPool(config.pool_size, generator.w_dim) for name in ("real", "fake")}).to(device)
    return Run(encoder, average, trained, generator, adam, discriminator, adam_d, pools, spread_of(generator))


def widened(given: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a start; filters that see fewer channels than ours start at 0 for the others: ReStyle from an encoder of one pass."""
    state = dict(given)
    for name, value in given.items():
        wanted = own[name].shape if name in own else value.shape
        if value.ndim == 4 and value.shape != wanted and value.shape[0] == wanted[0] and value.shape[1] < wanted[1]:
            state[name] = torch.zeros_like(own[name])
            state[name][:, : value.shape[1]] = value
    return state


def trained_part(encoder: Any) -> Any:
    """The network that moves: of HyperStyle the hypernetwork, else all of it."""
    return encoder.hypernet if isinstance(encoder, HyperStyle) else encoder.network


@torch.no_grad()
def spread_of(generator: Any) -> float:
    """Root mean square distance of w to its mean."""
    w = mapped(generator, SPREAD_SAMPLES, torch.Generator().manual_seed(0))
    return float((w - w.mean(dim=0)).square().sum(dim=1).mean().sqrt())


@torch.no_grad()
def mapped(generator: Any, count: int, rng: torch.Generator) -> Tensor:
    """[count, w_dim] of the mapping network, all classes alike."""
    z, c = torch.randn(count, generator.z_dim, generator=rng), None
    if generator.c_dim:
        c = torch.eye(generator.c_dim)[torch.randint(generator.c_dim, [count], generator=rng)].to(generator.w_avg)
    return generator.mapping.to_w(z.to(generator.w_avg), c)


def passes_of(run: Run, images: Tensor) -> Iterator[tuple[Tensor | None, Tensor]]:
    """(ws [N, num_ws, w_dim], or None where they do not move; the picture), once per pass, each with a graph of its own."""
    encoder, generator = run.encoder, run.generator
    if isinstance(encoder, HyperStyle):
        start = encoder.encoder.encode(images).latent
        for _, picture in encoder.passes(images, start, keeps_graph=True):
            yield None, picture
    elif isinstance(encoder, ReStyle):
        for ws, picture in encoder.passes(images, keeps_graph=True):
            yield ws.expand(-1, generator.num_ws, -1), picture
    else:
        latent = encoder(images)
        ws = latent[:, None].expand(-1, generator.num_ws, -1) if LatentSpace(encoder.config.space) is LatentSpace.W else latent
        yield ws, generator.synthesis(ws)


def train_step(run: Run, config: EncoderTrainingConfig, data: ImageData | None, measure: FeatureDistance | None,
               embedder: Embedder | None, transform: Transform | None) -> dict[str, Tensor]:
    """One step; returns the losses, one value per picture, of the last pass."""
    rng = torch.Generator().manual_seed(step_seed(config.seed, run.step, rank()))
    nimg = run.step * config.batch
    stage = config.stage_at(nimg)
    batch = draw_batch(config, run.generator, data, run.step, rng, transform=transform, share=(rank(), num_processes()))
    for encoder in (run.encoder, run.average):
        if hasattr(getattr(encoder, "network", None), "stage"):
            encoder.network.stage = stage
    for group in run.optimiser.param_groups:
        group["lr"] = lr_at(config, nimg)
    run.optimiser.zero_grad(set_to_none=True)
    count = len(batch.target)
    micro = min(config.micro_batch or count, count)
    measured: dict[str, list[Tensor]] = {}
    fakes: list[Tensor] = []
    for first in range(0, count, micro):
        part = batch.rows(first, micro)
        values, ws = gradient_pass(run, config, part, measure, embedder, stage, scale=len(part.target) / count)
        for name, value in values.items():
            measured.setdefault(name, []).append(value)
        if ws is not None:
            fakes.append(ws[:, : stage + 1].reshape(-1, ws.shape[-1]))
    average_gradients(run.trained)
    run.optimiser.step()
    average(buffer for buffer in run.trained.buffers() if buffer.is_floating_point())
    update_ema(run.average, run.encoder, ema_beta(config.batch, nimg, config.ema_kimg) if config.ema_kimg else 0.0)
    if run.discriminator is not None and run.discriminator_optimiser is not None:
        fake = torch.cat(fakes)
        chosen = torch.randint(len(fake), [count], generator=rng).to(fake.device)  # one row of ws for every picture
        pairs = [run.pools["real"].exchanged(mapped(run.generator, count, rng), rng), run.pools["fake"].exchanged(fake[chosen], rng)]
        gamma = config.r1_gamma * config.r1_every if run.step % config.r1_every == 0 else 0.0
        loss = discriminator_step(run.discriminator, run.discriminator_optimiser, *pairs, r1_gamma=gamma, averaged=average_gradients)
        measured["discriminator"] = [loss]
    return {name: torch.cat(values) for name, values in measured.items()}


def gradient_pass(run: Run, config: EncoderTrainingConfig, batch: Batch, measure: FeatureDistance | None, embedder: Embedder | None,
                  stage: int, *, scale: float) -> tuple[dict[str, Tensor], Tensor | None]:
    """Adds gradients of the batch mean, of every pass; returns loss and parts [N] and ws, detached, of the last one."""
    objective = encoder_objective(config, batch, measure=measure, embedder=embedder, average=run.generator.w_avg, spread=run.spread,
                                  stage=stage, discriminator=run.discriminator)
    device = batch.target.device.type
    values: dict[str, Tensor] = {}
    ws: Tensor | None = None
    with torch.autocast(device, torch.bfloat16, enabled=config.precision == "bf16"):
        for ws, picture in passes_of(run, batch.seen):
            with torch.autocast(device, enabled=False):
                total, parts = objective(Rendering(picture.float(), None if ws is None else ws.float()))
                (total.mean() * scale).backward(inputs=list(run.trained.parameters()))
            values = {"loss": total.detach(), **{name: part.detach() for name, part in parts.items()}}
    return values, None if ws is None else ws.detach().float()


def lr_at(config: EncoderTrainingConfig, nimg: int) -> float:
    """After nimg pictures: constant, then a cosine to 0 over the last decay_kimg."""
    left = config.kimg * 1000 - nimg
    if not config.decay_kimg or left >= config.decay_kimg * 1000:
        return config.lr
    return config.lr * (0.5 - 0.5 * math.cos(math.pi * max(0.0, left) / (config.decay_kimg * 1000)))


def resume(run: Run, config: EncoderTrainingConfig, output: Path, names: dict[str, Any]) -> dict[str, Any]:
    """Fills the run from the state in `output`; returns its facts, {} when there is none."""
    state = output / STATE_FILE
    if not state.exists():
        return {}
    facts = load_state(state, run.networks, run.optimisers, {})
    changeable = ("snapshot_kimg",) if config.decay_kimg else ("snapshot_kimg", "kimg")
    old, new = ({key: value for key, value in values.items() if key not in changeable} for values in (facts["training"], config.to_dict()))
    different = [key for key in new if json.dumps(new[key]) != json.dumps(old.get(key))]
    different += [key for key in ("data", "generator") if facts["names"].get(key) != names[key]]
    if different:
        raise TrainingError(f"{output} holds a run with another {different[0]}; continue with its own options or choose a new folder")
    run.step = int(facts["step"])
    own = output / POOLS_FILE.format(rank())
    if rank() > 0 and own.exists() and load_state(own, {"pools": copy.deepcopy(run.pools)}, {}, {})["step"] == run.step:
        load_state(own, {"pools": run.pools}, {}, {})
    return facts


def open_log(path: Path, step: int) -> Any:
    """The log, cut after `step`, so that steps repeated after a kill appear once."""
    kept = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError):
            break
    path.write_text("".join(line + "\n" for line in kept))
    return path.open("a")


