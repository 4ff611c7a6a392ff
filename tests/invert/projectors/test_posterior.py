from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from invert.projectors.base import Candidates, Problem, Progress
from invert.projectors.gauss_newton import GaussNewton
from invert.projectors.measures import Pixels
from invert.projectors.posterior import Posterior, flat, least_squares, likeliest_step, unflat
from invert.projectors.presets import PRESETS
from invert.projectors.project import planned
from invert.projectors.samples import WSamples
from invert.projectors.start import Start
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.noise import Noise
from tests.tiny import sample_pictures, tiny_generator, tiny_stylegan3


@pytest.fixture(scope="module")
def generator():
    return tiny_generator(dtype=torch.float64)


def linear(seed: int, count: int) -> Tensor:
    return torch.randn(30, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_least_squares_are_those_of_a_direct_solver() -> None:
    matrix, goal = linear(0, 12), linear(1, 1)[:, 0]
    solution = least_squares(lambda v: matrix @ v, lambda v: matrix.t() @ v, goal, 100)
    assert torch.allclose(solution, torch.linalg.lstsq(matrix, goal[:, None]).solution[:, 0], atol=1e-3)
    rests = [float((matrix @ least_squares(lambda v: matrix @ v, lambda v: matrix.t() @ v, goal, n) - goal).norm()) for n in range(5)]
    assert rests == sorted(rests, reverse=True) and rests[0] == float(goal.norm())


def test_the_mode_of_a_linear_model_is_found_in_one_step() -> None:
    a, b, y, sigma = linear(0, 3), linear(1, 40), linear(2, 1)[:, 0], 2.0
    x, n = linear(3, 3)[:1], torch.cat([linear(4, 1)[:, 0], linear(5, 1)[:10, 0]])
    dx, dn = likeliest_step(lambda x, n: a @ x[0] + b @ n - y, x, n, sigma, 100, 16)
    both = torch.cat([a, b], dim=1)
    wanted = torch.linalg.solve(both.t() @ both / sigma**2 + torch.eye(43).double(), both.t() @ y / sigma**2)
    assert torch.allclose(torch.cat([(x + dx)[0], n + dn]), wanted, atol=5e-3)


def own_sample(generator, seed: int) -> tuple[Problem, Candidates, Tensor]:
    target, w = sample_pictures(generator, [seed], noise_mode="random")
    samples = WSamples.of(generator)
    problem = Problem(generator, target, None, Pixels(), samples, seed=0)
    zero = torch.zeros(1, dtype=torch.long)
    begin = Candidates(Latent(w + 0.2 * (samples.mean - w), LatentSpace.W), Noise.none(generator, 1).maps, zero, zero)
    return problem, begin, w


def test_noise_counted_as_random_brings_w_nearer_than_distances(generator) -> None:
    ratios = []
    for seed in range(1000, 1003):
        problem, begin, w = own_sample(generator, seed)
        plain = GaussNewton(1.0, "w", {"multi-scale": 1.0}, prior=1e-3).run(problem, begin, 10, Progress(problem, 10))
        better = Posterior(1.0, cg_steps=25).run(problem, plain, 5, Progress(problem, 5))
        ratios.append(float((better.latent.value - w).norm() / (plain.latent.value - w).norm()))
        told = {name: maps.square().mean().sqrt() for name, maps in better.noise.items()}
        assert max(map(float, told.values())) < 1.5  # noise as likely maps have it, not whatever fits
    assert sorted(ratios)[1] < 0.8, ratios


def test_a_hidden_half_is_not_looked_at(generator) -> None:
    problem, begin, _ = own_sample(generator, 1000)
    mask = torch.ones(1, 1, 16, 16).double()
    mask[..., 8:] = 0
    spoilt = problem.target.clone()
    spoilt[..., 8:] = 1
    masked = [Posterior(1.0).run(replace(problem, target=t, mask=mask), begin, 2, Progress(problem, 2)) for t in (problem.target, spoilt)]
    assert torch.allclose(masked[0].latent.value, masked[1].latent.value, atol=1e-8)


def test_the_density_never_falls(generator) -> None:
    problem, candidates, _ = own_sample(generator, 1001)
    losses = []
    for _ in range(4):
        candidates, loss, picture = Posterior(1.0)._step(problem, candidates, 0.01)
        assert picture.shape == problem.target.shape
        losses.append(float(loss))
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]


def test_maps_go_flat_and_come_back(generator) -> None:
    maps = Noise.const(generator, 1).maps
    assert all(torch.equal(value, maps[name]) for name, value in unflat(flat(maps), maps).items())


@pytest.mark.parametrize("goal, is_there", [(LatentSpace.W, True), (LatentSpace.W_PLUS, False), (LatentSpace.Z, False)])
def test_it_is_for_w_alone(generator, goal: LatentSpace, is_there: bool) -> None:
    kinds = [type(phase) for phase, _, _ in planned(PRESETS["careful"], goal, Start("nearest", 8), generator)]
    assert (Posterior in kinds) is is_there
    plan = planned(PRESETS["careful"], goal, Start("nearest", 8), tiny_stylegan3())
    assert Posterior not in [type(phase) for phase, _, _ in plan]  # a generator without noise inputs
