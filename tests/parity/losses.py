"""Training losses, lazy regularisers, EMA and Adam constants against golden/train."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from stylegan_core.losses.adversarial import path_lengths
from stylegan_core.training.ema import ema_beta
from stylegan_core.training.run import lazy_constants
from stylegan_core.training.steps import discriminator_step, generator_step, path_length_step, r1_step
from tests.parity.networks import discriminator_config, generator_config, load
from tests.parity.rows import Row, arrays, compare, filled, table

PEER = "stylegan2-ada-pytorch d72cc7d0"


def rows() -> Iterator[Row]:
    yield from step_rows()
    yield from schedule_rows()
    yield from w_avg_rows()


def step_rows() -> Iterator[Row]:
    """Every phase of a training step: losses per image and the norm of every parameter's gradient."""
    data = {key: torch.from_numpy(np.array(value)) for key, value in arrays("train/losses").items()}
    info = table("train/losses")
    arguments, state = filled("train/tiny_G")
    generator = load(generator_config(arguments), state)
    arguments, state = filled("train/tiny_D")
    discriminator = load(discriminator_config(arguments), state)
    z, real, noise = data["z"], data["real"], data["pl_noise_unscaled"]

    def gradients(phase: str, network: torch.nn.Module) -> Iterator[Row]:
        for key, (norm, total) in info["param_grad_norm_and_sum"].items():
            if key.startswith(f"{phase}/"):
                grad = dict(network.named_parameters())[key.split("/", 1)[1]].grad
                ours = torch.zeros(2) if grad is None else torch.stack([grad.norm(), grad.sum()])
                scale = max(abs(norm), 1e-6)
                yield compare(f"train/losses {key} gradient", PEER, ours, [norm, total], absolute=1e-3 * scale + 1e-7,
                              tolerance="norm 1e-3 rel")
        network.zero_grad(set_to_none=True)

    def loss_row(key: str, ours: torch.Tensor) -> Row:
        return compare(f"train/losses {key}", PEER, ours.reshape(data[key].shape), data[key], absolute=1e-5, relative=1e-4)

    fakes = generator.synthesis(generator.mapping(z), noise_mode="const")
    yield loss_row("Gmain__Loss_G_loss", generator_step(discriminator, fakes, None))
    yield from gradients("Gmain", generator)
    discriminator.zero_grad(set_to_none=True)
    for phase in ("Greg", "Greg2"):
        ws = generator.mapping(z[:2])
        images = generator.synthesis(ws, noise_mode="const")
        lengths, mean = path_length_step(images, ws, noise, data[f"{phase}_pl_mean_before"], weight=info["pl_weight"],
                                         decay=info["pl_decay"])
        yield loss_row(f"{phase}_pl_mean_after", mean)
        yield loss_row(f"{phase}__Loss_pl_penalty", (lengths - mean).square())
        if phase == "Greg":
            yield loss_row("pl_lengths", lengths)
        yield from gradients(phase, generator)
    loss, real_logits, fake_logits = discriminator_step(discriminator, real, fakes.detach(), None)
    yield loss_row("Dmain__Loss_D_loss", loss)
    yield loss_row("Dmain__Loss_scores_real", real_logits)
    yield loss_row("Dmain__Loss_scores_fake", fake_logits)
    yield from gradients("Dmain", discriminator)
    yield loss_row("Dreg__Loss_r1_penalty", r1_step(discriminator, real, None, gamma=info["r1_gamma"]))
    yield from gradients("Dreg", discriminator)
    ws = data["pl_ws"].requires_grad_()
    yield loss_row("pl_lengths", path_lengths(generator.synthesis(ws, noise_mode="const"), ws, noise))


def schedule_rows() -> Iterator[Row]:
    data = arrays("train/projector_schedules")
    for lr, _, beta2, every, lr_lazy, _, beta2_lazy in data["lazy_lr_b1_b2_interval__lr_b1_b2"]:
        ours = lazy_constants(lr, beta2, int(every))
        yield compare(f"train/projector_schedules lazy {every:g}", PEER, ours, [lr_lazy, beta2_lazy], absolute=1e-8)
    for kimg, rampup, batch, nimg, beta in data["ema_kimg_rampup_batch_curnimg_beta"]:
        ours = ema_beta(int(batch), int(nimg), kimg, None if rampup < 0 else rampup)
        yield compare(f"train/projector_schedules ema {kimg:g}/{rampup:g}/{nimg:g}", PEER, [ours], [beta], absolute=1e-9)


def w_avg_rows() -> Iterator[Row]:
    data = {key: torch.from_numpy(np.array(value)) for key, value in arrays("train/w_avg_update").items()}
    arguments, state = filled("train/tiny_G")
    generator = load(generator_config(arguments), state)
    generator.mapping.w_avg.copy_(data["before"])
    generator.mapping.w_avg_beta = float(data["beta"])
    generator.mapping(data["z"], update_emas=True)
    yield compare("train/w_avg_update", PEER, generator.w_avg, data["after"], absolute=1e-5, relative=1e-4)
