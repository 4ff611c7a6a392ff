"""Bias and activation beyond the golden cases."""

from __future__ import annotations

import pytest
import torch

from stylegan_core.ops.bias_act import ACTIVATIONS, bias_act

CASES = [(act, gain, clamp) for act in ACTIVATIONS for gain in (None, 0.7, -1.3) for clamp in (None, 0.9)]


@pytest.mark.parametrize("act, gain, clamp", CASES)
def test_derivatives(act: str, gain: float | None, clamp: float | None) -> None:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, 4, generator=rng, dtype=torch.float64).requires_grad_()
    b = torch.randn(3, generator=rng, dtype=torch.float64).requires_grad_()
    function = lambda x, b: bias_act(x, b, act=act, gain=gain, clamp=clamp)  # noqa: E731
    assert torch.autograd.gradcheck(function, (x, b), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, (x, b))


def test_the_input_stays_as_it_was() -> None:
    x = torch.randn(2, 3, 4, 4)
    before = x.clone()
    for act in ACTIVATIONS:
        for b in (None, torch.ones(3)):
            for gain in (None, 1.0, 2.0):
                bias_act(x, b, act=act, gain=gain)
                assert torch.equal(x, before), (act, gain)


def test_the_axis_of_the_bias() -> None:
    x, b = torch.zeros(2, 3, 4), torch.arange(4.0)
    assert torch.equal(bias_act(x, b, dim=2), b.expand(2, 3, 4))
    assert torch.equal(bias_act(x, b, dim=-1), b.expand(2, 3, 4))


def test_half_precision_stays_half() -> None:
    assert bias_act(torch.ones(1, 2, dtype=torch.bfloat16), torch.ones(2), act="lrelu").dtype == torch.bfloat16


def test_an_unknown_activation_is_an_error() -> None:
    with pytest.raises(KeyError, match="gelu"):
        bias_act(torch.ones(1, 2), act="gelu")
