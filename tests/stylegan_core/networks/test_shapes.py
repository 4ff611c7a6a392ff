"""Pictures that are not square, content boxes, and networks without demodulation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stylegan_core.checkpoints.convert import save_nvlabs, save_rosinality
from stylegan_core.checkpoints.native import save_native
from stylegan_core.checkpoints.registry import load_discriminator, load_generator
from stylegan_core.errors import CheckpointError
from stylegan_core.images import picture_proper
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN2Config, StyleGAN2DiscriminatorConfig, config_from_dict, config_to_dict
from tests.tiny import tiny_generator


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("const_shape, shape", [((6, 4), (24, 16)), ((3, 4), (12, 16)), ((4, 4), (16, 16))])
def test_a_constant_of_another_shape_makes_pictures_of_that_shape(architecture: str, const_shape: tuple, shape: tuple) -> None:
    generator = tiny_generator(architecture=architecture, const_shape=const_shape)
    images = generator(torch.randn(2, 16))
    assert images.shape == (2, 3, *shape) == (2, 3, *generator.img_shape)
    assert generator.img_resolution == max(shape)
    assert generator.noise_shapes["b16.conv1.noise_const"] == shape and generator.noise_shapes["b4.conv1.noise_const"] == const_shape
    discriminator = build(StyleGAN2DiscriminatorConfig(img_resolution=16, channel_base=128, channel_max=8, const_shape=const_shape))
    assert discriminator(images).shape == (2, 1)


def test_frozen_and_trained_layers_agree_on_a_rectangle() -> None:
    generator, z = tiny_generator(const_shape=(3, 4)), torch.randn(2, 16)
    trained = generator(z)
    assert torch.allclose(generator.requires_grad_(False)(z), trained, atol=1e-5)


def test_rectangles_survive_a_file(tmp_path: Path) -> None:
    generator = tiny_generator(const_shape=(6, 4), demodulate=False, content_box=(1, 0, 15, 24))
    z = torch.randn(1, 16)
    save_native(generator, tmp_path / "g.safetensors")
    loaded = load_generator(tmp_path / "g.safetensors")
    assert loaded.config == generator.config and torch.equal(loaded(z), generator(z))
    assert picture_proper(loaded(z), loaded).shape == (1, 3, 24, 14)
    discriminator = build(StyleGAN2DiscriminatorConfig(img_resolution=16, channel_base=128, channel_max=8, const_shape=(6, 4)))
    save_native(discriminator, tmp_path / "d.safetensors")
    assert load_discriminator(tmp_path / "d.safetensors").config.const_shape == (6, 4)


def test_layouts_of_other_code_refuse_what_it_does_not_have(tmp_path: Path) -> None:
    for facts in ({"const_shape": (6, 4)}, {"demodulate": False}):
        generator = tiny_generator(**facts)
        with pytest.raises(CheckpointError, match="square pictures and demodulation"):
            save_nvlabs({"G_ema": generator}, tmp_path / "g.pt")
        with pytest.raises(CheckpointError, match=next(iter(facts))):
            save_rosinality({"G_ema": generator}, tmp_path / "g.pt")


@pytest.mark.parametrize("facts, words", [({"const_shape": (0, 4)}, "const_shape"), ({"const_shape": (4,)}, "const_shape"),
                                          ({"const_shape": (400, 4)}, "const_shape"), ({"content_box": (0, 0, 17, 16)}, "content_box"),
                                          ({"content_box": (8, 0, 8, 16)}, "content_box")])
def test_impossible_shapes_are_refused(facts: dict, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        build(StyleGAN2Config(img_resolution=16, **facts))


def test_configurations_come_back_from_json() -> None:
    config = StyleGAN2Config(img_resolution=16, const_shape=(3, 4), demodulate=False)
    assert config_from_dict(config_to_dict(config)) == config


def test_without_demodulation_a_style_scales_what_follows() -> None:
    """With it, scaling all styles of a layer changes nothing."""
    for demodulate in (True, False):
        generator = tiny_generator(demodulate=demodulate, use_noise=False, activation="linear")
        x, style = torch.randn(2, 16, 16, 16), torch.randn(2, 16).abs() + 0.5
        layer = generator.synthesis.b16.conv1
        before, after = layer(x, style), layer(x, style * 3)
        assert torch.allclose(after, before if demodulate else before * 3, atol=1e-4)
        assert 0.3 < before.std() / x.std() < 6
