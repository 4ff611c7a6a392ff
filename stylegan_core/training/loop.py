"""The training loop of the StyleGAN line (SG2 Sec. 3; SG2-ADA; SG App. C): one visible loop, exact resume, snapshots, a JSONL log.

Every random number of a step is a function of (seed, step, number of the sample), and every picture shown is a function of
(seed, step), so stopping and resuming equals a straight run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stylegan_core.data.images import ImageData
from stylegan_core.errors import TrainingError
from stylegan_core.features import Features
from stylegan_core.files import write_json
from stylegan_core.losses.gan import gan_loss
from stylegan_core.networks.noise_inputs import random_normal
from stylegan_core.progress import StepInfo
from stylegan_core.training.anchor import anchor_term, complete
from stylegan_core.training.config import TrainingConfig
from stylegan_core.training.distributed import any_stops, average, num_processes, rank
from stylegan_core.training.ema import ema_beta, running_means, update_ema
from stylegan_core.training.fitness import check_data
from stylegan_core.training.growing import Stage, begin_step, is_snapshot_due, nimg_at, num_steps, stage_at
from stylegan_core.training.path_length import path_length_pass
from stylegan_core.training.run import Run, resume, start_run
from stylegan_core.training.samples import Samples, draw_labels, real_batch, uniform
from stylegan_core.training.snapshot import snapshot_name, write_snapshot
from stylegan_core.training.steps import discriminator_step, generator_step, gradient_penalty_step, mixed_ws, r1_step, track_w_avg


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
    last_step = num_steps(config)
    before, start, first_nimg = float(facts.get("seconds", 0.0)), time.monotonic(), nimg_at(config, run.step)
    newest = output / facts["snapshot"] if "snapshot" in facts else None
    log = _open_log(output / ("log.jsonl" if rank() == 0 else f"log.{rank()}.jsonl"), run.step)

    with log:
        while run.step < last_step:
            measured = train_step(run, config, data, features)
            run.step += 1
            seconds = before + time.monotonic() - start
            values = {name: value.float().mean().item() for name, value in measured.items()}
            if not all(np.isfinite(value) for value in values.values()):
                good = f"the last good snapshot is {newest}" if newest else "there is no snapshot yet"
                raise TrainingError(f"a loss is not finite at step {run.step}: {values}; {good}; try a lower --lr or a higher --gamma")
            nimg = nimg_at(config, run.step)
            record = {"step": run.step, "kimg": nimg / 1000, "seconds": round(seconds, 3), **values}
            log.write(json.dumps(record) + "\n")
            info = StepInfo(run.step, last_step, measured["loss_G"], measured, seconds=seconds)
            keep_going = not any_stops(callback is not None and callback(info) is False)
            if is_snapshot_due(config, run.step) or run.step == last_step or not keep_going:
                log.flush()
                seen = {"images_per_second": round((nimg - first_nimg) / max(time.monotonic() - start, 1e-9), 2)}
                newest = output / snapshot_name(nimg)
                if rank() == 0:
                    write_snapshot(output, run.networks, run.optimisers, run.values, config, data.name,
                                   step=run.step, seconds=seconds, facts=seen)
            if not keep_going:
                break
    assert newest is not None  # the last step writes one
    return newest


def train_step(run: Run, config: TrainingConfig, data: Any, features: Features | None = None) -> dict[str, Tensor]:
    """One step of both networks; returns losses and scores, one value per image."""
    stage = stage_at(config, run.step)
    begin_step(run.optimisers, config, stage)
    device, batch = run.pl_mean.device, stage.batch // num_processes()
    samples = Samples(config.seed, run.step, rank() * batch, device)
    real, c, indices = real_batch(config, stage, data, samples, batch)
    autocast, loss = config.precision == "bf16", gan_loss(config.loss)
    generator, discriminator = run.generator, run.discriminator

    # Generator.
    noise_mode = "random" if stage.nimg >= config.noise_delay_kimg * 1000 else "none"
    trains_generator = run.step % config.d_steps == 0 and stage.nimg >= config.generator_delay_kimg * 1000
    discriminator.requires_grad_(False)

    def generate(part: slice) -> dict[str, Tensor]:
        streams = samples.streams("generator", part)
        if config.anchor_weight > 0:
            z = complete(torch.from_numpy(data.normals(indices[part])).float(), generator.z_dim, streams).to(device)
        else:
            z = random_normal((len(streams), generator.z_dim), streams).to(device)
        labels, anchor = draw_labels(data, streams, device), None
        with torch.set_grad_enabled(trains_generator), torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            ws = mixed_ws(generator, z, labels, streams, config.mixing_prob, stage.num_rows(generator.num_ws))
            styles, drawn = generator.synthesis.affine(ws), samples.streams("noise", part, on_device=True)
            maps = generator.synthesis.noise_maps(styles.float(), noise_mode, rng=drawn, **stage.options)
            images = run.render(styles, noise_mode="const" if maps else "none", noise=maps, **stage.options).float()
            made = {"images": images.detach(), "labels": labels, "w": ws[:, 0].detach()}
            if config.anchor_weight > 0 and trains_generator:
                apart, term = anchor_term(run.distance, generator, data, indices[part], images, real[part], ws, streams, features)
                made["anchor"], anchor = apart.detach(), config.anchor_weight * term
        if trains_generator:
            made["loss_G"] = generator_step(run.seen(config, stage, streams), images, labels, loss=loss, anchor=anchor,
                                            scale=len(images) / batch, autocast=autocast)
        return made

    measured = run.micro.run(generator, batch, generate)
    fakes, fake_c = measured.pop("images"), measured.pop("labels")
    track_w_avg(generator.mapping, measured.pop("w"))
    if trains_generator:
        run.update("G")

    # Path length (SG2 Sec. 3.2), every few steps of the generator, weighted up by the interval.
    if config.pl_weight > 0 and run.step // config.d_steps % config.pl_every == 0 and trains_generator:
        measured["path_length"] = regularise_paths(run, config, stage, data, noise_mode)
        run.update("G")

    # Discriminator, on the pictures that the generator has just made, and R1 and R2 (Mescheder et al. 2018), every few steps.
    for parameter in discriminator.parameters():
        parameter.requires_grad_(parameter not in run.frozen)

    def regularise(part: slice) -> dict[str, Tensor]:
        score = run.seen(config, stage, samples.streams("regulariser", part), discriminator)
        scale, found = config.r1_every * len(real[part]) / batch, {}
        if config.r1_gamma > 0:
            found["r1"] = r1_step(score, real[part], c[part], gamma=config.r1_gamma, scale=scale)
        if config.r2_gamma > 0:
            found["r2"] = r1_step(score, fakes[part], fake_c[part], gamma=config.r2_gamma, scale=scale)
        return found

    def discriminate(part: slice) -> dict[str, Tensor]:
        streams, scale = samples.streams("discriminator", part), len(real[part]) / batch
        value, real_logits, fake_logits = discriminator_step(run.seen(config, stage, streams), real[part], fakes[part], c[part], loss=loss,
                                                             fake_c=fake_c[part], scale=scale, autocast=autocast)
        penalties = regularise(part) if config.r1_every == 1 else {}
        if loss.penalty is not None:
            critic, shares = run.seen(config, stage, streams, discriminator), uniform(streams)
            penalties["gradient_penalty"] = gradient_penalty_step(loss.penalty, critic, real[part], fakes[part], c[part], shares,
                                                                  scale=scale)
        return {"loss_D": value, "real_logits": real_logits, "fake_logits": fake_logits, **penalties}

    measured |= run.micro.run(discriminator, batch, discriminate)
    run.update("D")
    if config.r1_every > 1 and run.step % config.r1_every == 0 and config.r1_gamma + config.r2_gamma > 0:
        measured |= run.micro.run(discriminator, batch, regularise)
        run.update("D")

    average(running_means(generator))
    measured |= run.augmentation.update(measured["real_logits"], config, run.step)
    measured.setdefault("loss_G", loss.generator(measured["fake_logits"][:, None]))
    update_ema(run.average, generator, ema_beta(stage.batch, stage.nimg, config.ema_kimg, config.ema_rampup))
    return measured


def regularise_paths(run: Run, config: TrainingConfig, stage: Stage, data: Any, noise_mode: str) -> Tensor:
    """Adds the gradient of the path-length penalty to the generator; returns the lengths [N] of this process."""
    generator, device = run.generator, run.pl_mean.device
    count = max(1, stage.batch // num_processes() // config.pl_batch_shrink)
    samples = Samples(config.seed, run.step, rank() * count, device)

    def render(part: slice) -> tuple[Tensor, Tensor, Tensor]:
        streams = samples.streams("path-length", part)
        z = random_normal((len(streams), generator.z_dim), streams).to(device)
        ws = mixed_ws(generator, z, draw_labels(data, streams, device), streams, config.mixing_prob, stage.num_rows(generator.num_ws))
        maps = samples.streams("noise", part, turn=1, on_device=True)
        images = generator.synthesis(ws, noise_mode=noise_mode, rng=maps, **stage.options)  # in full precision: differentiated twice
        return images, ws, random_normal(images.shape, maps)

    return path_length_pass(run.micro, generator, render, count, run.pl_mean, weight=config.pl_weight * config.pl_every,
                            decay=config.pl_decay)


def step_seed(seed: int, step: int, process: int = 0) -> int:
    """A 63-bit seed for the random numbers of one step of one process."""
    return int(np.random.SeedSequence([seed, step, 1, process]).generate_state(1, np.uint64)[0] >> np.uint64(1))


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

