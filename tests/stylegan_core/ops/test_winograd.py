"""The fast convolution against the direct one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from stylegan_core.ops.winograd import convolve, transform_weight, transforms


def case(batch: int, in_channels: int, out_channels: int, height: int, width: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(batch, height, width, in_channels, generator=rng, dtype=dtype)
    weight = torch.randn(out_channels, in_channels, 3, 3, generator=rng, dtype=dtype) / (3 * in_channels**0.5)
    return x, weight, F.conv2d(x.permute(0, 3, 1, 2).double(), weight.double(), padding=1).permute(0, 2, 3, 1)


@pytest.mark.parametrize("shape", [(1, 3, 5, 4, 4), (3, 8, 2, 8, 12), (2, 1, 1, 16, 4)])
def test_exact_in_float64(shape: tuple[int, int, int, int, int]) -> None:
    x, weight, expected = case(*shape, dtype=torch.float64)
    assert torch.allclose(convolve(x, transform_weight(weight)), expected, rtol=0, atol=1e-13)


def test_error_in_float32() -> None:
    x, weight, expected = case(2, 256, 64, 16, 16, torch.float32)
    error = convolve(x, transform_weight(weight)) - expected
    assert error.square().mean().sqrt() < 3e-6  # of a result with the standard deviation 1
    assert error.abs().max() < 3e-5


def test_scales_of_channels() -> None:
    x, weight, _ = case(2, 6, 5, 8, 8, torch.float64)
    before, after = torch.rand(2, 6, dtype=torch.float64), torch.rand(2, 5, dtype=torch.float64)
    expected = convolve(x * before[:, None, None], transform_weight(weight)) * after[:, None, None]
    assert torch.allclose(convolve(x, transform_weight(weight), before, after), expected)


def test_the_transforms_are_of_a_small_size() -> None:
    matrices = transforms(torch.float32, torch.device("cpu"))
    assert [tuple(matrix.shape) for matrix in matrices] == [(36, 36), (36, 9), (16, 36)]
    assert max(float(matrix.abs().max()) for matrix in matrices) < 20  # large factors would cost digits
