"""Second-order steps in W and in the noise maps together: the most likely w once random noise is counted as what it is.

A sample with random noise is G(w, n), n standard normal and w nearly so in white coordinates. Distances that look at w alone take
the noise for an error of the picture; the posterior mode of (w, n) lets each pixel count as much as noise leaves it. Its
Gauss–Newton steps are linear least squares as wide as the picture, solved by conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from invert.projectors.base import Candidates, Problem, Progress, rendered
from invert.projectors.coordinates import Coordinates
from invert.projectors.gauss_newton import jacobian

LENGTHS = (1.0, 0.5, 0.25, 0.125, 0.0625)  # of a step, tried in this order until the density grows
SOLVED = 1e-4  # gradient of the linear problem, relative, at which conjugate gradients stop

Function = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Posterior:
    """One phase of a projection: minimises ‖target − G(x, n)‖² / σ² + ‖x‖² + ‖n‖² over white coordinates x of w and noise n.

    share: of the run's steps. first_sigma, last_sigma: σ, in units of pictures in [-1, 1], falls from the one to the other; with
    a small one at once the linear model is trusted too far. cg_steps: at most, for each linear problem. largest_side: the phase is
    left out for larger pictures. It is for W alone: where w+ is asked for, w is no sample and its noise would hide that.
    """

    share: float
    first_sigma: float = 0.04
    last_sigma: float = 0.01
    cg_steps: int = 60
    largest_side: int = 128
    terms: Mapping[str, float] = field(default_factory=dict, init=False)
    space: str = field(default="w", init=False)
    noise: str = field(default="posterior", init=False)

    def run(self, problem: Problem, start: Candidates, num_steps: int, progress: Progress) -> Candidates:
        """start: the candidates in W, no pose. Returns them moved, noise maps too, in the same order."""
        rows = [start.rows(torch.tensor([row])) for row in range(len(start))]
        for step in range(num_steps):
            sigma = self.first_sigma * (self.last_sigma / self.first_sigma) ** (step / max(num_steps - 1, 1))
            moved = [self._step(problem, one, sigma) for one in rows]
            rows = [one for one, _, _ in moved]
            start = start.with_rows(torch.arange(len(rows)), joined(rows))
            progress.report(start, torch.stack([loss for _, loss, _ in moved]), {}, torch.cat([picture for _, _, picture in moved]))
            if progress.is_stopped:
                break
        return start

    @torch.no_grad()
    def _step(self, problem: Problem, one: Candidates, sigma: float) -> tuple[Candidates, Tensor, Tensor]:
        """One candidate → (moved, its loss [], its picture)."""
        coordinates = Coordinates.of("white", one.latent.space, problem)
        goal = problem.goal(one.image)
        weight = 1.0 if goal.mask is None else goal.mask.sqrt()
        x, n = coordinates.encode(one.latent.value), flat(one.noise)

        def picture(x: Tensor, n: Tensor) -> tuple[Candidates, Tensor]:
            latent, noise = replace(one.latent, value=coordinates.decode(x)), unflat(n, one.noise)
            return replace(one, latent=latent, noise=noise), rendered(problem.generator, latent, noise, None)

        def residual(x: Tensor, n: Tensor) -> Tensor:
            return ((goal.seen(picture(x, n)[1]) - goal.target) * weight).flatten()

        def loss(x: Tensor, n: Tensor) -> Tensor:
            return residual(x, n).square().sum() / sigma**2 + x.square().sum() + n.square().sum()

        before = loss(x, n)
        dx, dn = likeliest_step(residual, x, n, sigma, self.cg_steps, problem.generator.img_resolution)
        for length in LENGTHS:
            after = loss(x + length * dx, n + length * dn)
            if after < before:
                moved, image = picture(x + length * dx, n + length * dn)
                return moved, after, image
        return one, before, picture(x, n)[1]


def likeliest_step(residual: Function, x: Tensor, n: Tensor, sigma: float, num_steps: int, resolution: int) -> tuple[Tensor, Tensor]:
    """(dx, dn) that minimise ‖r + J(dx, dn)‖² / σ² + ‖x + dx‖² + ‖n + dn‖², as far as num_steps of conjugate gradients go.

    x: [1, k]; its columns of J are computed, and precondition. n: [m]. residual: (x, n) → r [values].
    """
    at_point = torch.func.vjp(residual, x, n)
    r, pull = at_point[0], at_point[1]
    columns = jacobian(lambda value: residual(value, n)[None], x, resolution) / sigma  # [k, values]
    normal = columns @ columns.t()
    normal.diagonal().add_(1.0)
    factor = torch.linalg.cholesky(normal)  # dx = factor⁻ᵀ y has unit curvature where n stands still

    def to_x(y: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(factor.t(), y[:, None], upper=True)[:, 0]

    def forward(step: Tensor) -> Tensor:
        dx, dn = to_x(step[: len(factor)]), step[len(factor) :]
        return torch.cat([torch.func.jvp(residual, (x, n), (dx[None], dn))[1] / sigma, dx, dn])

    def backward(value: Tensor) -> Tensor:
        shown, dx, dn = value.split([len(r), len(factor), len(n)])
        slope_x, slope_n = pull(shown / sigma)
        slope = torch.linalg.solve_triangular(factor, (slope_x[0] + dx)[:, None], upper=False)[:, 0]
        return torch.cat([slope, slope_n + dn])

    solution = least_squares(forward, backward, -torch.cat([r / sigma, x[0], n]), num_steps)
    return to_x(solution[: len(factor)])[None], solution[len(factor) :]


def least_squares(forward: Callable[[Tensor], Tensor], backward: Callable[[Tensor], Tensor], goal: Tensor, num_steps: int) -> Tensor:
    """v that minimises ‖forward(v) − goal‖², from 0, never worse than 0 (CGLS: Hestenes and Stiefel 1952, Sec. 10).

    forward: linear; backward: its adjoint.
    """
    rest = goal
    slope = backward(rest)
    solution, direction = torch.zeros_like(slope), slope
    steepness = begin = slope @ slope
    for _ in range(num_steps):
        if not steepness > SOLVED**2 * begin:
            break
        image = forward(direction)
        length = steepness / (image @ image)
        solution = solution + length * direction
        rest = rest - length * image
        slope = backward(rest)
        following = slope @ slope
        direction, steepness = slope + following / steepness * direction, following
    return solution


def joined(rows: list[Candidates]) -> Candidates:
    """Candidates of one row each, as one."""
    latent = replace(rows[0].latent, value=torch.cat([one.latent.value for one in rows]))
    noise = {name: torch.cat([one.noise[name] for one in rows]) for name in rows[0].noise}
    return replace(rows[0], latent=latent, noise=noise)


def flat(noise: Mapping[str, Tensor]) -> Tensor:
    """Maps of one image → [m], in the order of their names in the mapping."""
    return torch.cat([value.flatten() for value in noise.values()])


def unflat(numbers: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """[m] → maps of the shapes of `like`."""
    parts = numbers.split([value.numel() for value in like.values()])
    return {name: part.view_as(value) for (name, value), part in zip(like.items(), parts, strict=True)}
