"""The StyleGAN2 training loop (SG2 Sec. 3; SG2-ADA): one visible loop, exact resume, snapshots, a JSONL log.

Every random number of a step is a function of (seed, step), and every picture shown is a function of (seed, step), so stopping
and resuming equals a straight run.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stylegan_core.data.images import ImageData
from stylegan_core.errors import TrainingError
from stylegan_core.features import Features
from stylegan_core.files import write_json
from stylegan_core.losses.gan import Score, gan_loss
from stylegan_core.networks.build import build
from stylegan_core.networks.layers import checkpoint_layers
from stylegan_core.networks.stylegan2 import random_normal
from stylegan_core.progress import StepInfo
from stylegan_core.training.adaptation import Adaptation
from stylegan_core.training.anchor import anchor_term, complete, paired_distance
from stylegan_core.training.config import TrainingConfig
from stylegan_core.training.distributed import any_stops, average, average_gradients, num_processes, rank
from stylegan_core.training.ema import ema_beta, update_ema
from stylegan_core.training.fitness import check_data, check_resumable
from stylegan_core.training.freeze import frozen_parameters
from stylegan_core.training.micro_batches import MicroBatches
from stylegan_core.training.path_length import path_length_pass
from stylegan_core.training.samples import Samples, Streams, draw_labels, real_batch, uniform
from stylegan_core.training.snapshot import STATE_FILE, snapshot_name, write_snapshot
from stylegan_core.training.state import load_state, read_facts
from stylegan_core.training.steps import discriminator_step, generator_step, mixed_ws, r1_step, track_w_avg


@dataclass
class Run:
    """What a step changes."""

    generator: Any
    average: Any                # the EMA of the generator, which snapshots hold
    discriminator: Any
    optimisers: dict[str, torch.optim.Optimizer]
    frozen: set[nn.Parameter]   # of the discriminator
    pl_mean: Tensor             # running mean of path lengths, []
    augmentation: Adaptation    # of what the discriminator sees
    micro: MicroBatches         # images per pass
    render: Callable[..., Tensor]   # the generator's synthesis.render, compiled where that was asked for
    score: Callable[..., Tensor]    # the discriminator, likewise
    distance: Callable[..., Tensor]  # of the anchor, likewise
    step: int = 0

    @property
    def networks(self) -> dict[str, nn.Module]:
        return {"G": self.generator, "D": self.discriminator, "G_ema": self.average}

    @property
    def values(self) -> dict[str, Tensor]:
        return {"pl_mean": self.pl_mean, "micro_batch": self.micro.value, **self.augmentation.values}

    def update(self, name: str) -> None:
        """A step of the optimiser of 'G' or 'D', by the mean of the processes' gradients."""
        average_gradients(self.networks[name])
        self.optimisers[f"opt_{name}"].step()

    def seen(self, streams: Streams, score: Callable[..., Tensor] | None = None) -> Score:
        """(images, labels) → logits of the augmented images; streams: where the augmentation draws. score: None = that of the run."""
        return self.augmentation.before(score or self.score, streams)


def train_generator(config: TrainingConfig, data: ImageData, output: str | Path, *, device: str = "cpu",
                    transfer: Mapping[str, nn.Module] | None = None,  # {"G", "D"}: start from these weights; None = random
                    features: Features | None = None,  # their distance is added to the anchor's; None = pixels alone
                    callback: Callable[[StepInfo], bool | None] | None = None) -> Path:
    """Trains until config.kimg, resuming from `output` when it holds a state; returns the newest snapshot's path.

    With an anchor weight, data is a PairedData. A callback that returns False stops the run after a snapshot. Raises
    TrainingError when a loss is not finite, naming the last good snapshot, and when `output` holds a run of another configuration.
    """
    output = Path(output)
    config = config.validate()
    check_data(config, data)
    run = start_run(config, device, transfer)
    facts = resume(run, config, data, output)
    output.mkdir(parents=True, exist_ok=True)
    if rank() == 0:
        write_json(output / "config.json", {"training": config.to_dict(), "data": data.name})
    num_steps = int(np.ceil(config.kimg * 1000 / config.batch))
    snapshot_steps = max(1, round(config.snapshot_kimg * 1000 / config.batch))
    before, start, first_step = float(facts.get("seconds", 0.0)), time.monotonic(), run.step
    newest = output / facts["snapshot"] if "snapshot" in facts else None
    log = _open_log(output / ("log.jsonl" if rank() == 0 else f"log.{rank()}.jsonl"), run.step)

    with log:
        while run.step < num_steps:
            measured = train_step(run, config, data, features)
            run.step += 1
            seconds = before + time.monotonic() - start
            values = {name: value.float().mean().item() for name, value in measured.items()}
            if not all(np.isfinite(value) for value in values.values()):
                good = f"the last good snapshot is {newest}" if newest else "there is no snapshot yet"
                raise TrainingError(f"a loss is not finite at step {run.step}: {values}; {good}; try a lower --lr or a higher --gamma")
            record = {"step": run.step, "kimg": run.step * config.batch / 1000, "seconds": round(seconds, 3), **values}
            log.write(json.dumps(record) + "\n")
            info = StepInfo(run.step, num_steps, measured["loss_G"], measured, seconds=seconds)
            keep_going = not any_stops(callback is not None and callback(info) is False)
            if run.step % snapshot_steps == 0 or run.step == num_steps or not keep_going:
                log.flush()
                seen = {"images_per_second": round((run.step - first_step) * config.batch / max(time.monotonic() - start, 1e-9), 2)}
                newest = output / snapshot_name(run.step * config.batch)
                if rank() == 0:
                    write_snapshot(output, run.networks, run.optimisers, run.values, config, data.name,
                                   step=run.step, seconds=seconds, facts=seen)
            if not keep_going:
                break
    assert newest is not None  # the last step writes one
    return newest


