"""The discriminator: shapes, errors, the minibatch statistic, gradients of gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stylegan_core.errors import LatentError
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN2DiscriminatorConfig
from stylegan_core.networks.discriminator import MinibatchStdLayer


def tiny_discriminator(**facts: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(StyleGAN2DiscriminatorConfig(**{"img_resolution": 16, "channel_base": 128, "channel_max": 16, **facts}))


@pytest.mark.parametrize("architecture", ["resnet", "skip", "orig"])
@pytest.mark.parametrize("c_dim", [0, 3])
def test_logits(architecture: str, c_dim: int) -> None:
    discriminator = tiny_discriminator(architecture=architecture, c_dim=c_dim, mapping_layers=1)
    images = torch.randn(4, 3, 16, 16)
    c = torch.eye(3)[[0, 1, 2, 0]] if c_dim else None
    logits = discriminator(images, c)
    assert logits.shape == (4, 1)
    last = discriminator(images.contiguous(memory_format=torch.channels_last), c)
    assert torch.allclose(last, logits, atol=1e-5)


def test_the_penalty_of_the_gradient_has_a_gradient() -> None:
    """R1 differentiates twice (Mescheder et al. 2018); checked against differences in float64."""
    discriminator = tiny_discriminator(img_resolution=8).double()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64).requires_grad_()
    weight = discriminator.b8.conv0.weight

    def penalty() -> torch.Tensor:
        return torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)[0].square().sum()

    (gradient,) = torch.autograd.grad(penalty(), weight)
    direction, step = torch.randn_like(weight), 1e-5
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight.add_(direction, alpha=sign * step)
        values.append(penalty().item())
        with torch.no_grad():
            weight.add_(direction, alpha=-sign * step)
    assert (gradient * direction).sum().item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4)


def test_the_statistic_is_shared_by_a_group() -> None:
    x = torch.randn(6, 4, 2, 2)
    y = MinibatchStdLayer(group_size=3, num_channels=2)(x)
    assert y.shape == (6, 6, 2, 2) and torch.equal(y[:, :4], x)
    statistic = y[:, 4:, 0, 0]
    assert torch.equal(statistic[[0, 1]], statistic[[2, 3]]) and torch.equal(statistic[[0, 1]], statistic[[4, 5]])
    member = torch.stack([x[0], x[2], x[4]])  # the group of image 0 is two apart
    expected = member.var(dim=0, correction=0).add(1e-8).sqrt()
    assert statistic[0].tolist() == pytest.approx([expected[:2].mean().item(), expected[2:].mean().item()], abs=1e-5)
    with pytest.raises(LatentError, match="batch of 6 does not divide into groups of 4"):
        MinibatchStdLayer(group_size=4)(x)


def test_pictures_of_another_size_are_named() -> None:
    with pytest.raises(LatentError, match=r"takes \[N, 3, 16, 16\]"):
        tiny_discriminator()(torch.zeros(1, 3, 8, 8))
    with pytest.raises(LatentError, match="needs a label"):
        tiny_discriminator(c_dim=2, mapping_layers=1)(torch.zeros(4, 3, 16, 16))
