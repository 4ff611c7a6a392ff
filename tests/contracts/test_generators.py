"""What every registered generator keeps: facts, calls, spaces, truncation, a batch that is its images, a file that is the network."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stylegan_core.checkpoints.native import kind_of, save_native
from stylegan_core.checkpoints.registry import load_generator
from stylegan_core.errors import LatentError
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.networks.build import BUILDERS, build
from stylegan_core.networks.configs import config_from_dict, config_to_dict
from stylegan_core.noise import Noise
from stylegan_core.provenance import model_sha256

SMALL = {"z_dim": 8, "w_dim": 12, "img_resolution": 16, "channel_base": 128, "channel_max": 8, "mapping_layers": 2}
KINDS = {config.kind: config for config in BUILDERS if kind_of(config) == "generator"}
F64 = torch.float64


def tiny(kind: str, **options: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(KINDS[kind](**{**SMALL, **options})).to(F64)


def z_of(generator: Any, count: int = 3) -> torch.Tensor:
    return torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(1), dtype=F64)


@pytest.mark.parametrize("kind", KINDS)
def test_facts_fit_what_the_calls_return(kind: str) -> None:
    generator = tiny(kind)
    images = generator(z_of(generator))
    assert images.shape == (3, generator.img_channels, *generator.img_shape) and torch.isfinite(images).all()
    assert generator.img_resolution == max(generator.img_shape)
    ws = generator.mapping(z_of(generator))
    assert ws.shape == (3, generator.num_ws, generator.w_dim) and generator.w_avg.shape == (generator.w_dim,)
    styles = generator.synthesis.affine(ws)
    assert styles.shape == (3, sum(generator.style_dims.values()))
    assert torch.allclose(generator.synthesis.render(styles), generator.synthesis(ws, noise_mode="const"))
    maps = generator.synthesis.noise_maps(styles, "random")
    assert {name: tuple(value.shape[2:]) for name, value in maps.items()} == dict(generator.noise_shapes)
    assert generator.synthesis(ws, force_fp32=True).shape == images.shape


@pytest.mark.parametrize("kind", KINDS)
def test_spaces_lower_to_the_same_picture(kind: str) -> None:
    generator = tiny(kind)
    latent = Latent(z_of(generator), LatentSpace.Z)
    noise = Noise.const(generator, 3).maps
    picture = latent.render(generator, noise=noise)
    for space in LatentSpace:
        lowered = latent.lower(generator, to=space)
        assert lowered.value.shape == (3, *space.shape(generator))
        assert torch.allclose(lowered.render(generator, noise=noise), picture, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_truncation_pulls_the_first_rows_to_the_mean(kind: str) -> None:
    generator, z = tiny(kind), z_of(tiny(kind))
    generator.mapping.w_avg.copy_(torch.randn(generator.w_dim, dtype=F64))
    ws = generator.mapping(z)
    cut = generator.mapping(z, truncation_psi=0.5, truncation_cutoff=2)
    assert torch.allclose(cut[:, :2], (ws[:, :2] + generator.w_avg) / 2) and torch.equal(cut[:, 2:], ws[:, 2:])
    assert torch.allclose(generator.mapping(z, truncation_psi=0), generator.w_avg.expand_as(ws))


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_its_images(kind: str) -> None:
    generator, z = tiny(kind), z_of(tiny(kind))
    with torch.no_grad():
        whole = generator(z)
        for i in range(3):
            assert torch.allclose(whole[i : i + 1], generator(z[i : i + 1]), atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_needed_where_there_are_classes(kind: str) -> None:
    generator = tiny(kind, c_dim=3)
    z, c = z_of(generator, 2), torch.eye(3, dtype=F64)
    assert not torch.allclose(generator(z, c[:2]), generator(z, c[1:]))
    with pytest.raises(LatentError, match="conditional"):
        generator(z)


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_is_named(kind: str) -> None:
    generator = tiny(kind)
    with pytest.raises(LatentError, match=rf"takes \[N, {generator.num_ws}, {generator.w_dim}\]"):
        generator.synthesis(torch.zeros(1, generator.num_ws + 1, generator.w_dim))
    with pytest.raises(LatentError, match="styles have the shape"):
        generator.synthesis.render(torch.zeros(1, 7))
    with pytest.raises(LatentError, match="noise_mode 'loud'"):
        generator(torch.zeros(1, generator.z_dim), noise_mode="loud")


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_differentiate_twice_and_in_forward_mode(kind: str) -> None:
    """Twice for path lengths, forward for second-order projection."""
    generator = tiny(kind).requires_grad_(False)
    ws = generator.mapping(z_of(generator, 1)).requires_grad_()
    images = generator.synthesis(ws, noise_mode="const")
    (first,) = torch.autograd.grad(images.square().sum(), ws, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), ws)
    assert torch.isfinite(second).all() and second.abs().max() > 0
    direction = torch.randn(ws.shape, generator=torch.Generator().manual_seed(2), dtype=F64)
    with torch.no_grad():
        slope = torch.func.jvp(lambda value: generator.synthesis(value).square().sum(), (ws.detach(),), (direction,))[1]
    assert torch.allclose(slope, (first * direction).sum(), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_is_the_same_network(kind: str, tmp_path) -> None:
    generator = tiny(kind).float()
    assert config_from_dict(config_to_dict(generator.config)) == generator.config
    for dtype in (torch.float32, torch.float16):
        digest = save_native(generator, tmp_path / "a.safetensors", dtype=dtype)
        loaded = load_generator(tmp_path / "a.safetensors")
        assert model_sha256(loaded) == digest and loaded.config == generator.config and not loaded.training
    save_native(generator.requires_grad_(False), tmp_path / "b.safetensors")
    z = z_of(generator).float()
    assert torch.equal(load_generator(tmp_path / "b.safetensors")(z), generator(z))
