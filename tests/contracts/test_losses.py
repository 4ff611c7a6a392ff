"""What every registered loss term keeps."""

from __future__ import annotations

import pytest
import torch

from invert.projectors.measures import Pixels
from stylegan_core.latent import Latent
from stylegan_core.losses.registry import DISTANCES, TERMS, Goal, build_objective
from stylegan_core.losses.regularisers import WPrior
from stylegan_core.losses.term import Rendering
from stylegan_core.noise import Noise
from tests.tiny import tiny_generator


@pytest.fixture(scope="module")
def scene():
    """Renderings of three latents and the goal of three other pictures."""
    generator = tiny_generator(dtype=torch.float64)
    ws = Latent.sample(generator, [0, 1, 2]).lower(generator, to="w+")
    noise = Noise.random(generator, [0, 1, 2]).maps
    target = Latent.sample(generator, [3, 4, 5]).render(generator).clamp(-1, 1).detach()
    priors = [WPrior.of(generator, num_samples=300, is_p_space=is_p) for is_p in (False, True)]
    rng = torch.Generator().manual_seed(0)
    towards = 0.05 * torch.randn(3 * 16 * 16, generator.num_ws * generator.w_dim, dtype=torch.float64, generator=rng)
    encode = lambda images: (images.flatten(1) @ towards).view(len(images), generator.num_ws, -1)  # noqa: E731
    goal = Goal(target, None, Pixels(), None, *priors, encode)
    ws_value = ws.value + 0.1 * torch.arange(generator.num_ws)[:, None]
    return generator, ws_value.detach(), noise, goal


def rows(goal: Goal, index: slice) -> Goal:
    return Goal(goal.target[index], None, goal.measure, None, goal.prior, goal.p_prior, goal.encode)


def rendering(generator, ws: torch.Tensor, noise: dict, index: slice = slice(None)) -> Rendering:
    own = {name: value[index] for name, value in noise.items()}
    return Rendering(generator.synthesis(ws[index], noise=own), ws[index], own)


@pytest.mark.parametrize("name", TERMS)
def test_one_finite_value_per_image_that_does_not_know_its_batch_mates(scene, name: str) -> None:
    generator, ws, noise, goal = scene
    total, parts = build_objective({name: 1.0}, goal)(rendering(generator, ws, noise))
    assert total.shape == (3,) and bool(torch.isfinite(total).all()) and set(parts) == {name}
    assert bool((total > 0).all())
    for i in range(3):
        index = slice(i, i + 1)
        single, _ = build_objective({name: 1.0}, rows(goal, index))(rendering(generator, ws, noise, index))
        assert torch.allclose(single, total[index], rtol=1e-9)


@pytest.mark.parametrize("name", TERMS)
def test_gradients_are_finite_and_stay_with_their_image(scene, name: str) -> None:
    generator, ws, noise, goal = scene
    ws = ws.clone().requires_grad_()
    noise = {key: value.clone().requires_grad_() for key, value in noise.items()}
    total, _ = build_objective({name: 1.0}, goal)(rendering(generator, ws, noise))
    moved = [ws, *noise.values()]
    gradients = torch.autograd.grad(total[0], moved, allow_unused=True)
    seen = [gradient for gradient in gradients if gradient is not None]
    assert seen and all(bool(torch.isfinite(gradient).all()) for gradient in seen)
    assert all(float(gradient[1:].abs().max()) == 0 for gradient in seen)
    assert max(float(gradient[0].abs().max()) for gradient in seen) > 0


@pytest.mark.parametrize("name", DISTANCES)
def test_distances_are_zero_at_the_target(scene, name: str) -> None:
    *_, goal = scene
    total, _ = build_objective({name: 1.0}, goal)(Rendering(goal.target))
    assert torch.allclose(total, torch.zeros_like(total), atol=1e-12)


@pytest.mark.parametrize("name", TERMS)
def test_terms_work_without_w_and_without_noise(scene, name: str) -> None:
    *_, goal = scene
    total, _ = build_objective({name: 1.0}, goal)(Rendering(-goal.target))
    assert total.shape == (3,) and bool(torch.isfinite(total).all())