def start_run(config: TrainingConfig, device: str, transfer: Mapping[str, nn.Module] | None) -> Run:
    """Networks with the weights of (seed) or of `transfer`, and Adam with the constants of lazy regularisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        generator: Any = build(config.generator)
        discriminator: Any = build(config.discriminator)
    for network, name in ((generator, "G"), (discriminator, "D")):
        if transfer is not None and name in transfer:
            network.load_state_dict(transfer[name].state_dict())
    if config.noise_delay_kimg > 0:
        for name, parameter in generator.named_parameters():
            if name.endswith("noise_strength"):
                nn.init.zeros_(parameter)
    generator, discriminator = generator.to(device).train(), discriminator.to(device).train()
    average = copy.deepcopy(generator).eval().requires_grad_(False)
    frozen = frozen_parameters(discriminator, config.freeze_d)
    for network in (generator.synthesis, discriminator):
        checkpoint_layers(network, config.checkpoint_activations)
    pl_every = config.pl_every if config.pl_weight > 0 else 0
    r1_every = config.r1_every if config.r1_gamma + config.r2_gamma > 0 and config.r1_every > 1 else 0
    optimisers: dict[str, torch.optim.Optimizer] = {
        "opt_G": lazy_adam(generator.parameters(), config, pl_every),
        "opt_D": lazy_adam([p for p in discriminator.parameters() if p not in frozen], config, r1_every)}
    batch = config.batch // num_processes()
    micro = MicroBatches(min(config.micro_batch or batch, batch), min(config.discriminator.mbstd_group_size or batch, batch))
    quick: list[Callable[..., Tensor]] = [generator.synthesis.render, discriminator, paired_distance]
    if config.compile:
        quick = [torch.compile(function, dynamic=False) for function in quick]
    render, score, distance = quick
    return Run(generator, average, discriminator, optimisers, frozen, torch.zeros([], device=device), Adaptation.of(config), micro,
               render, score, distance)


def lazy_adam(parameters: Iterable[nn.Parameter], config: TrainingConfig, every: int) -> torch.optim.Adam:
    """Adam whose constants allow for the extra step that a lazy regulariser adds every k steps (SG2 App. B)."""
    lr, beta2 = lazy_constants(config.lr, config.beta2, every)
    return torch.optim.Adam(parameters, lr=lr, betas=(0.0, beta2), eps=1e-8, fused=True)


def lazy_constants(lr: float, beta2: float, every: int) -> tuple[float, float]:
    """(lr·c, beta2^c) with c = k / (k + 1); every = 0 leaves them as they are."""
    c = every / (every + 1) if every > 0 else 1.0
    return lr * c, beta2**c


def train_step(run: Run, config: TrainingConfig, data: Any, features: Features | None = None) -> dict[str, Tensor]:
    """One step of both networks; returns losses and scores, one value per image."""
    device, batch = run.pl_mean.device, config.batch // num_processes()
    samples = Samples(config.seed, run.step, rank() * batch, device)
    real, c, indices = real_batch(config, data, samples, batch)
    autocast, loss = config.precision == "bf16", gan_loss(config.loss)
    generator, discriminator = run.generator, run.discriminator

    # Generator.
    noise_mode = "random" if run.step * config.batch >= config.noise_delay_kimg * 1000 else "none"
    trains_generator = run.step % config.d_steps == 0 and run.step * config.batch >= config.generator_delay_kimg * 1000
    discriminator.requires_grad_(False)

    def generate(part: slice) -> dict[str, Tensor]:
        streams = samples.streams("generator", part)
        if config.anchor_weight > 0:
            z = complete(torch.from_numpy(data.normals(indices[part])).float(), generator.z_dim, streams).to(device)
        else:
            z = random_normal((len(streams), generator.z_dim), streams).to(device)
        labels, anchor = draw_labels(data, streams, device), None
        with torch.set_grad_enabled(trains_generator), torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            ws = mixed_ws(generator, z, labels, streams, config.mixing_prob)
            styles = generator.synthesis.affine(ws)
            maps = generator.synthesis.noise_maps(styles.float(), noise_mode, rng=samples.streams("noise", part, on_device=True))
            images = run.render(styles, noise_mode="const" if maps else "none", noise=maps).float()
            made = {"images": images.detach(), "labels": labels, "w": ws[:, 0].detach()}
            if config.anchor_weight > 0 and trains_generator:
                apart, term = anchor_term(run.distance, generator, data, indices[part], images, real[part], ws, streams, features)
                made["anchor"], anchor = apart.detach(), config.anchor_weight * term
        if trains_generator:
            made["loss_G"] = generator_step(run.seen(streams), images, labels, loss=loss, anchor=anchor, scale=len(images) / batch,
                                            autocast=autocast)
        return made

    measured = run.micro.run(generator, batch, generate)
    fakes, fake_c = measured.pop("images"), measured.pop("labels")
    track_w_avg(generator.mapping, measured.pop("w"))
    if trains_generator:
        run.update("G")

    # Path length (SG2 Sec. 3.2), every few steps of the generator, weighted up by the interval.
    if config.pl_weight > 0 and run.step // config.d_steps % config.pl_every == 0 and trains_generator:
        measured["path_length"] = regularise_paths(run, config, data, noise_mode)
        run.update("G")

    # Discriminator, on the pictures that the generator has just made, and R1 and R2 (Mescheder et al. 2018), every few steps.
    for parameter in discriminator.parameters():
        parameter.requires_grad_(parameter not in run.frozen)

    def regularise(part: slice) -> dict[str, Tensor]:
        score, scale = run.seen(samples.streams("regulariser", part), discriminator), config.r1_every * len(real[part]) / batch
        found = {}
        if config.r1_gamma > 0:
            found["r1"] = r1_step(score, real[part], c[part], gamma=config.r1_gamma, scale=scale)
        if config.r2_gamma > 0:
            found["r2"] = r1_step(score, fakes[part], fake_c[part], gamma=config.r2_gamma, scale=scale)
        return found

    def judge(part: slice) -> dict[str, Tensor]:
        streams = samples.streams("discriminator", part)
        value, real_logits, fake_logits = discriminator_step(
            run.seen(streams), real[part], fakes[part], c[part], loss=loss, fake_c=fake_c[part],
            critic=run.seen(streams, discriminator), shares=lambda: uniform(streams), scale=len(real[part]) / batch, autocast=autocast)
        penalties = regularise(part) if config.r1_every == 1 else {}
        return {"loss_D": value, "real_logits": real_logits, "fake_logits": fake_logits, **penalties}

    measured |= run.micro.run(discriminator, batch, judge)
    run.update("D")
    if config.r1_every > 1 and run.step % config.r1_every == 0 and config.r1_gamma + config.r2_gamma > 0:
        measured |= run.micro.run(discriminator, batch, regularise)
        run.update("D")

    average([generator.w_avg])
    measured |= run.augmentation.update(measured["real_logits"], config, run.step)
    measured.setdefault("loss_G", loss.generator(measured["fake_logits"][:, None]))
    update_ema(run.average, generator, ema_beta(config.batch, run.step * config.batch, config.ema_kimg, config.ema_rampup))
    return measured


def regularise_paths(run: Run, config: TrainingConfig, data: Any, noise_mode: str) -> Tensor:
    """Adds the gradient of the path-length penalty to the generator; returns the lengths [N] of this process."""
    generator, device = run.generator, run.pl_mean.device
    count = max(1, config.batch // num_processes() // config.pl_batch_shrink)
    samples = Samples(config.seed, run.step, rank() * count, device)

    def render(part: slice) -> tuple[Tensor, Tensor, Tensor]:
        streams = samples.streams("path-length", part)
        z = random_normal((len(streams), generator.z_dim), streams).to(device)
        ws = mixed_ws(generator, z, draw_labels(data, streams, device), streams, config.mixing_prob)
        maps = samples.streams("noise", part, turn=1, on_device=True)
        images = generator.synthesis(ws, noise_mode=noise_mode, rng=maps)  # in full precision, since it differentiates twice
        return images, ws, random_normal(images.shape, maps)

    return path_length_pass(run.micro, generator, render, count, run.pl_mean, weight=config.pl_weight * config.pl_every,
                            decay=config.pl_decay)


def step_seed(seed: int, step: int, process: int = 0) -> int:
    """A 63-bit seed for the random numbers of one step of one process."""
    return int(np.random.SeedSequence([seed, step, 1, process]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def resume(run: Run, config: TrainingConfig, data: ImageData, output: Path) -> dict[str, Any]:
    """Fills the run from the state in `output`; returns its facts, {} when there is none."""
    state = output / STATE_FILE
    if not state.exists():
        return {}
    facts = read_facts(state)
    check_resumable(facts, config, data, output)
    load_state(state, run.networks, run.optimisers, run.values)
    if facts["training"].get("micro_batch") != config.micro_batch:
        run.micro.value.fill_(min(config.micro_batch or config.batch, config.batch // num_processes()))
    run.step = int(facts["step"])
    return facts


def _open_log(path: Path, step: int) -> Any:
    """The log, cut after `step`, so that steps repeated after a kill appear once."""
    kept = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError):
                break
    path.write_text("".join(line + "\n" for line in kept))
    return path.open("a")

