"""Many small problems at once: right answers, rows that do not mix, values that never rise."""

from __future__ import annotations

import torch

from invert.attribution.minimise import minimise


def quadratic(matrix: torch.Tensor, centre: torch.Tensor):
    def function(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gap = x - centre
        slope = torch.einsum("mij,mj->mi", matrix, gap)
        return (gap * slope).sum(dim=1) / 2, slope

    return function


def problem(count: int, size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(count, size, size, generator=rng, dtype=torch.float64)
    return root @ root.transpose(1, 2) + 0.3 * torch.eye(size), torch.randn(count, size, generator=rng, dtype=torch.float64)


def test_quadratics_are_solved_and_values_never_rise() -> None:
    matrix, centre = problem(4)
    found = minimise(quadratic(matrix, centre), torch.zeros_like(centre), 60)
    assert torch.allclose(found.x, centre, atol=1e-4) and found.value.max() < 1e-6
    assert (found.curve[1:] <= found.curve[:-1] + 1e-12).all() and found.curve.shape == (61, 4)


def test_a_batch_equals_its_single_runs() -> None:
    matrix, centre = problem(3)
    together = minimise(quadratic(matrix, centre), torch.zeros_like(centre), 9).x
    for row in range(3):
        alone = minimise(quadratic(matrix[row : row + 1], centre[row : row + 1]), torch.zeros(1, 6, dtype=torch.float64), 9).x
        assert torch.allclose(together[row], alone[0], atol=1e-9)


def test_a_step_into_the_undefined_is_taken_back() -> None:
    def function(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value = torch.where(x[:, 0] < 1, torch.full_like(x[:, 0], float("nan")), x[:, 0])
        return value, torch.full_like(x, 3.0)

    found = minimise(function, torch.full((1, 1), 3.0), 12)
    assert torch.isfinite(found.value).all() and 1 <= float(found.x) < 1.5
