from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from stylegan_core.networks.filters import design_lowpass_filter
from stylegan_core.ops.filtered_lrelu import filtered_lrelu
from stylegan_core.ops.normalised_conv2d import normalised_conv2d
from stylegan_core.ops.upfirdn2d import upfirdn2d

F64 = torch.float64
LINE = design_lowpass_filter(12, 2.0, 2.5, 32).double()
DISC = design_lowpass_filter(12, 7.9, 8.2, 64, radial=True).double()


def spelled_out(x, fu, fd, b, up, down, padding, gain, slope, clamp):
    """The steps one after another."""
    x = x if b is None else x + b[:, None, None]
    x = upfirdn2d(x, fu, up=up, padding=padding, gain=up**2)
    x = F.leaky_relu(x, slope) * gain
    x = x if clamp is None else x.clamp(-clamp, clamp)
    return upfirdn2d(x, fd, down=down)


def example(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, 11, 9, generator=rng, dtype=F64), torch.randn(3, generator=rng, dtype=F64)


@pytest.mark.parametrize("fu, fd", [(LINE, LINE), (LINE, DISC), (DISC, LINE), (None, LINE), (LINE, None)])
@pytest.mark.parametrize("padding", [9, [10, 11, 9, 8], [-3, 30, 25, -2]])
@pytest.mark.parametrize("clamp", [None, 0.3])
def test_folded_gains_change_nothing(fu, fd, padding, clamp) -> None:
    x, b = example()
    up = 1 if fu is None else 2
    down = 1 if fd is None else 2
    ours = filtered_lrelu(x, fu, fd, b, up=up, down=down, padding=padding, gain=1.7, slope=0.1, clamp=clamp)
    assert torch.allclose(ours, spelled_out(x, fu, fd, b, up, down, padding, 1.7, 0.1, clamp), atol=1e-12)


def test_gradients_of_both_orders() -> None:
    x, b = example()
    function = lambda x, b: filtered_lrelu(x[:, :, :4, :4], LINE, DISC, b, up=2, down=2, padding=9, clamp=1.5)  # noqa: E731
    x, b = x.requires_grad_(), b.requires_grad_()
    assert torch.autograd.gradcheck(function, (x, b)) and torch.autograd.gradgradcheck(function, (x, b))


def test_half_a_sample_goes_through_it() -> None:
    """What the layer is for: the picture moved by half a sample gives the result moved by half a sample; without filters it does not."""
    fu, fd = (design_lowpass_filter(taps, 6.0, 20.0, 64.0).double() for taps in (12, 12))
    place = torch.arange(96, dtype=F64)

    def through(shift: float, is_filtered: bool) -> torch.Tensor:
        turn = 2 * math.pi * (place - shift) / 32
        x = (torch.sin(3 * turn) + 0.5 * torch.cos(2 * turn)).expand(1, 1, 96, 96)
        y = filtered_lrelu(x, fu, fd, up=2, down=2, padding=[11, 10, 11, 10]) if is_filtered else F.leaky_relu(x, 0.2) * math.sqrt(2)
        return y[0, 0, 48, 32:64]  # one period, far from the edges

    def moved(row: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft(torch.fft.rfft(row) * torch.exp(-1j * math.pi * torch.arange(17) / 32), 32)

    errors = [float((moved(through(0.0, smooth)) - through(0.5, smooth)).std() / through(0.5, smooth).std()) for smooth in (True, False)]
    assert errors[0] < 0.003 and errors[1] > 5 * errors[0]


def test_the_modulated_convolution_is_that_of_weights_per_sample() -> None:
    rng = torch.Generator().manual_seed(0)
    x, w = torch.randn(2, 4, 6, 5, generator=rng, dtype=F64), torch.randn(3, 4, 3, 3, generator=rng, dtype=F64)
    styles, b = torch.randn(2, 4, generator=rng, dtype=F64), torch.randn(3, generator=rng, dtype=F64)
    input_gain = torch.tensor(0.7, dtype=F64)
    ours = normalised_conv2d(x, w, styles, b, input_gain=input_gain, padding=2, gain=1.3)
    for n in range(2):
        own = w * styles[n, None, :, None, None]
        own = own / own.square().sum(dim=[1, 2, 3], keepdim=True).sqrt()
        theirs = (F.conv2d(x[n : n + 1] * 0.7, own, padding=2) + b[:, None, None]) * 1.3
        assert torch.allclose(ours[n : n + 1], theirs, atol=1e-8)
    assert torch.allclose(normalised_conv2d(x, w, styles * 1e-6, b, input_gain=input_gain, padding=2, gain=1.3), ours, atol=1e-8)
