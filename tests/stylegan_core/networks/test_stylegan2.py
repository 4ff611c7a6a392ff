"""The generator: shapes, errors, spaces, noise, mixing, truncation, and the fast way for frozen weights against the plain one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from stylegan_core.errors import LatentError
from stylegan_core.weight_deltas import call_with
from tests.tiny import tiny_generator

F64 = torch.float64
ARCHITECTURES = ("skip", "resnet", "orig")


def frozen(**config: Any) -> Any:
    return tiny_generator(dtype=F64, **config).requires_grad_(False)


def ws_of(generator: Any, batch: int = 2, seed: int = 0) -> torch.Tensor:
    z = torch.randn(batch, generator.z_dim, generator=torch.Generator().manual_seed(seed), dtype=F64)
    with torch.no_grad():
        return generator.mapping(z.to(generator.w_avg.dtype))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_facts_and_shapes(architecture: str) -> None:
    generator = tiny_generator(architecture=architecture, img_channels=4, img_resolution=32)
    assert generator.num_ws == 8
    assert sum(generator.style_dims.values()) == generator.synthesis.affine(ws_of(generator).float()).shape[1]
    assert list(generator.style_dims)[:2] == (["b4.conv1", "b4.torgb"] if architecture == "skip" else ["b4.conv1", "b8.conv0"])
    assert generator.noise_shapes["b32.conv0.noise_const"] == (32, 32) and len(generator.noise_shapes) == 7
    assert generator.img_shape == (32, 32)
    images = generator(torch.randn(3, 16))
    assert images.shape == (3, 4, 32, 32) and images.dtype == torch.float32 and torch.isfinite(images).all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("activation", ["lrelu", "swish"])
def test_frozen_weights_change_nothing(architecture: str, activation: str) -> None:
    """The one-step layers and the plain ones give the same pictures and gradients, by W+ and by noise."""
    generator = tiny_generator(dtype=F64, architecture=architecture, activation=activation)
    noise = {name: torch.randn(2, 1, *size, dtype=F64).requires_grad_() for name, size in generator.noise_shapes.items()}
    ws = ws_of(generator).requires_grad_()
    inputs = [ws, *noise.values()]
    plain = generator.synthesis(ws, noise=noise)
    expected = torch.autograd.grad(plain.square().sum(), inputs)
    generator.requires_grad_(False)
    fast = generator.synthesis(ws, noise=noise)
    assert torch.allclose(fast, plain, rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(torch.autograd.grad(fast.square().sum(), inputs), expected):
        assert torch.allclose(ours, theirs, rtol=1e-8, atol=1e-10)
    with torch.no_grad():
        assert torch.equal(generator.synthesis(ws, noise=noise), fast)


def test_second_derivatives_through_the_generator() -> None:
    """What path-length regularisation needs, with the weights frozen and not."""
    generator, gradients = tiny_generator(dtype=F64), []
    ws = ws_of(generator).requires_grad_()
    for is_frozen in (False, True):
        generator.requires_grad_(not is_frozen)
        images = generator.synthesis(ws)
        (first,) = torch.autograd.grad((images * images.detach()).sum(), ws, create_graph=True)
        gradients.append(torch.autograd.grad(first.square().sum(), ws)[0])
    assert gradients[0].abs().max() > 0 and torch.allclose(*gradients)


def test_forward_mode_is_the_slope() -> None:
    generator = frozen()
    ws = ws_of(generator)
    tangent = torch.randn(ws.shape, generator=torch.Generator().manual_seed(3), dtype=F64)
    with torch.no_grad():
        slope = torch.func.jvp(generator.synthesis, (ws,), (tangent,))[1]
        step = 1e-6 * tangent
        expected = (generator.synthesis(ws + step) - generator.synthesis(ws - step)) / 2e-6
    assert torch.allclose(slope, expected, atol=1e-6)
    several = torch.func.vmap(lambda t: torch.func.jvp(generator.synthesis, (ws,), (t,))[1])(torch.stack([tangent, 2 * tangent]))
    assert torch.allclose(several[1], 2 * slope)
    (by_func,) = torch.func.grad(lambda value: generator.synthesis(value).square().sum(), argnums=(0,))(ws)
    ws.requires_grad_()
    assert torch.allclose(by_func, torch.autograd.grad(generator.synthesis(ws).square().sum(), ws)[0])


@pytest.mark.parametrize("is_frozen", [True, False])
def test_a_batch_is_its_images(is_frozen: bool) -> None:
    generator = tiny_generator(dtype=F64).requires_grad_(not is_frozen)
    ws = ws_of(generator, 5)
    seeds = lambda indices: [torch.Generator().manual_seed(100 + i) for i in indices]  # noqa: E731
    whole = generator.synthesis(ws, noise_mode="random", rng=seeds(range(5)))
    for i in (4, 0, 2):
        alone = generator.synthesis(ws[i : i + 1], noise_mode="random", rng=seeds([i]))
        assert torch.allclose(whole[i : i + 1], alone, rtol=1e-10, atol=1e-12)
    assert not torch.allclose(whole, generator.synthesis(ws, noise_mode="const"))


def test_noise_by_name_and_mode() -> None:
    generator = frozen()
    ws = ws_of(generator)
    const = generator.synthesis(ws)
    named = {name: generator.get_buffer(f"synthesis.{name}")[None, None].clone() for name in generator.noise_shapes}
    other = copy.deepcopy(generator)
    for name in named:
        other.get_buffer(f"synthesis.{name}").zero_()
    assert torch.equal(other.synthesis(ws, noise=named), const)
    assert torch.allclose(other.synthesis(ws), other.synthesis(ws, noise_mode="none"))
    zeros = {name: torch.zeros_like(maps) for name, maps in named.items()}
    assert torch.allclose(generator.synthesis(ws, noise=zeros), generator.synthesis(ws, noise_mode="none"))
    one = generator.synthesis(ws, noise_mode="random", rng=torch.Generator().manual_seed(1))
    assert torch.equal(one, generator.synthesis(ws, noise_mode="random", rng=torch.Generator().manual_seed(1)))


def test_styles_are_a_stage_between_ws_and_pictures() -> None:
    generator = frozen()
    ws = ws_of(generator)
    styles = generator.synthesis.affine(ws)
    assert torch.equal(generator.synthesis.render(styles), generator.synthesis(ws))
    layer = generator.synthesis.b8.conv0.affine
    assert torch.allclose(styles[:, 32:48], ws[:, 1] @ (layer.weight * layer.weight_gain).t() + layer.bias)  # after b4.conv1 and b4.torgb


def test_style_mixing_and_truncation() -> None:
    generator = frozen()
    a, b = ws_of(generator, 1, 0), ws_of(generator, 1, 1)
    swapped = torch.cat([a[:, :2], b[:, 2:]], dim=1)
    split = sum(width for name, width in generator.style_dims.items() if generator.synthesis.rows[name] < 2)
    assert torch.equal(generator.synthesis.affine(swapped)[:, :split], generator.synthesis.affine(a)[:, :split])
    z = torch.randn(2, 16, dtype=F64)
    full = generator.mapping(z)
    half = generator.mapping(z, truncation_psi=0.5, truncation_cutoff=3)
    assert torch.equal(half[:, 3:], full[:, 3:])
    assert torch.allclose(half[:, :3], (full[:, :3] + generator.w_avg) / 2)
    assert torch.allclose(generator.mapping(z, truncation_psi=0.0)[:, 0], generator.w_avg.expand(2, -1))


def test_weights_that_change_are_seen() -> None:
    """What is kept from call to call is never stale, however the weight was changed."""
    generator = frozen()
    ws = ws_of(generator)
    weight = generator.synthesis.b8.conv1.weight

    def fresh() -> torch.Tensor:
        return copy.deepcopy(generator).synthesis(ws)

    before = generator.synthesis(ws)
    with torch.no_grad():
        weight.mul_(1.5)
        weight[0] += 1
    after = generator.synthesis(ws)
    assert torch.equal(after, fresh()) and not torch.allclose(after, before)
    weight.data.copy_(weight.data.flip(0))
    assert torch.equal(generator.synthesis(ws), fresh())
    weight.data = weight.data * 2 + 1
    assert torch.equal(generator.synthesis(ws), fresh())
    generator.load_state_dict(frozen().state_dict())
    assert torch.equal(generator.synthesis(ws), before)
    for value in (generator.synthesis.b16.conv0.resample_filter, generator.synthesis.b16.resample_filter):
        value.mul_(2)
        assert torch.equal(generator.synthesis(ws), fresh())
    assert generator.float().synthesis(ws.float()).dtype == torch.float32
    assert torch.equal(generator.double().synthesis(ws), fresh())


def test_weight_deltas() -> None:
    generator = frozen()
    ws, name = ws_of(generator), "synthesis.b8.conv1.weight"
    delta = torch.randn_like(generator.get_parameter(name))
    before = generator.synthesis(ws)
    with torch.no_grad():
        shown = call_with(generator, {name: delta}, lambda g: g.synthesis(ws))
    assert torch.equal(generator.synthesis(ws), before)
    changed = copy.deepcopy(generator)
    changed.get_parameter(name).add_(delta)
    assert torch.equal(changed.synthesis(ws), shown)
    delta.requires_grad_()
    call_with(generator, {name: delta}, lambda g: g.synthesis(ws)).square().sum().backward()
    assert delta.grad is not None and delta.grad.abs().max() > 0


def test_memory_format_and_autocast() -> None:
    generator = tiny_generator().requires_grad_(False)
    ws = ws_of(generator).float().requires_grad_()
    expected = generator.synthesis(ws)
    generator.to(memory_format=torch.channels_last)
    assert torch.allclose(generator.synthesis(ws), expected, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        images = generator.synthesis(ws)
    assert images.dtype == torch.float32 and (images - expected).abs().max() < 0.2
    assert torch.autograd.grad(images.sum(), ws)[0].dtype == torch.float32
    double = copy.deepcopy(generator).double().synthesis(ws.double())
    assert torch.allclose(double.float(), expected, atol=1e-4)


def test_what_does_not_fit_is_named() -> None:
    generator = tiny_generator()
    with pytest.raises(LatentError, match=r"takes \[N, 6, 16\]"):
        generator.synthesis(torch.zeros(1, 5, 16))
    with pytest.raises(LatentError, match="styles have the shape"):
        generator.synthesis.render(torch.zeros(1, 7))
    with pytest.raises(LatentError, match="noise_mode 'loud': one of const, random, none"):
        generator(torch.zeros(1, 16), noise_mode="loud")
    with pytest.raises(LatentError, match="2 random generators for a batch of 3"):
        generator(torch.zeros(3, 16), noise_mode="random", rng=[torch.Generator(), torch.Generator()])
