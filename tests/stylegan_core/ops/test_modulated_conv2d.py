"""Modulated convolution: one shared convolution equals one per sample; derivatives of every kind."""

from __future__ import annotations

import pytest
import torch

from stylegan_core.ops.modulated_conv2d import conv2d_resample, demodulation, grouped_modulated_conv2d, modulated_conv2d
from stylegan_core.ops.upfirdn2d import setup_filter

F = setup_filter([1, 3, 3, 1]).double()


def inputs(batch: int = 2, size: int = 5) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64).requires_grad_()  # noqa: E731
    return draw(batch, 3, size, size), draw(2, 3, 3, 3), draw(batch, 3), draw(batch, 1, 1, 1)


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("demodulate", [True, False])
def test_equals_weights_per_sample(up: int, demodulate: bool) -> None:
    x, weight, styles, noise = inputs(3)
    options = dict(up=up, padding=1, resample_filter=F, demodulate=demodulate)
    ours, theirs = modulated_conv2d(x, weight, styles, noise, **options), grouped_modulated_conv2d(x, weight, styles, noise, **options)
    assert torch.allclose(ours, theirs)
    variables = (x, weight, styles, noise)
    for mine, other in zip(torch.autograd.grad(ours.square().sum(), variables), torch.autograd.grad(theirs.square().sum(), variables)):
        assert torch.allclose(mine, other)


@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2)])
def test_derivatives(up: int, down: int) -> None:
    function = lambda *values: modulated_conv2d(*values, up=up, down=down, padding=1, resample_filter=F)  # noqa: E731
    variables = inputs(2, 4)
    assert torch.autograd.gradcheck(function, variables, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, variables, atol=1e-4)


def test_a_batch_is_its_images() -> None:
    x, weight, styles, noise = inputs(4)
    whole = modulated_conv2d(x, weight, styles, noise, padding=1)
    for i in range(4):
        alone = modulated_conv2d(x[i : i + 1], weight, styles[i : i + 1], noise[i : i + 1], padding=1)
        assert torch.allclose(whole[i : i + 1], alone)


def test_demodulated_outputs_have_unit_variance() -> None:
    rng = torch.Generator().manual_seed(0)
    x, weight = torch.randn(4, 32, 16, 16, generator=rng), torch.randn(8, 32, 3, 3, generator=rng)
    styles = 3 * torch.rand(4, 32, generator=rng)
    y = modulated_conv2d(x, weight, styles, padding=1)[:, :, 1:-1, 1:-1]
    assert (y.var(dim=(2, 3)) - 1).abs().mean() < 0.2
    assert demodulation(weight, styles).shape == (4, 8)


@pytest.mark.parametrize("kernel, up, down, size", [(3, 1, 1, 8), (3, 2, 1, 16), (3, 1, 2, 4), (1, 2, 1, 16), (1, 1, 2, 4), (3, 2, 2, 8)])
def test_sizes_of_resampling(kernel: int, up: int, down: int, size: int) -> None:
    x, weight = torch.randn(2, 3, 8, 8), torch.randn(4, 3, kernel, kernel)
    f = setup_filter([1, 3, 3, 1])
    y = conv2d_resample(x, weight, f, up=up, down=down, padding=kernel // 2)
    assert y.shape == (2, 4, size, size)
    last = conv2d_resample(x.contiguous(memory_format=torch.channels_last), weight, f, up=up, down=down, padding=kernel // 2)
    assert torch.allclose(last, y, atol=1e-5)


def test_half_precision_stays_half() -> None:
    y = modulated_conv2d(torch.randn(1, 2, 4, 4).bfloat16(), torch.randn(2, 2, 3, 3), torch.ones(1, 2), torch.ones(1, 1, 4, 4), padding=1)
    assert y.dtype == torch.bfloat16
