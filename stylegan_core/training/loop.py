"""The StyleGAN2 training loop (SG2 Sec. 3; SG2-ADA): one visible loop, exact resume, snapshots, a JSONL log.

Every random number of a step is a function of (seed, step), and every picture shown is a function of (seed, step), so stopping
and resuming equals a straight run.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stylegan_core.data.images import ImageData, stream_indices
from stylegan_core.errors import TrainingError, UsageError
from stylegan_core.features import Features
from stylegan_core.files import write_json
from stylegan_core.networks.build import build
from stylegan_core.progress import StepInfo
from stylegan_core.training.anchor import TWIN_WEIGHT, complete, paired_distance, twin_distance
from stylegan_core.training.blur import blur_sigma_at, blurred
from stylegan_core.training.config import TrainingConfig
from stylegan_core.training.distributed import any_stops, average, average_gradients, num_processes, rank
from stylegan_core.training.ema import ema_beta, running_means, training_render, update_ema
from stylegan_core.training.growing import at_level, begin_step, is_snapshot_due, nimg_at, num_steps, stage_at
from stylegan_core.training.snapshot import STATE_FILE, snapshot_name, write_snapshot
from stylegan_core.training.state import load_state
from stylegan_core.training.steps import (
    discriminator_step,
    generator_step,
    gradient_penalty_step,
    mixed_ws,
    path_length_step,
    r1_step,
)


@dataclass
class Run:
    """What a step changes."""

    generator: Any
    average: Any                # the EMA of the generator, which snapshots hold
    discriminator: Any
    optimisers: dict[str, torch.optim.Optimizer]
    pl_mean: Tensor             # running mean of path lengths, []
    render: Callable[..., Tensor]   # the generator's synthesis.render, compiled where that was asked for
    score: Callable[..., Tensor]    # the discriminator, likewise
    distance: Callable[..., Tensor]  # of the anchor, likewise
    step: int = 0

    @property
    def networks(self) -> dict[str, nn.Module]:
        return {"G": self.generator, "D": self.discriminator, "G_ema": self.average}

    @property
    def values(self) -> dict[str, Tensor]:
        return {"pl_mean": self.pl_mean}


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
    if data.resolution != config.generator.img_resolution:
        raise UsageError(f"the pictures are {data.resolution} px, the generator makes {config.generator.img_resolution} px")
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
    pl_every = config.pl_every if config.pl_weight > 0 else 0
    optimisers: dict[str, torch.optim.Optimizer] = {
        "opt_G": lazy_adam(generator, config, pl_every),
        "opt_D": lazy_adam(discriminator, replace(config, lr=config.d_lr or config.lr), config.r1_every)}
    quick: list[Callable[..., Tensor]] = [training_render(generator), discriminator, paired_distance]
    if config.compile:
        quick = [torch.compile(function, dynamic=False) for function in quick]
    render, score, distance = quick
    return Run(generator, average, discriminator, optimisers, torch.zeros([], device=device), render, score, distance)


def lazy_adam(network: nn.Module, config: TrainingConfig, every: int) -> torch.optim.Adam:
    """Adam whose constants allow for the extra step that a lazy regulariser adds every k steps (SG2 App. B)."""
    lr, beta2 = lazy_constants(config.lr, config.beta2, every if every > 1 else 0)
    return torch.optim.Adam(network.parameters(), lr=lr, betas=(0.0, beta2), eps=1e-8, fused=True)


def lazy_constants(lr: float, beta2: float, every: int) -> tuple[float, float]:
    """(lr·c, beta2^c) with c = k / (k + 1); every = 0 leaves them as they are."""
    c = every / (every + 1) if every > 0 else 1.0
    return lr * c, beta2**c


def train_step(run: Run, config: TrainingConfig, data: Any, features: Features | None = None) -> dict[str, Tensor]:
    """One step of both networks; returns losses and scores, one value per image."""
    stage = stage_at(config, run.step)
    begin_step(run.optimisers, config, stage)
    device, batch = run.pl_mean.device, stage.batch // num_processes()
    micro = min(config.micro_batch or batch, batch)
    rng = torch.Generator().manual_seed(step_seed(config.seed, run.step, rank()))
    indices = stream_indices(len(data), stage.batch, stage.nimg, config.seed)[rank() * batch : (rank() + 1) * batch]
    real = at_level(torch.from_numpy(data.images_u8(indices)).to(device).float() / 127.5 - 1, stage.lod)
    if config.mirror:
        real = torch.where((torch.rand([batch, 1, 1, 1], generator=rng) < 0.5).to(device), real.flip(3), real)
    c = None  # TrainingConfig.validate refuses conditional networks
    autocast = config.precision == "bf16"
    generator, discriminator, num_rows = run.generator, run.discriminator, run.generator.num_ws - 2 * int(stage.lod)
    sigma = blur_sigma_at(stage.nimg, config.blur_sigma, config.blur_fade_kimg)
    score, penalised = (blurred(partial(network, **stage.options), sigma) for network in (run.score, discriminator))
    measured: dict[str, list[Tensor]] = {}

    # Generator.
    noise_mode = "random" if stage.nimg >= config.noise_delay_kimg * 1000 else "none"
    trains_generator = stage.nimg >= config.generator_delay_kimg * 1000
    discriminator.requires_grad_(False)
    run.optimisers["opt_G"].zero_grad(set_to_none=True)
    fakes = []
    for first in range(0, batch, micro):
        if config.anchor_weight > 0:
            z = complete(torch.from_numpy(data.normals(indices[first : first + micro])).float(), generator.z_dim, rng)
        else:
            z = torch.randn([micro, generator.z_dim], generator=rng)
        anchor = None
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            ws = mixed_ws(generator, z.to(device), c, rng, config.mixing_prob, update_emas=True, num_rows=num_rows)
            styles = generator.synthesis.affine(ws)
            maps = generator.synthesis.noise_maps(styles.float(), noise_mode, rng=rng, **stage.options)
            images = run.render(styles, noise_mode="const" if maps else "none", noise=maps, **stage.options).float()
            if config.anchor_weight > 0:
                is_single = (ws == ws[:, :1]).flatten(1).all(dim=1)  # mixed ones have no picture of their own
                distance = run.distance(images, real[first : first + micro], features) * is_single
                anchor = config.anchor_weight * (distance + twin_term(generator, data, indices[first : first + micro], ws, rng))
                _append(measured, anchor=distance)
        _append(measured, loss_G=generator_step(score, images, c, anchor=anchor, scale=micro / batch, autocast=autocast, loss=config.loss))
        fakes.append(images.detach())
    if trains_generator:
        average_gradients(generator)
        run.optimisers["opt_G"].step()

    # Path length (SG2 Sec. 3.2), every few steps, weighted up by the interval.
    if config.pl_weight > 0 and run.step % config.pl_every == 0 and trains_generator:
        run.optimisers["opt_G"].zero_grad(set_to_none=True)
        z = torch.randn([max(1, batch // config.pl_batch_shrink), generator.z_dim], generator=rng).to(device)
        ws = mixed_ws(generator, z, c, rng, config.mixing_prob, num_rows=num_rows)
        images = generator.synthesis(ws, noise_mode=noise_mode, rng=rng, **stage.options)  # in full precision: differentiated twice
        noise = torch.randn(images.shape, generator=rng).to(images)
        lengths, mean = path_length_step(images, ws, noise, run.pl_mean, weight=config.pl_weight, decay=config.pl_decay,
                                         scale=config.pl_every)
        run.pl_mean.copy_(mean)
        average_gradients(generator)
        run.optimisers["opt_G"].step()
        _append(measured, path_length=lengths)

    # Discriminator, on the pictures that the generator has just made.
    discriminator.requires_grad_(True)
    run.optimisers["opt_D"].zero_grad(set_to_none=True)
    for index, first in enumerate(range(0, batch, micro)):
        loss, real_logits, fake_logits = discriminator_step(
            score, real[first : first + micro], fakes[index], c, scale=micro / batch, autocast=autocast, loss=config.loss)
        _append(measured, loss_D=loss, real_logits=real_logits, fake_logits=fake_logits)
        if config.loss == "wgan-gp":
            _append(measured, gradient_penalty=gradient_penalty_step(
                penalised, real[first : first + micro], fakes[index], c, rng, scale=micro / batch))
    if config.r1_every != 1:
        average_gradients(discriminator)
        run.optimisers["opt_D"].step()

    # R1 (Mescheder et al. 2018), every few steps, weighted up by the interval; or every step, together with the loss.
    if config.r1_every > 0 and run.step % config.r1_every == 0:
        if config.r1_every > 1:
            run.optimisers["opt_D"].zero_grad(set_to_none=True)
        for first in range(0, batch, micro):
            penalty = r1_step(penalised, real[first : first + micro], c, gamma=config.r1_gamma,
                              scale=config.r1_every * micro / batch)
            _append(measured, r1=penalty)
        average_gradients(discriminator)
        run.optimisers["opt_D"].step()

    average([run.pl_mean, *running_means(generator)])
    update_ema(run.average, generator, ema_beta(stage.batch, stage.nimg, config.ema_kimg, config.ema_rampup))
    return {name: torch.cat(values) for name, values in measured.items()}


def twin_term(generator: Any, data: Any, indices: np.ndarray, ws: Tensor, rng: torch.Generator) -> Tensor:
    """[N]: how far apart in W the z of these pictures and other z of the same pictures are; ws: [N, num_ws, w_dim] of the first."""
    numbers = np.random.default_rng(int(torch.randint(2**62, [], generator=rng)))
    z = complete(torch.from_numpy(data.twins(indices, numbers)).float(), generator.z_dim, rng).to(ws.device)
    return TWIN_WEIGHT * twin_distance(ws[:, 0], generator.mapping.to_w(z))


def step_seed(seed: int, step: int, process: int = 0) -> int:
    """A 63-bit seed for the random numbers of one step of one process."""
    return int(np.random.SeedSequence([seed, step, 1, process]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def resume(run: Run, config: TrainingConfig, data: ImageData, output: Path) -> dict[str, Any]:
    """Fills the run from the state in `output`; returns its facts, {} when there is none."""
    state = output / STATE_FILE
    if not state.exists():
        return {}
    facts = load_state(state, run.networks, run.optimisers, run.values)
    changeable = ("kimg", "snapshot_kimg")
    old, new = ({key: value for key, value in values.items() if key not in changeable} for values in (facts["training"], config.to_dict()))
    different = [key for key in new if json.dumps(new[key]) != json.dumps(old.get(key))]
    if facts["data"] != data.name:
        different.append("data")
    if different:
        raise TrainingError(f"{output} holds a run with another {different[0]}; continue with its own options or choose a new folder")
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


def _append(measured: dict[str, list[Tensor]], **values: Tensor) -> None:
    for name, value in values.items():
        measured.setdefault(name, []).append(value.detach())
