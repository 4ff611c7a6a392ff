from __future__ import annotations

import copy

import pytest
import torch

from stylegan_core.errors import LatentError
from stylegan_core.latent import Latent
from stylegan_core.weight_deltas import between, call_with, check_deltas
from tests.tiny import tiny_generator

NAME = "synthesis.b16.conv0.weight"


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


def test_deltas_render_as_the_tuned_generator_does_and_leave_the_original_alone(generator) -> None:
    latent = Latent.sample(generator, [0]).lower(generator, to="w")
    tuned = copy.deepcopy(generator)
    with torch.no_grad():
        tuned.synthesis.b16.conv0.weight.add_(0.1)
        tuned.synthesis.b8.torgb.bias.add_(0.2)
    deltas = between(tuned, generator)
    assert set(deltas) == {NAME, "synthesis.b8.torgb.bias"}
    before = latent.render(generator)
    shown = call_with(generator, {name: delta[0] for name, delta in deltas.items()}, latent.render)
    assert torch.allclose(shown, latent.render(tuned), atol=1e-6)
    assert torch.equal(latent.render(generator), before) and not torch.allclose(shown, before, atol=1e-3)


def test_gradients_reach_the_deltas(generator) -> None:
    delta = torch.zeros_like(generator.synthesis.b16.conv0.weight).requires_grad_()
    latent = Latent.sample(generator, [0]).lower(generator, to="w")
    call_with(generator, {NAME: delta}, latent.render).square().sum().backward()
    assert delta.grad is not None and float(delta.grad.abs().sum()) > 0


@pytest.mark.parametrize(
    "deltas, message",
    [
        ({"synthesis.b99.weight": torch.zeros(1, 1)}, "no parameter"),
        ({NAME: torch.zeros(2, 3)}, "has the shape"),
        ({"synthesis.b8.torgb.bias": torch.full((1, 3), float("nan"))}, "not finite"),
    ],
)
def test_deltas_that_do_not_fit_are_refused(generator, deltas: dict, message: str) -> None:
    with pytest.raises(LatentError, match=message):
        check_deltas(deltas, generator, 1)
