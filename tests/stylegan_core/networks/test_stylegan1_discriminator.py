"""The StyleGAN discriminator: levels of detail, labels, the minibatch statistic, second derivatives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from stylegan_core.errors import LatentError
from stylegan_core.losses.adversarial import r1_penalty
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN1DiscriminatorConfig, config_from_dict, config_to_dict

F64 = torch.float64


def tiny(**config: Any) -> Any:
    torch.manual_seed(0)
    return build(StyleGAN1DiscriminatorConfig(**{"img_resolution": 16, "channel_base": 256, "channel_max": 16, **config})).double()


def images(side: int, count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(side), dtype=F64)


def enlarged(pictures: torch.Tensor) -> torch.Tensor:
    return F.interpolate(pictures, scale_factor=2, mode="nearest")


def test_a_level_of_detail_takes_fewer_pixels_and_fades_to_the_next() -> None:
    discriminator = tiny()
    small = images(8)
    at_one = discriminator(small, lod=1.0)
    assert at_one.shape == (4, 1) and discriminator(images(4), lod=2.0).shape == (4, 1)
    assert torch.allclose(discriminator(enlarged(small), lod=1 - 1e-9), at_one, atol=1e-6)  # both see the same pictures
    assert not torch.allclose(discriminator(enlarged(small), lod=0.5), at_one)
    discriminator.set_lod(1.0)
    assert torch.allclose(discriminator(enlarged(small)), at_one)
    with pytest.raises(LatentError, match=r"takes \[N, 3, 8, 8\]"):
        discriminator(images(16), lod=1.0)


def test_labels_choose_the_logit() -> None:
    discriminator = tiny(c_dim=3)
    pictures = images(16)
    first, second = (discriminator(pictures, torch.eye(3, dtype=F64)[[k] * 4]) for k in (0, 1))
    assert first.shape == (4, 1) and not torch.allclose(first, second)
    with pytest.raises(LatentError, match="needs a label"):
        discriminator(pictures)


def test_the_minibatch_statistic_looks_at_the_group() -> None:
    discriminator, alone = tiny(mbstd_group_size=2), tiny(mbstd_num_channels=0)
    pictures = images(16)
    assert not torch.allclose(discriminator(pictures)[:1], discriminator(pictures[:1]))
    assert torch.allclose(alone(pictures)[:1], alone(pictures[:1]))


def test_r1_differentiates_twice() -> None:
    discriminator = tiny()
    real = images(16).requires_grad_()
    r1_penalty(real, discriminator(real)).mean().backward()
    gradients = [parameter.grad for name, parameter in discriminator.named_parameters() if "b16" in name and "weight" in name]
    assert all(bool(torch.isfinite(gradient).all()) and float(gradient.abs().max()) > 0 for gradient in gradients)


@pytest.mark.parametrize("config", [{}, {"is_growing": False}, {"resample_filter": (1.0,)}, {"dense_width": 5}, {"c_dim": 2}])
def test_configurations_survive_a_file(config: dict) -> None:
    held = tiny(**config).config
    assert config_from_dict(config_to_dict(held)) == held
