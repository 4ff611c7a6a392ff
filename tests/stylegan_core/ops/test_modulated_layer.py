"""The one-step layer equals the plain steps in value and in every derivative."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stylegan_core.ops import modulated_layer as module
from stylegan_core.ops.frozen_conv import FrozenConv
from stylegan_core.ops.modulated_layer import Shape, is_known, mix_channels, modulated_layer, plain_layer
from stylegan_core.ops.upfirdn2d import setup_filter

F64 = torch.float64
SIZES = [  # batch, in, out, output size, up, maps of noise
    (2, 5, 4, 4, 1, 1), (3, 4, 6, 8, 2, 3), (1, 6, 4, 16, 1, 1), (2, 3, 4, 16, 2, 2), (2, 100, 96, 8, 1, 1), (2, 4, 4, 8, 1, 0)]


def arguments(batch: int, in_channels: int, out_channels: int, size: int, up: int, maps: int, *, dtype: torch.dtype = F64,
              act: str = "lrelu") -> tuple[list[Any], dict[str, Any]]:
    """Differentiable arguments x, styles, noise, colours, and the others by name."""
    rng = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=rng, dtype=dtype)  # noqa: E731
    moving = [draw(batch, in_channels, size // up, size // up), 1 + draw(batch, in_channels),
              draw(maps, 1, size, size) if maps else None, draw(batch, 3, out_channels)]
    shape = Shape(up, setup_filter([1, 3, 3, 1]).to(dtype), act, 1.3)
    still = dict(weight=draw(out_channels, in_channels, 3, 3), bias=draw(out_channels), shape=shape)
    return [None if value is None else value.requires_grad_() for value in moving], still


def fast(moving: list[Any], still: dict[str, Any]) -> Any:
    return modulated_layer(*moving, **still, conv=FrozenConv(still["weight"], still["shape"].up > 1))


def close(ours: Any, theirs: Any, tolerance: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert one.shape == other.shape
            one, other = one.detach(), other.detach()
            assert (one - other).abs().max() <= tolerance * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("act", ["lrelu", "relu", "linear"])
def test_values_and_gradients(sizes: tuple[int, ...], act: str) -> None:
    moving, still = arguments(*sizes, act=act)
    ours, theirs = fast(moving, still), plain_layer(*moving, **still)
    close(ours, theirs, 1e-13)
    inputs = [value for value in moving if value is not None]
    weights = [torch.randn_like(output) for output in ours]
    close(torch.autograd.grad(ours, inputs, weights), torch.autograd.grad(theirs, inputs, weights), 1e-12)


@pytest.mark.parametrize("chunk, block", [(1, 1), (700, 100), (1 << 20, 64)])
def test_the_cut_into_chunks_and_blocks_changes_nothing(chunk: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    moving, still = arguments(3, 4, 6, 8, 2, 3)
    expected = plain_layer(*moving, **still)
    weights = [torch.randn_like(output) for output in expected]
    gradients = torch.autograd.grad(expected, moving, weights)
    monkeypatch.setattr(module, "CHUNK", chunk)
    monkeypatch.setattr(module, "BLOCK", block)
    ours = fast(moving, still)
    close(ours, expected, 1e-13)
    close(torch.autograd.grad(ours, moving, weights), gradients, 1e-12)


def test_float32_is_near() -> None:
    moving, still = arguments(2, 128, 128, 16, 1, 1, dtype=torch.float32)
    ours, theirs = fast(moving, still), plain_layer(*moving, **still)
    close(ours, theirs, 2e-5)
    weights = [torch.randn_like(output) for output in ours]
    close(torch.autograd.grad(ours, moving, weights), torch.autograd.grad(theirs, moving, weights), 2e-5)


@pytest.mark.parametrize("sizes", [(2, 3, 2, 4, 1, 2), (1, 2, 3, 4, 2, 1)])
def test_first_and_second_derivatives(sizes: tuple[int, ...]) -> None:
    moving, still = arguments(*sizes)
    function = lambda *values: fast(list(values), still)  # noqa: E731
    assert torch.autograd.gradcheck(function, moving)
    assert torch.autograd.gradgradcheck(function, moving, atol=1e-4)


def test_only_what_is_asked_for() -> None:
    moving, still = arguments(2, 4, 4, 8, 1, 1)
    expected = torch.autograd.grad(plain_layer(*moving, **still)[0].square().sum(), moving[:3])
    for index in range(3):
        alone = [None if value is None else value.detach() for value in moving]
        alone[index].requires_grad_()
        (gradient,) = torch.autograd.grad(fast(alone, still)[0].square().sum(), alone[index])
        assert torch.allclose(gradient, expected[index])


@pytest.mark.parametrize("output", [0, 1])
def test_one_output_alone(output: int) -> None:
    moving, still = arguments(2, 4, 4, 8, 2, 1)
    ours, theirs = fast(moving, still)[output], plain_layer(*moving, **still)[output]
    gradients = torch.autograd.grad(ours.square().sum(), moving[:3])
    close(gradients, torch.autograd.grad(theirs.square().sum(), moving[:3]), 1e-12)


def test_a_style_of_zero_has_its_gradient() -> None:
    for dtype, tolerance in ((F64, 1e-12), (torch.float32, 1e-5)):
        moving, still = arguments(2, 4, 4, 8, 1, 1, dtype=dtype)
        with torch.no_grad():
            moving[1][:, 0] = 0
        ours, theirs = fast(moving, still)[0], plain_layer(*moving, **still)[0]
        close([ours], [theirs], tolerance)
        gradient = torch.autograd.grad(ours.square().sum(), moving[1])
        close(gradient, torch.autograd.grad(theirs.square().sum(), moving[1]), tolerance)
        assert gradient[0][:, 0].abs().min() > 0


def test_kinds_of_layers_that_are_known() -> None:
    weight, f = torch.zeros(4, 4, 3, 3), setup_filter([1, 3, 3, 1])
    assert is_known(weight, Shape(2, f, "lrelu", 1.0))
    assert is_known(weight, Shape(1, setup_filter([1, 2, 1]), "relu", 1.0))
    for shape in (Shape(2, setup_filter([1, 2, 1]), "lrelu", 1.0), Shape(2, f, "swish", 1.0), Shape(2, f, "lrelu", -1.0),
                  Shape(1, f, "lrelu", 1.0, clamp=256.0), Shape(2, setup_filter(list(range(1, 9))), "lrelu", 1.0)):
        assert not is_known(weight, shape)
    assert not is_known(torch.zeros(4, 4, 1, 1), Shape(1, f, "lrelu", 1.0))


def test_mixing_channels_is_a_pointwise_convolution() -> None:
    x, mixture = torch.randn(2, 5, 4, 6), torch.randn(2, 3, 5)
    expected = torch.einsum("nchw,nkc->nkhw", x, mixture)
    assert torch.allclose(mix_channels(x, mixture), expected, atol=1e-5)
    assert torch.allclose(mix_channels(x.contiguous(memory_format=torch.channels_last), mixture), expected, atol=1e-5)
