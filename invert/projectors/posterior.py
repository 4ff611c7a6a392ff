"""Second-order steps in W and in the noise maps together: the most likely w once random noise is counted as what it is.

A sample with random noise is G(w, n) with w and n from laws that are known, here both standard normal in white coordinates.
Distances that look at w alone take the noise for an error of the picture; the posterior mode of (w, n) lets each pixel count as
much as noise leaves it (Gauss–Newton on the joint log-density; its linear system, as wide as the picture, by conjugate gradients).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from invert.projectors.base import Candidates, Problem, Progress, rendered
from invert.projectors.coordinates import Coordinates
from invert.projectors.gauss_newton import jacobian
from stylegan_core.latent import Latent

LENGTHS = (1.0, 0.5, 0.25, 0.125, 0.0625)  # of a step, tried in this order until the density grows
SOLVED = 1e-4  # residual of the linear system, relative, at which conjugate gradients stop

Function = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Posterior:
    """One phase of a projection: minimises ‖target − G(x, n)‖² / σ² + ‖x‖² + ‖n‖² over white coordinates x of w and noise n.

    share: of the run's steps. first_sigma, last_sigma: σ, in units of pictures in [-1, 1], falls from the one to the other over
    the first half of the steps and stays; small ones trust the linear model more than it deserves. cg_steps: at most, for each
    linear system. tolerance: an image is finished when a step at the last σ gains less than this share. largest_side: the phase
    is left out for larger pictures. It is for W alone: where w+ is asked for, w is no sample and its noise would hide that.
    """

    share: float
    first_sigma: float = 0.04
    last_sigma: float = 0.02
    cg_steps: int = 60
    tolerance: float = 0.02
    largest_side: int = 128
    terms: Mapping[str, float] = field(default_factory=dict, init=False)
    space: str = field(default="w", init=False)
    noise: str = field(default="posterior", init=False)

    def run(self, problem: Problem, start: Candidates, num_steps: int, progress: Progress) -> Candidates:
        """start: the candidates in W, no pose. Returns them moved, noise maps too, in the same order."""
        result, going = start, list(range(len(start)))
        ramp = max(num_steps // 2, 1)
        for step in range(num_steps):
            sigma = self.first_sigma * (self.last_sigma / self.first_sigma) ** min(step / ramp, 1.0)
            losses, pictures, moved = [], [], []
            for row in going:
                one, loss, gain, picture = self._step(problem, result.rows(torch.tensor([row])), sigma)
                result = result.with_rows(torch.tensor([row]), one)
                losses.append(loss)
                pictures.append(picture)
                if step < ramp or gain > self.tolerance:
                    moved.append(row)
            progress.report(result.rows(torch.tensor(going)), torch.stack(losses), {}, torch.cat(pictures))
            going = moved
            if progress.is_stopped or not going:
                break
        return result

    @torch.no_grad()
    def _step(self, problem: Problem, one: Candidates, sigma: float) -> tuple[Candidates, Tensor, float, Tensor]:
        """One candidate → (moved, its loss [], share of the loss gained, its picture)."""
        coordinates = Coordinates.of("white", one.latent.space, problem)
        goal = problem.goal(one.image)
        weight = 1.0 if goal.mask is None else goal.mask.sqrt()
        x, n = coordinates.encode(one.latent.value), flat(one.noise)

        def moved(x: Tensor, n: Tensor) -> tuple[Latent, dict[str, Tensor]]:
            return replace(one.latent, value=coordinates.decode(x)), unflat(n, one.noise)

        def residual(x: Tensor, n: Tensor) -> Tensor:
            latent, noise = moved(x, n)
            return ((goal.target - rendered(problem.generator, latent, noise, None)) * weight).flatten()

        def loss(x: Tensor, n: Tensor) -> Tensor:
            return residual(x, n).square().sum() / sigma**2 + x.square().sum() + n.square().sum()

        before = loss(x, n)
        far_x, far_n = most_likely(residual, x, n, sigma, self.cg_steps, problem.generator.img_resolution)
        for length in LENGTHS:
            new_x, new_n = torch.lerp(x, far_x, length), torch.lerp(n, far_n, length)
            after = loss(new_x, new_n)
            if after < before:
                break
        else:
            new_x, new_n, after = x, n, before
        latent, noise = moved(new_x, new_n)
        gain = float((before - after) / before)
        return replace(one, latent=latent, noise=noise), after, gain, rendered(problem.generator, latent, noise, None)


def most_likely(residual: Function, x: Tensor, n: Tensor, sigma: float, num_steps: int, resolution: int) -> tuple[Tensor, Tensor]:
    """The mode of the density with the residual made linear at (x, n): u = −Jᵀ(JJᵀ + σ²)⁻¹(r − Ju), conjugate gradients inside.

    x: [1, k], its columns of J are computed and help as a preconditioner. n: [m]. residual: (x, n) → [values].
    """
    at_point = torch.func.vjp(residual, x, n)
    r, pull = at_point[0], at_point[1]

    def push(dx: Tensor, dn: Tensor) -> Tensor:
        return torch.func.jvp(residual, (x, n), (dx, dn))[1]

    columns = jacobian(lambda value: residual(value, n)[None], x, resolution)  # [k, values]
    signs = torch.randint(0, 2, n.shape, generator=torch.Generator().manual_seed(0)).to(n) * 2 - 1
    diagonal = push(torch.zeros_like(x), signs).square().mean() + sigma**2  # of JJᵀ + σ², that of x left out
    small = columns @ columns.t()
    small.diagonal().add_(diagonal)
    factor = torch.linalg.cholesky(small)

    def preconditioned(v: Tensor) -> Tensor:
        return (v - columns.t() @ torch.cholesky_solve((columns @ v)[:, None], factor)[:, 0]) / diagonal

    def system(v: Tensor) -> Tensor:
        return push(*pull(v)) + sigma**2 * v

    solution = conjugate_gradients(system, r - push(x, n), preconditioned, num_steps)
    far_x, far_n = pull(solution)
    return -far_x, -far_n


def conjugate_gradients(matrix: Callable[[Tensor], Tensor], goal: Tensor, preconditioner: Callable[[Tensor], Tensor],
                        num_steps: int) -> Tensor:
    """Solves matrix(v) = goal for a symmetric positive matrix; returns the best of the iterates (Hestenes and Stiefel 1952)."""
    solution = torch.zeros_like(goal)
    rest, best, least = goal.clone(), solution, goal.norm()
    enough = SOLVED * least
    guess = preconditioner(rest)
    direction, product = guess, rest @ guess
    for _ in range(num_steps):
        image = matrix(direction)
        length = product / (direction @ image)
        solution = solution + length * direction
        rest = rest - length * image
        if rest.norm() < least:
            best, least = solution, rest.norm()
        if not rest.norm() > enough:
            break
        guess = preconditioner(rest)
        following = rest @ guess
        direction, product = guess + following / product * direction, following
    return best


def flat(noise: Mapping[str, Tensor]) -> Tensor:
    """Maps of one image → [m], in the order of their names in the mapping."""
    return torch.cat([value.flatten() for value in noise.values()])


def unflat(numbers: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """[m] → maps of the shapes of `like`."""
    parts = numbers.split([value.numel() for value in like.values()])
    return {name: part.view_as(value) for (name, value), part in zip(like.items(), parts, strict=True)}
