"""Second-order steps in Z or W: Levenberg–Marquardt with the whole Jacobian, by forward-mode products (Marquardt 1963).

W is narrow (128 to 512 numbers), pictures are wide: one forward-mode pass with as many tangents as W has dimensions
gives the exact Gauss–Newton matrix, and a handful of such steps does the work of hundreds of gradient steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from invert.projectors.base import Candidates, Problem, Progress, rendered
from invert.projectors.coordinates import Coordinates
from invert.projectors.optimise import POSE_SCALE
from stylegan_core.errors import UsageError
from stylegan_core.latent import LatentSpace
from stylegan_core.losses.perceptual import shrink
from stylegan_core.losses.pixel import pyramid
from stylegan_core.losses.registry import Goal

TANGENT_PIXELS = 1 << 17  # pixels of all tangents that run together
DAMPINGS = (0.0, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # tried together, in units of the mean diagonal of the matrix


@dataclass(frozen=True)
class GaussNewton:
    """One phase of a projection: minimises ‖r(x)‖² + prior · ‖x‖² / dimensions over white coordinates x of the latent.

    share: of the run's steps. space: 'z' or 'w'. terms: of 'pixel', 'multi-scale', 'perceptual', the residuals. prior:
    weight of being likely. tolerance: an image is finished when a step gains less than this share of its loss.
    largest_side: the phase is left out for larger pictures, whose Jacobian would take too long. coverage: share of the
    variance of samples in the directions of W that move; the rest, which pictures hardly show, goes to the mean. Where
    candidates have a pose, it moves too, as three more coordinates.
    """

    share: float
    space: str
    terms: Mapping[str, float]
    prior: float = 0.0
    tolerance: float = 1e-3
    largest_side: int = 128
    coverage: float = 0.9998
    coordinates: str = "white"
    noise: str = field(default="keep", init=False)

    def run(self, problem: Problem, start: Candidates, num_steps: int, progress: Progress) -> Candidates:
        """start: the candidates, in the space that moves. Returns them moved, in the same order."""
        result, going = start, list(range(len(start)))
        for _ in range(num_steps):
            losses, pictures, moved = [], [], []
            for row in going:
                one = result.rows(torch.tensor([row]))
                new, loss, gain, picture = self._step(problem, one)
                result = result.with_rows(torch.tensor([row]), new)
                losses.append(loss)
                pictures.append(picture)
                if gain > self.tolerance:
                    moved.append(row)
            active = result.rows(torch.tensor(going))
            progress.report(active, torch.stack(losses), {}, torch.cat(pictures))
            going = moved
            if progress.is_stopped or not going:
                break
        return result

    @torch.no_grad()
    def _step(self, problem: Problem, one: Candidates) -> tuple[Candidates, Tensor, float, Tensor]:
        """One candidate → (moved, its loss [], share of the loss gained, its picture)."""
        coordinates = Coordinates.of(self.coordinates, one.latent.space, problem)
        residual = residuals(problem.goal(one.image), self.terms)
        width, moving = one.latent.value.shape[1], self._num_moving(problem, one)

        def picture_of(x: Tensor) -> Tensor:
            c = None if one.latent.c is None else one.latent.c.expand(len(x), -1)
            latent = replace(one.latent, value=coordinates.decode(x[:, :width]), c=c)
            noise = {name: maps.expand(len(x), -1, -1, -1) for name, maps in one.noise.items()}
            return rendered(problem.generator, latent, noise, None if one.pose is None else x[:, width:] * POSE_SCALE)

        x = coordinates.encode(one.latent.value)
        weight = self.prior / width
        pose = x[:, :0] if one.pose is None else one.pose / POSE_SCALE
        x = torch.cat([x, pose], dim=1)
        picture = picture_of(x)
        before = residual(picture).square().sum() + weight * x.square().sum()
        x[:, moving:width] = 0

        def with_rest(value: Tensor) -> Tensor:
            return torch.cat([value[:, :moving], value.new_zeros(len(value), width - moving), value[:, moving:]], dim=1)

        moved = torch.cat([x[:, :moving], x[:, width:]], dim=1)
        columns = jacobian(lambda value: residual(picture_of(with_rest(value))), moved, problem.generator.img_resolution)
        steps = with_rest(damped_steps(columns, residual(picture_of(x))[0], weight, moved[0]))
        pictures = picture_of(x + steps)
        after = residual(pictures).square().sum(dim=1) + weight * (x + steps).square().sum(dim=1)
        best = int(after.nan_to_num(float("inf")).argmin())
        gain = float((before - after[best]) / before.clamp_min(1e-30))
        if not gain > 0:
            return one, before, 0.0, picture
        x = x + steps[best : best + 1]
        latent = replace(one.latent, value=coordinates.decode(x[:, :width]))
        moved_pose = None if one.pose is None else x[:, width:] * POSE_SCALE
        return replace(one, latent=latent, pose=moved_pose), after[best], gain, pictures[best : best + 1]

    def _num_moving(self, problem: Problem, one: Candidates) -> int:
        """How many of the white coordinates move: those of W are sorted by variance; all of Z are alike."""
        if one.latent.space is not LatentSpace.W or self.coordinates != "white":
            return one.latent.value.shape[1]
        variances = problem.samples.prior.scales.double().square()
        shares = variances.cumsum(0) / variances.sum()
        return min(len(shares), int((shares < self.coverage).sum()) + 1)


def residuals(goal: Goal, terms: Mapping[str, float]) -> Callable[[Tensor], Tensor]:
    """images [M, C, H, W] → r [M, values]; its sum of squares is the weighted sum of the terms. goal: of one image."""
    unknown = [name for name in terms if name not in ("pixel", "multi-scale", "perceptual")]
    if unknown:
        raise UsageError(f"the term {unknown[0]} is no sum of squares; Gauss–Newton takes pixel, multi-scale, perceptual")
    measure = goal.measure if terms.get("perceptual") else None
    kept = None if measure is None else measure.features(shrink(goal.target, goal.largest_side))

    def of(images: Tensor) -> Tensor:
        images = goal.seen(images)
        difference = images - goal.target
        parts = []
        levels = pyramid(difference, goal.mask)
        for index, (values, mask) in enumerate(levels):
            weight = terms.get("multi-scale", 0.0) / len(levels) + (terms.get("pixel", 0.0) if index == 0 else 0.0)
            if weight:
                count = values[0].numel() if mask is None else mask[0].sum() * values.shape[1]
                shown = values if mask is None else values * mask.sqrt()
                parts.append(shown.flatten(1) * (weight / count) ** 0.5)
        if measure is not None and kept is not None:
            seen = images if goal.mask is None else images * goal.mask + goal.target * (1 - goal.mask)
            for ours, theirs in zip(measure.features(shrink(seen, goal.largest_side)), kept, strict=True):
                parts.append((ours - theirs).flatten(1) * terms["perceptual"] ** 0.5)
        return torch.cat(parts, dim=1)

    return of


def jacobian(function: Callable[[Tensor], Tensor], x: Tensor, resolution: int) -> Tensor:
    """d function / d x at x [1, k] → [k, values], by forward-mode products, in groups of tangents that fit memory."""
    tangents = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    chunk = max(1, TANGENT_PIXELS // resolution**2)

    def product(tangent: Tensor) -> Tensor:
        return torch.func.jvp(function, (x,), (tangent[None],))[1][0]

    return torch.func.vmap(product, chunk_size=chunk)(tangents)


def damped_steps(columns: Tensor, r: Tensor, weight: float, x: Tensor) -> Tensor:
    """Steps [len(DAMPINGS), k] of the damped normal equations. columns: [k, values]. r: [values]. weight: of ‖x‖²."""
    columns, r = columns.double(), r.double()
    matrix = columns @ columns.t()
    matrix.diagonal().add_(weight)
    slope = columns @ r + weight * x.double()
    scale = matrix.diagonal().mean().clamp_min(1e-30)
    eye = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    steps = [-torch.linalg.solve(matrix + (damping + 1e-9) * scale * eye, slope) for damping in DAMPINGS]
    return torch.stack(steps).to(x.dtype)
