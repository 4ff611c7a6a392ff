"""Resampling filters beyond the golden cases: shapes, errors, derivatives of every kind, dtypes, memory formats."""

from __future__ import annotations

import pytest
import torch

from stylegan_core.ops.upfirdn2d import downsample2d, filter2d, pair, setup_filter, upfirdn2d, upsample2d, upsampling_matrices


def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def test_sizes() -> None:
    x, f = numbers(2, 3, 8, 6, dtype=torch.float32), setup_filter([1, 3, 3, 1])
    assert upsample2d(x, f).shape == (2, 3, 16, 12)
    assert downsample2d(x, f).shape == (2, 3, 4, 3)
    assert filter2d(x, f).shape == x.shape
    assert upfirdn2d(x, None, up=[3, 1], down=[1, 2], padding=[1, 0, -1, 2]).shape == (2, 3, 5, 19)


def test_zeros_are_inserted_and_the_filter_is_turned() -> None:
    x = torch.tensor([[[[1.0, 2.0]]]])
    f = torch.tensor([[1.0, 10.0, 100.0]])
    assert upfirdn2d(x, f, up=[2, 1], padding=[2, 0, 0, 0]).tolist() == [[[[1, 10, 102, 20]]]]
    assert upfirdn2d(x, f, up=[2, 1], padding=[2, 0, 0, 0], flip_filter=True).tolist() == [[[[100, 10, 201, 20]]]]


def test_brightness_stays_inside() -> None:
    f = setup_filter([1, 3, 3, 1])
    flat = torch.ones(1, 1, 16, 16)
    for resampled in (upsample2d(flat, f), downsample2d(flat, f), filter2d(flat, f)):
        assert torch.allclose(resampled[:, :, 2:-2, 2:-2], torch.ones(()), atol=1e-6)


def test_filters_that_are_none() -> None:
    assert setup_filter(None).tolist() == [[1.0]]
    assert setup_filter(list(range(1, 9))).ndim == 1  # eight taps stay separable
    with pytest.raises(ValueError, match="one or two axes"):
        setup_filter(torch.ones(2, 2, 2))
    with pytest.raises(ValueError, match="at least one tap"):
        setup_filter([])
    assert pair([2, 3]) == (2, 3)


def test_a_separable_filter_equals_its_outer_product() -> None:
    x, taps = numbers(1, 2, 12, 12), torch.arange(1.0, 9.0)
    f = setup_filter(taps).double()
    whole = upfirdn2d(x, torch.outer(f, f), up=2, down=3, padding=[3, 4, 2, 5])
    assert torch.allclose(upfirdn2d(x, f, up=2, down=3, padding=[3, 4, 2, 5]), whole)


@pytest.mark.parametrize("size", [4, 7])
@pytest.mark.parametrize("taps", [[1, 3, 3, 1], [1, 2, 1], [1, 5], [1, 2, 3, 4, 5]])
def test_upsampling_as_matrix_products(size: int, taps: list[float]) -> None:
    x, f = numbers(2, 3, size, size), setup_filter(taps).double()
    matrices = upsampling_matrices(f, size)
    assert matrices is not None
    assert torch.allclose(matrices[0] @ x @ matrices[1], upsample2d(x, f))


def test_a_filter_that_is_no_outer_product_has_no_matrices() -> None:
    assert upsampling_matrices(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 4) is None
    assert upsampling_matrices(setup_filter(list(range(1, 9))), 4) is None


@pytest.mark.parametrize("options", [dict(up=2, padding=[2, 1, 2, 1]), dict(down=2, padding=1), dict(padding=[-1, 2, 0, 1])])
def test_derivatives(options: dict[str, object]) -> None:
    x, f = numbers(1, 2, 5, 4).requires_grad_(), setup_filter([1, 3, 3, 1]).double()
    resample = lambda value: upfirdn2d(value, f, **options)  # noqa: E731
    assert torch.autograd.gradcheck(resample, x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(resample, x)


def test_dtype_and_memory_format_are_kept() -> None:
    x, f = numbers(2, 4, 8, 8, dtype=torch.float32), setup_filter([1, 3, 3, 1])
    expected = upsample2d(x, f)
    last = upsample2d(x.contiguous(memory_format=torch.channels_last), f)
    assert torch.allclose(last, expected, atol=1e-6)
    assert upsample2d(x.bfloat16(), f).dtype == torch.bfloat16
