"""What projectors share: the Protocol, the problem, the candidates that move, and how progress is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from stylegan_core.generator import Generator
from stylegan_core.images import to_rgb, to_u8
from stylegan_core.input_transform import BUFFER, delta_of
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.losses.perceptual import FeatureDistance
from stylegan_core.losses.registry import Goal, build_objective
from stylegan_core.losses.term import Objective, Rendering
from stylegan_core.metrics.reconstruction import psnr
from stylegan_core.progress import Callback, StepInfo
from stylegan_core.weight_deltas import call_with

if TYPE_CHECKING:
    from invert.projectors.start import WSamples
    from stylegan_core.inversion import Inversion


class Projector(Protocol):
    """Pictures → inversion, by optimisation; an encoder is a projector of zero steps."""

    def project(
        self,
        target: Tensor,
        generator: Generator,
        *,
        mask: Tensor | None = None,
        start: Inversion | None = None,
        callback: Callback | None = None,
    ) -> Inversion:
        """target: [N, C, H, W] in [-1, 1]. mask: [N, 1, H, W], None = all counts. start: None = its own choice."""
        ...


@dataclass(frozen=True)
class Candidates:
    """M latents on their way to the target images they belong to: several restarts of each image, or the best of them.

    noise: buffer name → [M, 1, H, W]. image, restart: [M] whole numbers on the CPU; streams of random numbers depend on
    the restart only, so that a batch equals its single runs. pose: [M, 3], see `input_transform`; None = nothing is moved.
    """

    latent: Latent
    noise: dict[str, Tensor]
    image: Tensor
    restart: Tensor
    pose: Tensor | None = None

    def __len__(self) -> int:
        return len(self.latent)

    def rows(self, index: Tensor) -> Candidates:
        """Those of these rows. index: [K] whole numbers."""
        here = index.to(self.latent.value.device)
        noise = {name: value[here] for name, value in self.noise.items()}
        pose = None if self.pose is None else self.pose[here]
        return Candidates(self.latent[here], noise, self.image[index], self.restart[index], pose)

    def with_rows(self, index: Tensor, other: Candidates) -> Candidates:
        """Rows `index` replaced by those of other, in order."""
        here = index.to(self.latent.value.device)
        value = self.latent.value.index_copy(0, here, other.latent.value)
        noise = {name: maps.index_copy(0, here, other.noise[name]) for name, maps in self.noise.items()}
        pose = None if self.pose is None or other.pose is None else self.pose.index_copy(0, here, other.pose)
        return replace(self, latent=replace(self.latent, value=value), noise=noise, pose=pose)

    def lower(self, generator: Generator, space: LatentSpace) -> Candidates:
        """The same pictures in a space further down."""
        with torch.no_grad():
            return replace(self, latent=self.latent.lower(generator, to=space))


@dataclass(frozen=True)
class Problem:
    """What is to be matched, by which generator, and how distances are measured.

    target: [N, C, H, W] on the generator's device, in its dtype. mask: [N, 1, H, W] or None. samples: w of this
    generator. largest_side: to which pictures are shrunk for the perceptual distance; None = as they are. encode: pictures →
    ws of an encoder; None = there is none. saturates: see `Goal`.
    """

    generator: Generator
    target: Tensor
    mask: Tensor | None
    measure: FeatureDistance
    samples: WSamples
    seed: int
    largest_side: int | None = None
    encode: Callable[[Tensor], Tensor] | None = None
    saturates: bool = False

    def goal(self, image: Tensor) -> Goal:
        """What the candidates of these images (rows of the target, [M]) are compared with."""
        image = image.to(self.target.device)
        mask = None if self.mask is None else self.mask[image]
        return Goal(self.target[image], mask, self.measure, self.largest_side, self.samples.prior, self.samples.p_prior, self.encode,
                    self.saturates)

    def objective(self, image: Tensor, weights: Mapping[str, float]) -> Objective:
        """The sum of these terms for the candidates of these images."""
        return build_objective(weights, self.goal(image))

    def render(self, latent: Latent, noise: Mapping[str, Tensor], pose: Tensor | None = None) -> Rendering:
        """The picture and what the terms look at beside it. pose: [M, 3]; None = as the generator stands."""
        ws = None
        if latent.space is not LatentSpace.S:
            latent = latent.lower(self.generator, to=LatentSpace.W_PLUS)
            ws = latent.value
        return Rendering(rendered(self.generator, latent, noise, pose), ws, noise)

    @torch.no_grad()
    def distances(self, candidates: Candidates, weights: Mapping[str, float]) -> Tensor:
        """The weighted sum of the given terms for candidates as they stand, [M]."""
        objective = self.objective(candidates.image, weights)
        return objective(self.render(candidates.latent, candidates.noise, candidates.pose))[0]


@dataclass
class Progress:
    """Turns what happens to candidates into a StepInfo with one value per image, and remembers a request to stop."""

    problem: Problem
    num_steps: int
    callback: Callback | None = None
    step: int = 0
    is_stopped: bool = False
    steps_of: Tensor = field(init=False)  # [N] steps that each image took
    _loss: Tensor = field(init=False)
    _parts: dict[str, Tensor] = field(init=False, default_factory=dict)
    _images: Tensor = field(init=False)
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        count = self.problem.target.shape[0]
        self.steps_of = torch.zeros(count, dtype=torch.long)
        self._loss = torch.full((count,), float("nan"), dtype=torch.float64)
        self._images = torch.zeros_like(self.problem.target)
        self._started = time.monotonic()

    def report(self, candidates: Candidates, loss: Tensor, parts: Mapping[str, Tensor], images: Tensor) -> None:
        """One step is done. loss, parts: [M]; images: [M, C, H, W]. Of several restarts the best one is told."""
        self.step += 1
        self.steps_of[candidates.image.unique()] += 1
        if self.callback is None:
            return
        rows = best_rows(candidates.image, loss.detach())
        image = candidates.image[rows]
        here = rows.to(loss.device)
        self._loss[image] = loss.detach()[here].double().cpu()
        for name, value in parts.items():
            held = self._parts.setdefault(name, torch.full_like(self._loss, float("nan")))
            held[image] = value.detach()[here].double().cpu()
        self._images[image.to(images.device)] = images.detach()[here]
        info = StepInfo(
            self.step,
            self.num_steps,
            self._loss.clone(),
            {name: value.clone() for name, value in self._parts.items()},
            quality(self._images, self.problem.target, self.problem.mask),
            time.monotonic() - self._started,
            self._images.clone(),
        )
        if self.callback(info) is False:
            self.is_stopped = True


def rendered(generator: Generator, latent: Latent, noise: Mapping[str, Tensor], pose: Tensor | None = None) -> Tensor:
    """[M, C, H, W], differentiable in all three. pose: [M, 3], how each picture is moved; None = not."""
    if pose is None:
        return latent.render(generator, noise=noise)
    return call_with(generator, {BUFFER: delta_of(pose)}, lambda moved: latent.render(moved, noise=noise))


def quality(images: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """PSNR of the pictures as they would be saved, [N] on the CPU."""
    images_u8, target_u8 = to_u8(to_rgb(images)).cpu(), to_u8(to_rgb(target)).cpu()
    return psnr(target_u8, images_u8, None if mask is None else mask.cpu())


def best_rows(image: Tensor, loss: Tensor) -> Tensor:
    """For every image that occurs, in order, the row of its candidate with the smallest loss (the first of equals)."""
    values = loss.detach().double().cpu()
    values = torch.where(torch.isfinite(values), values, torch.full_like(values, float("inf")))
    rows = []
    for number in image.unique(sorted=True):
        own = (image == number).nonzero()[:, 0]
        rows.append(own[values[own].argmin()])
    return torch.stack(rows)
