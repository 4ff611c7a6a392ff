"""Sampling at given places: torch's values, and derivatives of any order."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from stylegan_core.ops.grid_sample import grid_sample


def case(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 7, 6, generator=rng, dtype=dtype)
    return x.requires_grad_(), torch.rand(2, 5, 4, 2, generator=rng, dtype=dtype) * 2.4 - 1.2


def test_values_are_those_of_torch() -> None:
    x, grid = case(torch.float32)
    assert torch.equal(grid_sample(x, grid), F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False))


def test_first_and_second_derivatives() -> None:
    x, grid = case(torch.float64)
    assert torch.autograd.gradcheck(lambda x: grid_sample(x, grid), [x])
    assert torch.autograd.gradgradcheck(lambda x: grid_sample(x, grid), [x])
    assert torch.autograd.gradgradcheck(lambda x: grid_sample(x.tanh(), grid).square(), [x])


def test_a_third_derivative() -> None:
    x, grid = case(torch.float64)
    value = grid_sample(x, grid).pow(4).sum()
    for _ in range(3):
        (gradient,) = torch.autograd.grad(value, x, create_graph=True)
        value = gradient.pow(2).sum()
    assert torch.isfinite(value) and value > 0


def test_the_grid_gets_no_gradient() -> None:
    x, grid = case(torch.float64)
    grid.requires_grad_()
    grid_sample(x, grid).sum().backward()
    assert grid.grad is None and x.grad is not None
