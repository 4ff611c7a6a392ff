"""A start for a generator where every training picture comes with its own z: regression from z to picture.

Pictures that a program draws from random numbers have a natural z, the numbers themselves. A few thousand steps of regression
(as Bojanowski et al. 2018 do with learned z) give the adversarial training a generator that already places faces, which on two
CPU cores is worth hours. It blurs what z does not determine; the adversarial training that follows draws it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from stylegan_core.checkpoints.native import save_native
from stylegan_core.data.images import batch_indices
from stylegan_core.errors import UsageError
from stylegan_core.features import Features
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN2Config, StyleGAN3Config
from stylegan_core.progress import StepInfo
from stylegan_core.provenance import version
from stylegan_core.training.anchor import TWIN_WEIGHT, PairedData, complete, paired_distance, twin_distance
from stylegan_core.training.distributed import average, average_gradients, num_processes, rank
from stylegan_core.training.ema import training_render, update_ema
from stylegan_core.training.loop import step_seed
from stylegan_core.training.snapshot import save_samples

MAPPING_LR_FACTOR = 0.3   # of the synthesis network's rate, in units of the effective weights
MAPPING_STEPS = 10_000  # at most, and per kimg of the regression:
MAPPING_STEPS_PER_KIMG = 100
MAPPING_LR = 0.25  # in units of the effective weights; at 0.003 half of whether glasses are worn is lost, however many the steps
W_AVG_SAMPLES = 10_000


def fit_mapping(generator: Any, data: PairedData, *, seed: int = 0, num_steps: int = MAPPING_STEPS, batch: int = 512,
                lr: float = MAPPING_LR) -> float:
    """Trains the mapping network so that w holds, linearly, what the picture of z shows; returns the share of it that is missing.

    A mapping that starts at random soon maps to nothing what the synthesis network does not draw yet, and what is not in w
    is never drawn: glasses and hats stay away.
    """
    mapping, device = generator.mapping, generator.w_avg.device
    if mapping.num_layers == 0:
        raise UsageError("a warm start fits the mapping network first, and this generator has none; leave --warm-start-kimg out")
    rng = torch.Generator().manual_seed(step_seed(seed, 0, 1 << 20))
    width = data.shown([0]).shape[1]
    directions = torch.linalg.qr(torch.randn(mapping.w_dim, width, generator=rng))[0].t().to(device)
    directions = directions * math.sqrt(mapping.w_dim / width)  # w of unit mean square
    rate = lr / generator.config.mapping_lr_multiplier
    optimiser = torch.optim.Adam(mapping.parameters(), lr=rate, betas=(0.9, 0.99))
    missing = 1.0
    for step in range(num_steps):
        optimiser.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / num_steps))
        indices = batch_indices(len(data), batch, step, seed)
        z = complete(torch.from_numpy(data.normals(indices)).float(), mapping.z_dim, rng).to(device)
        target = torch.from_numpy(data.shown(indices)).float().to(device) @ directions
        loss = (mapping.to_w(z) - target).square().sum(dim=1).mean() / mapping.w_dim
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        missing = loss.item()
    return missing


def warm_start(config: StyleGAN2Config | StyleGAN3Config, data: PairedData, output: str | Path, *, kimg: float, batch: int = 16,
               lr: float = 0.004, seed: int = 0, precision: str = "fp32", compile: bool = False, device: str = "cpu",
               features: Features | None = None,  # their distance is added; None = the pyramid alone
               start: nn.Module | None = None,    # weights to begin with, mapping fitted; None = random
               callback: Callable[[StepInfo], bool | None] | None = None) -> Path:
    """Fits the mapping, then trains G(z_i) = x_i for kimg thousand images; writes output/warm-start.safetensors, returns its path.

    A callback that returns False ends the regression early; what it has reached is written.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator: Any = build(config)
    if start is not None:
        generator.load_state_dict(start.state_dict())
    generator.to(device).train()
    if start is None:
        fit_mapping(generator, data, seed=seed, num_steps=min(MAPPING_STEPS, math.ceil(kimg * MAPPING_STEPS_PER_KIMG)))
    average_generator: Any = build(config).to(device).requires_grad_(False)
    average_generator.load_state_dict(generator.state_dict())
    mapping_lr = lr * MAPPING_LR_FACTOR / config.mapping_lr_multiplier
    optimiser = torch.optim.Adam([{"params": generator.synthesis.parameters(), "lr": lr},
                                  {"params": generator.mapping.parameters(), "lr": mapping_lr}], betas=(0.9, 0.99))
    render = training_render(generator)
    distance = paired_distance
    if compile:
        render, distance = torch.compile(render, dynamic=False), torch.compile(distance, dynamic=False)
    rates = [group["lr"] for group in optimiser.param_groups]
    num_steps, share, began = math.ceil(kimg * 1000 / batch), batch // num_processes(), time.monotonic()
    with (output / f"warm-start.{rank()}.jsonl").open("w") as log:
        for step in range(num_steps):
            for group, rate in zip(optimiser.param_groups, rates):
                group["lr"] = rate * min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / num_steps)))
            rng = torch.Generator().manual_seed(step_seed(seed, step, rank()))
            indices = batch_indices(len(data), batch, step, seed)[rank() * share : (rank() + 1) * share]
            target = torch.from_numpy(data.images_u8(indices)).to(device).float() / 127.5 - 1
            twins = data.twins(indices, np.random.default_rng([seed, step, rank()]))
            z, other = (complete(torch.from_numpy(numbers).float(), config.z_dim, rng).to(device)
                        for numbers in (data.normals(indices), twins))
            ws = generator.mapping(z)
            with torch.autocast(target.device.type, torch.bfloat16, enabled=precision == "bf16"):
                images = render(generator.synthesis.affine(ws), noise_mode="none").float()
                loss = distance(images, target, features)
            apart = twin_distance(ws[:, 0], generator.mapping.to_w(other))
            loss = loss + TWIN_WEIGHT * apart
            optimiser.zero_grad(set_to_none=True)
            loss.mean().backward()
            average_gradients(generator)
            optimiser.step()
            update_ema(average_generator, generator, 0.999 if step > 2000 else 0.98)
            psnr = -10 * torch.log10(((images - target).square().mean(dim=[1, 2, 3]) / 4).detach())
            info = StepInfo(step + 1, num_steps, loss.detach(), {"twins": apart.detach()}, psnr, time.monotonic() - began)
            record = {"step": step + 1, "loss": loss.mean().item(), "psnr": psnr.mean().item(), "twins": apart.mean().item(),
                      "seconds": info.seconds}
            log.write(json.dumps(record) + "\n")
            if callback is not None and callback(info) is False:
                break
    return _finish(average_generator, data.name, output, kimg=kimg, seconds=time.monotonic() - began)


@torch.no_grad()
def _finish(generator: Any, data: str, output: Path, *, kimg: float, seconds: float) -> Path:
    generator.eval()
    z = torch.from_numpy(np.random.RandomState(0).randn(W_AVG_SAMPLES, generator.z_dim)).to(generator.w_avg)
    generator.mapping.w_avg.copy_(generator.mapping.to_w(z).mean(dim=0))
    average([generator.w_avg])
    path = output / "warm-start.safetensors"
    if rank() == 0:
        facts = {"trainer": version(), "data": data, "method": "regression from z to picture", "kimg": kimg, "seconds": round(seconds, 1)}
        save_native(generator, path, provenance=facts)
        save_samples(generator, output / "warm-start.png")
    return path
