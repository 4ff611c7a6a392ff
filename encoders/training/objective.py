"""What an encoder minimises: pictures, identity, latents that stay near the average, near W and likely (pSp Sec. 3.2, e4e Sec. 4)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.latent_discriminator import LatentDiscriminator
from encoders.training.config import EncoderTrainingConfig
from encoders.training.dataset import Batch
from stylegan_core.losses.adversarial import logistic_discriminator
from stylegan_core.losses.identity import Embedder, identity_to
from stylegan_core.losses.perceptual import FeatureDistance, distance_to
from stylegan_core.losses.pixel import mean_square
from stylegan_core.losses.term import LossFunction, LossTerm, Objective, Rendering

LARGEST_SIDE = 256  # of pictures for the perceptual distance


def encoder_objective(config: EncoderTrainingConfig, batch: Batch, *, measure: FeatureDistance | None, embedder: Embedder | None,
                      average: Tensor, spread: float, stage: int, discriminator: LatentDiscriminator | None) -> Objective:
    """The weighted terms for these pictures. average: [w_dim]; spread: of w around it; stage: rows of e4e that have a delta."""
    functions: dict[str, LossFunction] = {"pixel": lambda r: mean_square(r.images, batch.target)}
    if config.perceptual and measure is not None:
        measured = distance_to(measure, batch.target, largest_side=LARGEST_SIDE)
        functions["perceptual"] = lambda r: measured(r.images)
    if config.identity and embedder is not None:
        identity = identity_to(embedder, batch.target)
        functions["identity"] = lambda r: identity(r.images)
    functions["w_norm"] = lambda r: w_norm(rows_of(r), average)
    functions["latent"] = lambda r: latent_distance(rows_of(r), batch.ws, spread)
    functions["delta"] = lambda r: delta_norm(rows_of(r), stage)
    if discriminator is not None:
        functions["adversarial"] = lambda r: likelihood(discriminator, rows_of(r), stage)
    return Objective([LossTerm(name, getattr(config, name), function) for name, function in functions.items() if getattr(config, name)])


def rows_of(rendering: Rendering) -> Tensor:
    """ws [N, num_ws, w_dim] of a rendering that has them."""
    assert rendering.ws is not None
    return rendering.ws


def w_norm(ws: Tensor, average: Tensor) -> Tensor:
    """Distance of all rows together from the average, [N] (pSp Eq. 3)."""
    return (ws - average).flatten(1).norm(dim=1)


def latent_distance(ws: Tensor, truth: Tensor, spread: float) -> Tensor:
    """Mean square over rows of the distance to the true ws, in units of the spread, [N]; 0 for pictures without truth."""
    known = ((ws[: len(truth)] - truth) / spread).square().sum(dim=2).mean(dim=1)
    return F.pad(known, (0, len(ws) - len(truth)))


def delta_norm(ws: Tensor, stage: int) -> Tensor:
    """Sum over the rows that have a delta of its length, [N] (e4e Eq. 5)."""
    deltas = ws[:, 1 : stage + 1] - ws[:, :1]
    return (deltas.square().sum(dim=2) + 1e-12).sqrt().sum(dim=1)


def likelihood(discriminator: LatentDiscriminator, ws: Tensor, stage: int) -> Tensor:
    """Mean over the rows in use of -log D(w), [N] (e4e Eq. 4)."""
    rows = ws[:, : stage + 1]
    return F.softplus(-discriminator(rows.flatten(0, 1))).view(rows.shape[:2]).mean(dim=1)


def discriminator_step(discriminator: LatentDiscriminator, optimiser: torch.optim.Optimizer, real: Tensor, fake: Tensor, *,
                       r1_gamma: float, averaged: Any) -> Tensor:
    """One step on w [N, w_dim] of the mapping and of the encoder; loss [N]. r1_gamma: 0 = no penalty in this step.

    averaged: called with the discriminator before it moves, so that processes agree.
    """
    optimiser.zero_grad(set_to_none=True)
    real = real.detach().requires_grad_(r1_gamma > 0)
    real_logits = discriminator(real)
    loss = logistic_discriminator(real_logits, discriminator(fake.detach()))
    total = loss
    if r1_gamma:
        (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
        total = loss + r1_gamma / 2 * gradient.square().sum(dim=1)
    total.mean().backward()
    averaged(discriminator)
    optimiser.step()
    return loss.detach()
