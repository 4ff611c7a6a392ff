"""Projection by Adam: the loop of the official projector (SG2 App. D), for several images and restarts at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from invert.projectors.base import Candidates, Problem, Progress
from invert.projectors.coordinates import Coordinates
from invert.projectors.schedules import Jitter, Ramp
from invert.projectors.start import JITTER_STREAM
from stylegan_core.latent import Latent
from stylegan_core.noise import normalise_map
from stylegan_core.seeds import rng_from_seed

LATENT, POSE = "latent", "pose"  # names among what moves; noise maps have the names of their buffers
POSE_SCALE = 0.1  # radians and picture widths per unit of what moves, so that the latent's rates fit
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Patience:
    """An image is finished when its best loss fell by less than the share `gain` in `steps` steps; 0 = it never is."""

    steps: int = 0
    gain: float = 0.01


@dataclass(frozen=True)
class Adam:
    """One phase of a projection: hyper-parameters and their loop.

    share: of the run's steps. space: of the latent that moves; None = only the noise moves. terms: name → weight, see
    losses.registry. noise: 'keep'; 'optimise' = the maps move and are renormalised per image after every step (SG2
    App. D); 'free' = they move, held by their terms alone. noise_lr: None = the latent's. precision: fp32 or bf16.
    """

    share: float
    space: str | None
    terms: Mapping[str, float]
    ramp: Ramp = field(default_factory=Ramp)
    jitter: Jitter = field(default_factory=lambda: Jitter(0.0))
    coordinates: str = "direct"
    noise: str = "keep"
    noise_lr: float | None = None
    patience: Patience = field(default_factory=Patience)
    precision: str = "fp32"

    def run(self, problem: Problem, start: Candidates, num_steps: int, progress: Progress) -> Candidates:
        """start: the candidates, in the space that moves. Returns them moved, in the same order."""
        coordinates = Coordinates.of(self.coordinates, start.latent.space, problem)
        streams = {int(r): rng_from_seed(problem.seed, int(r), JITTER_STREAM, progress.step) for r in start.restart.unique()}
        result, active, rows = start, start, torch.arange(len(start))
        history: list[Tensor] = []
        moving = self._variables(active, coordinates)
        objective, momenta = problem.objective(active.image, self.terms), Momenta.of(moving)

        for step in range(num_steps):
            # Render and compare.
            scale = self.jitter.scale_at(step, num_steps)
            latent = self._latent(moving, active, coordinates, streams, scale)
            with _precision(self.precision, problem):
                rendering = problem.render(latent, {**active.noise, **_maps(moving)}, _pose(moving, active))
                total, parts = objective(rendering)

            # Move.
            gradients = torch.autograd.grad(total.sum(), list(moving.values()))
            momenta = momenta.step(moving, gradients, self._rates(moving, self.ramp.lr_at(step, num_steps)))
            active = self._moved(moving, active, coordinates)
            progress.report(active, total, parts, rendering.images)

            # Leave.
            history.append(torch.full((len(start),), float("nan"), dtype=torch.float64))
            history[-1][rows] = total.detach().double().cpu()
            going = self._going(history, rows)
            if progress.is_stopped or len(going) == 0:
                break
            if len(going) < len(rows):
                result = result.with_rows(rows, active)
                active, rows, momenta = active.rows(going), rows[going], momenta.rows(going)
                moving = self._variables(active, coordinates)
                objective = problem.objective(active.image, self.terms)
        return result.with_rows(rows, active)

    def _variables(self, candidates: Candidates, coordinates: Coordinates) -> dict[str, Tensor]:
        """What moves: the latent's coordinates under LATENT, noise maps under their names; fresh leaves."""
        moving = {} if self.space is None else {LATENT: coordinates.encode(candidates.latent.value)}
        if self.space is not None and candidates.pose is not None:
            moving[POSE] = candidates.pose / POSE_SCALE
        if self.noise != "keep":
            moving.update(candidates.noise)
        return {name: value.detach().clone().requires_grad_() for name, value in moving.items()}

    def _latent(
        self,
        moving: Mapping[str, Tensor],
        active: Candidates,
        coordinates: Coordinates,
        streams: Mapping[int, torch.Generator],
        scale: float,
    ) -> Latent:
        """The latent with exploring noise: one draw per restart and step, the same for every image."""
        if LATENT not in moving:
            return active.latent
        value = coordinates.decode(moving[LATENT])
        if scale:
            draws = {r: torch.randn(value.shape[1:], generator=stream) for r, stream in streams.items()}
            noise = torch.stack([draws[int(r)] for r in active.restart]).to(value)
            value = value + noise * coordinates.spread * scale
        return replace(active.latent, value=value)

    @torch.no_grad()
    def _moved(self, moving: Mapping[str, Tensor], active: Candidates, coordinates: Coordinates) -> Candidates:
        """The candidates where they are now; renormalises the noise that moves."""
        if self.noise == "optimise":
            for value in _maps(moving).values():
                value.copy_(normalise_map(value))
        noise = {**active.noise, **{name: value.detach().clone() for name, value in _maps(moving).items()}}
        pose = _pose(moving, active)
        active = replace(active, noise=noise, pose=None if pose is None else pose.detach().clone())
        if LATENT not in moving:
            return active
        latent = replace(active.latent, value=coordinates.decode(moving[LATENT]).clone())
        return replace(active, latent=latent)

    def _rates(self, moving: Mapping[str, Tensor], lr: float) -> dict[str, float]:
        noise_lr = lr if self.noise_lr is None else lr / self.ramp.lr * self.noise_lr
        return {name: lr if name in (LATENT, POSE) else noise_lr for name in moving}

    def _going(self, history: list[Tensor], rows: Tensor) -> Tensor:
        """Positions among the active rows that go on."""
        everyone, steps = torch.arange(len(rows)), self.patience.steps
        if steps == 0 or len(history) <= steps:
            return everyone
        before = torch.stack(history[:-steps])[:, rows].min(dim=0).values
        recent = torch.stack(history[-steps:])[:, rows].min(dim=0).values
        return everyone[recent < before * (1 - self.patience.gain)]


