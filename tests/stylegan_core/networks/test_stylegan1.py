"""The StyleGAN generator: shapes, levels of detail, the rows of its Table 1, spaces, noise, derivatives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from stylegan_core.errors import CheckpointError, LatentError
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN1Config, config_from_dict, config_to_dict
from stylegan_core.networks.stylegan1 import downscaling_convolution, upscale, upscaling_convolution
from stylegan_core.noise import Noise
from stylegan_core.training.stylegan1_presets import PRESETS, stylegan1_parts
from tests.tiny import tiny_stylegan1

F64 = torch.float64
PROGRESSIVE = dict(use_styles=False, use_instance_norm=False, use_pixel_norm=True, use_const=False, use_noise=False, mapping_layers=0)


def ws_of(generator: Any, batch: int = 2, seed: int = 0) -> torch.Tensor:
    z = torch.randn(batch, generator.z_dim, generator=torch.Generator().manual_seed(seed), dtype=F64)
    with torch.no_grad():
        return generator.mapping(z.to(generator.w_avg.dtype))


def test_facts_and_shapes() -> None:
    generator = tiny_stylegan1(img_resolution=32, img_channels=1)
    assert generator.num_ws == 8 and list(generator.style_dims)[:3] == ["b4.conv0", "b4.conv1", "b8.conv0"]
    assert generator.style_dims["b32.conv1"] == 16  # scale and shift of 8 channels
    assert generator.noise_shapes["b32.conv0.noise_const"] == (32, 32) and len(generator.noise_shapes) == 8
    assert generator.img_shape == (32, 32)
    images = generator(torch.randn(3, 16))
    assert images.shape == (3, 1, 32, 32) and images.dtype == torch.float32 and bool(torch.isfinite(images).all())


@pytest.mark.parametrize("scale", [2, 4])
def test_one_step_convolutions_are_those_in_two_steps(scale: int) -> None:
    x, weight = torch.randn(2, 5, 3 * scale, 2 * scale, dtype=F64), torch.randn(4, 5, 3, 3, dtype=F64)
    assert torch.allclose(upscaling_convolution(x, weight), F.conv2d(upscale(x), weight, padding=1))
    assert torch.allclose(downscaling_convolution(x, weight), F.avg_pool2d(F.conv2d(x, weight, padding=1), 2))


def test_a_level_of_detail_has_fewer_pixels_and_fades_from_the_next() -> None:
    generator = tiny_stylegan1(dtype=F64)
    ws = ws_of(generator)
    full, half, quarter = (generator.synthesis(ws, lod=lod) for lod in (0.0, 1.0, 2.0))
    assert [images.shape[-1] for images in (full, half, quarter)] == [16, 8, 4]
    assert torch.equal(generator.synthesis(ws), full)
    assert torch.allclose(generator.synthesis(ws, lod=0.25), full.lerp(upscale(half), 0.25))
    assert torch.allclose(generator.synthesis(ws, lod=1.5), half.lerp(upscale(quarter), 0.5))
    generator.set_lod(1.5)
    assert generator.config.lod == 1.5
    assert torch.allclose(generator.synthesis(ws), upscale(half.lerp(upscale(quarter), 0.5)))
    with pytest.raises(CheckpointError, match=r"lod 2\.5"):
        generator.synthesis(ws, lod=2.5)
    with pytest.raises(CheckpointError, match="from 0 to 0"):
        tiny_stylegan1(is_growing=False).synthesis(ws.float(), lod=1.0)


def test_truncation_takes_any_psi_and_a_cutoff() -> None:
    generator = tiny_stylegan1()
    z = torch.randn(3, 16)
    ws, average = generator.mapping(z), generator.w_avg
    assert torch.allclose(generator.mapping(z, truncation_psi=-1.0), 2 * average - ws, atol=1e-6)
    cut = generator.mapping(z, truncation_psi=0.5, truncation_cutoff=2)
    assert torch.equal(cut[:, 2:], ws[:, 2:]) and torch.allclose(cut[:, :2], average.lerp(ws[:, :2], 0.5))


@pytest.mark.parametrize("row", PRESETS)
def test_every_row_of_table_1_builds_and_keeps_the_protocol(row: str) -> None:
    config, *_ = stylegan1_parts(row, resolution=16, w_dim=16, channel_base=256, channel_max=16)
    generator: Any = build(config)
    z = torch.randn(2, 16)
    latent = Latent(z, LatentSpace.Z)
    images = latent.render(generator)
    assert images.shape == (2, 3, 16, 16) and torch.equal(images, generator(z))
    for space in ("w", "w+", "s"):
        assert torch.equal(latent.lower(generator, to=space).render(generator), images)
    assert not torch.allclose(images[:1], images[1:])
    assert len(Noise.random(generator, [0, 1]).maps) == len(generator.noise_shapes) == (6 if config.use_noise else 0)
    assert config_from_dict(config_to_dict(config)) == config


@pytest.mark.parametrize("row", ["stylegan1-a", "stylegan1-f"])
def test_rows_take_labels(row: str) -> None:
    config, critic, _ = stylegan1_parts(row, resolution=16, c_dim=3, w_dim=16, channel_base=256, channel_max=16)
    generator, discriminator = build(config), build(critic)
    z, c = torch.randn(1, 16).expand(2, -1), torch.eye(3)[:2]
    images = generator(z, c)
    assert not torch.allclose(images[0], images[1]) and discriminator(images, c).shape == (2, 1)


def test_rows_differ_in_what_the_table_says() -> None:
    rows = {row: build(stylegan1_parts(row, resolution=16, w_dim=16, channel_base=256, channel_max=16)[0]) for row in PRESETS}
    names = {row: set(dict(generator.named_parameters())) for row, generator in rows.items()}
    assert names.pop("config-a") == names["stylegan1-f"]
    a, b, c, d, e, f = (names[row] for row in sorted(names))
    assert a == b and not any("affine" in name or "mapping" in name for name in a)
    assert any("affine" in name for name in c) and "synthesis.b4.dense" in c & a and "synthesis.b4.const" in d - c
    assert {name for name in e - d} == {name for name in e if name.endswith("noise_strength")} and e == f
    assert rows["stylegan1-a"].config.resample_filter == (1.0,) and rows["stylegan1-b"].config.resample_filter == (1.0, 2.0, 1.0)


def test_a_progressive_gan_normalises_every_pixel_and_has_one_row() -> None:
    generator = tiny_stylegan1(dtype=F64, resample_filter=(1.0,), **PROGRESSIVE)
    assert generator.num_ws == 1 and generator.style_dims == {"b4.dense": 16} and generator.noise_shapes == {}
    seen: list[torch.Tensor] = []
    generator.synthesis.b16.conv1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    generator(torch.randn(2, 16, dtype=F64))
    assert torch.allclose(seen[0].square().mean(dim=1), torch.ones(2, 16, 16, dtype=F64))


def test_instance_norm_and_style_set_mean_and_deviation() -> None:
    layer = tiny_stylegan1(dtype=F64).synthesis.b8.conv1
    scale, shift = torch.randn(2, 16, dtype=F64), torch.randn(2, 16, dtype=F64)
    out = layer(torch.randn(2, 16, 8, 8, dtype=F64), torch.cat([scale, shift], dim=1))
    assert torch.allclose(out.mean(dim=[2, 3]), shift)
    assert torch.allclose(out.std(dim=[2, 3], correction=0), (scale + 1).abs(), rtol=1e-6)


def test_frozen_weights_change_nothing_and_changes_are_seen() -> None:
    generator = tiny_stylegan1(dtype=F64)
    ws = ws_of(generator).requires_grad_()
    plain = generator.synthesis(ws)
    (expected,) = torch.autograd.grad(plain.square().sum(), ws)
    generator.requires_grad_(False)
    for _ in range(2):  # made, then kept
        fast = generator.synthesis(ws)
        assert torch.allclose(fast, plain) and torch.allclose(torch.autograd.grad(fast.square().sum(), ws)[0], expected)
    with torch.no_grad():
        generator.synthesis.b8.conv0.weight.mul_(2)
        assert not torch.allclose(generator.synthesis(ws), plain)


def test_noise_by_name_and_mode() -> None:
    generator = tiny_stylegan1(dtype=F64)
    ws = ws_of(generator)
    zeros = {name: torch.zeros(1, 1, *size, dtype=F64) for name, size in generator.noise_shapes.items()}
    assert torch.allclose(generator.synthesis(ws, noise=zeros), generator.synthesis(ws, noise_mode="none"))
    stored = Noise.const(generator, 2).maps
    assert torch.allclose(generator.synthesis(ws, noise=stored, noise_mode="random"), generator.synthesis(ws))
    assert not torch.allclose(generator.synthesis(ws, noise_mode="random"), generator.synthesis(ws))
    assert set(generator.synthesis.noise_maps(ws, "random", lod=1.5)) == {name for name in zeros if not name.startswith("b16")}
    with pytest.raises(LatentError, match="noise_mode 'loud'"):
        generator.synthesis(ws, noise_mode="loud")


def test_a_batch_is_its_images() -> None:
    generator = tiny_stylegan1(dtype=F64)
    ws = ws_of(generator, 3)
    streams = [[torch.Generator().manual_seed(i) for i in indices] for indices in (range(3), [1])]
    whole = generator.synthesis(ws, noise_mode="random", rng=streams[0])
    assert torch.allclose(whole[1:2], generator.synthesis(ws[1:2], noise_mode="random", rng=streams[1]), rtol=1e-10, atol=1e-12)


def test_derivatives_of_second_order_and_in_forward_mode() -> None:
    generator = tiny_stylegan1(dtype=F64, img_resolution=8)
    ws = ws_of(generator, 1).requires_grad_()
    (first,) = torch.autograd.grad(generator.synthesis(ws).square().sum(), ws, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), ws)
    assert bool(torch.isfinite(second).all()) and float(second.abs().max()) > 0
    tangent = torch.randn(ws.shape, generator=torch.Generator().manual_seed(3), dtype=F64)
    slope = torch.func.jvp(generator.synthesis, (ws.detach(),), (tangent,))[1]
    step = 1e-6 * tangent
    expected = (generator.synthesis(ws.detach() + step) - generator.synthesis(ws.detach() - step)) / 2e-6
    assert torch.allclose(slope, expected, atol=1e-6)
    several = torch.func.vmap(lambda t: torch.func.jvp(generator.synthesis, (ws.detach(),), (t,))[1])(torch.stack([tangent, -tangent]))
    assert torch.allclose(several[0], -several[1])


def test_labels_join_z_as_one_vector_where_asked() -> None:
    apart, joint = (tiny_stylegan1(c_dim=3, mapping_joint_norm=joint) for joint in (False, True))
    z, c = torch.randn(2, 16), torch.eye(3)[:2]
    assert apart(z, c).shape == joint(z, c).shape
    both = torch.cat([z, joint.mapping.embed(c)], dim=1)
    x = both / (both.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for i in range(2):
        x = getattr(joint.mapping, f"fc{i}")(x)
    assert torch.allclose(joint.mapping.to_w(z, c), x, atol=1e-6)


@pytest.mark.parametrize("change, words", [
    ({"img_resolution": 24}, "img_resolution 24"), ({"lod": 9.0}, "lod 9.0"), ({"activation": "swish"}, "activation"),
    ({"use_styles": False}, "no input"), ({"mapping_layers": 0, "w_dim": 8}, "w_dim 8"), ({"norm_eps": 0.0}, "norm_eps"),
    ({"channels": {4: 8}}, "none are given for 8 px"),
])  # fmt: skip
def test_a_configuration_that_cannot_be_built_is_refused(change: dict, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        StyleGAN1Config(**{"img_resolution": 16, "z_dim": 16, "w_dim": 16, **change}).validate()
