from __future__ import annotations

import pytest
import torch

from invert.projectors.base import Candidates, Problem, Progress
from invert.projectors.gauss_newton import GaussNewton, damped_steps, jacobian, residuals
from invert.projectors.measures import Pixels
from invert.projectors.samples import WSamples
from stylegan_core.errors import UsageError
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.losses.registry import Goal, build_objective
from stylegan_core.losses.term import Rendering
from stylegan_core.noise import Noise
from tests.tiny import sample_pictures, tiny_generator

TERMS = {"pixel": 2.0, "multi-scale": 3.0, "perceptual": 0.5}


@pytest.fixture(scope="module")
def generator():
    return tiny_generator(dtype=torch.float64)


@pytest.mark.parametrize("masked", [False, True])
def test_the_squares_add_up_to_the_objective(generator, masked: bool) -> None:
    (target, other) = sample_pictures(generator, [1, 2])[0].split(1)
    mask = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)).double() if masked else None
    goal = Goal(target, mask, Pixels())
    total, _ = build_objective(TERMS, goal)(Rendering(other))
    assert torch.allclose(residuals(goal, TERMS)(other).square().sum(dim=1), total, rtol=1e-9)
    with pytest.raises(UsageError, match="no sum of squares"):
        residuals(goal, {"pixel-absolute": 1.0})


def test_the_jacobian_is_that_of_finite_differences(generator) -> None:
    def function(w: torch.Tensor) -> torch.Tensor:
        return Latent(w, LatentSpace.W).render(generator).flatten(1)

    w = sample_pictures(generator, [1])[1]
    columns = jacobian(function, w, 16)
    for k in (0, 7, 15):
        step = torch.zeros_like(w)
        step[0, k] = 1e-6
        with torch.no_grad():
            slope = (function(w + step) - function(w - step))[0] / 2e-6
        assert torch.allclose(columns[k], slope, atol=1e-5)


def test_an_undamped_step_solves_a_linear_problem() -> None:
    rng = torch.Generator().manual_seed(0)
    columns, x = torch.randn(4, 20, generator=rng).double(), torch.randn(4, generator=rng).double()
    r = torch.randn(20, generator=rng).double()
    step = damped_steps(columns, r, 0.0, x)[0]
    assert torch.allclose(columns @ (r + step @ columns), torch.zeros(4, dtype=torch.float64), atol=1e-6)
    lengths = damped_steps(columns, r, 0.0, x).norm(dim=1)
    assert bool((lengths.diff() <= 0).all())


def test_a_few_steps_recover_w_where_the_noise_is_known(generator) -> None:
    target, w = sample_pictures(generator, [1000, 1001])
    samples = WSamples.of(generator)
    problem = Problem(generator, target, None, Pixels(), samples, seed=0)
    start = w + 0.3 * (samples.mean - w)
    index = torch.arange(2)
    begin = Candidates(Latent(start, LatentSpace.W), Noise.const(generator, 2).maps, index, torch.zeros(2, dtype=torch.long))
    progress = Progress(problem, 12)
    moved = GaussNewton(1.0, "w", {"multi-scale": 1.0}).run(problem, begin, 12, progress)
    error = (moved.latent.value - w).norm(dim=1) / (w - samples.mean).norm(dim=1)
    assert float(error.max()) < 0.02


def test_a_step_never_makes_it_worse(generator) -> None:
    target, _ = sample_pictures(generator, [1000])
    samples = WSamples.of(generator)
    problem = Problem(generator, target, None, Pixels(), samples, seed=0)
    zero = torch.zeros(1, dtype=torch.long)
    candidates = Candidates(Latent(samples.w[5:6], LatentSpace.W), Noise.none(generator, 1).maps, zero, zero)
    before = float(problem.distances(candidates, TERMS))
    for _ in range(3):
        candidates = GaussNewton(1.0, "w", TERMS).run(problem, candidates, 1, Progress(problem, 1))
        after = float(problem.distances(candidates, TERMS))
        assert after <= before
        before = after