@dataclass(frozen=True)
class Momenta:
    """Adam's running moments, row by row, so that rows can leave (Kingma and Ba 2015, Alg. 1)."""

    first: dict[str, Tensor]
    second: dict[str, Tensor]
    count: int = 0

    @classmethod
    def of(cls, moving: Mapping[str, Tensor]) -> Momenta:
        """Zeros."""
        zeros = {name: torch.zeros_like(value, requires_grad=False) for name, value in moving.items()}
        return cls(zeros, {name: value.clone() for name, value in zeros.items()})

    @torch.no_grad()
    def step(self, moving: Mapping[str, Tensor], gradients: Sequence[Tensor], rates: Mapping[str, float]) -> Momenta:
        """Moves the values in place and returns the new moments."""
        count = self.count + 1
        for (name, value), gradient in zip(moving.items(), gradients, strict=True):
            first = self.first[name].lerp_(gradient, 1 - BETA1)
            second = self.second[name].mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            denominator = (second / (1 - BETA2**count)).sqrt_().add_(EPS)
            value.addcdiv_(first, denominator, value=-rates[name] / (1 - BETA1**count))
        return replace(self, count=count)

    def rows(self, index: Tensor) -> Momenta:
        """Those of these rows."""
        first = {name: value[index.to(value.device)] for name, value in self.first.items()}
        return replace(self, first=first, second={name: v[index.to(v.device)] for name, v in self.second.items()})


def _maps(moving: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in moving.items() if name not in (LATENT, POSE)}


def _pose(moving: Mapping[str, Tensor], active: Candidates) -> Tensor | None:
    return moving[POSE] * POSE_SCALE if POSE in moving else active.pose


def _precision(precision: str, problem: Problem) -> AbstractContextManager[None]:
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(problem.target.device.type, dtype=torch.bfloat16)
