"""Attribute networks: shapes, folding, configurations, and how smooth the distance is."""

from __future__ import annotations

import json

import pytest
import torch
from torch.autograd import forward_ad

from stylegan_core.errors import CheckpointError
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import AttributeNetworkConfig, config_from_dict, config_to_dict
from stylegan_core.networks.features import AttributeNetwork, fold

PLAIN = AttributeNetworkConfig("plain", 16, (6, 8), 10, 0, ("tall", "red"), ("red",))
RESIDUAL = AttributeNetworkConfig("residual", 16, (6, 8), 9, 5, ("tall", "red"), ("red",))


def network_of(config: AttributeNetworkConfig) -> AttributeNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(config)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("config", [PLAIN, RESIDUAL], ids=lambda config: config.architecture)
def test_shapes(config, images):
    network = network_of(config)
    assert network(images).shape == (3, 2)
    assert [tuple(x.shape) for x in network.maps(images)] == [(3, 6, 8, 8), (3, 8, 4, 4)]
    embedding = network.embed_pooled(network.pooled(images))
    assert embedding.shape == (3, config.embed_dim or config.pooled_dim)
    assert torch.allclose(embedding.norm(dim=1), torch.ones(3), atol=1e-5)
    values = network.squashed(torch.tensor([[-50.0, -50.0], [50.0, 50.0]]))
    assert torch.allclose(values, torch.tensor([[-1.0, 0.0], [1.0, 1.0]]))


@pytest.mark.parametrize("config", [PLAIN, RESIDUAL], ids=lambda config: config.architecture)
def test_folding_changes_nothing(config, images):
    from dataclasses import replace

    network = network_of(replace(config, batch_norm=True)).train()
    for _ in range(4):
        network(images * 3 + 1)  # so that the running statistics are not those of the start
    with torch.no_grad():
        network.distance_weight0.fill_(2.5)
        for name, parameter in network.named_parameters():
            if ".norm." in name:
                parameter.add_(0.3)
    network.eval()
    folded = fold(network)
    assert not folded.config.batch_norm and not any(".norm." in name for name in folded.state_dict())
    assert torch.allclose(folded(images), network(images), atol=1e-5)
    for ours, theirs in zip(folded.distance_maps(images), network.distance_maps(images), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("config", [PLAIN, RESIDUAL], ids=lambda config: config.architecture)
def test_configuration_survives_json(config):
    assert config_from_dict(json.loads(json.dumps(config_to_dict(config)))) == config


@pytest.mark.parametrize(
    "change, word",
    [
        ({"architecture": "round"}, "architecture"),
        ({"widths": (4, 4, 4, 4, 4)}, "stages"),
        ({"widths": (0, 4)}, "widths"),
        ({"pooled_dim": 100_000}, "pooled_dim"),
        ({"img_resolution": 4096, "widths": (1024,)}, "last map"),
        ({"attributes": ("red", "red")}, "attributes"),
        ({"binary": ("blue",)}, "blue"),
    ],
)
def test_configurations_that_are_refused(change, word):
    values = {**json.loads(json.dumps(config_to_dict(PLAIN))), **change}
    with pytest.raises(CheckpointError, match=word):
        config_from_dict(values)


def test_the_distance_of_the_plain_network_is_twice_differentiable(images):
    network = network_of(PLAIN).double()
    target = [x.detach() for x in network.distance_maps(images[:1].double())]

    def distance(x: torch.Tensor) -> torch.Tensor:
        return sum((a - b).square().sum() for a, b in zip(network.distance_maps(x), target, strict=True))

    x = images[1:2].double().requires_grad_()
    assert torch.autograd.gradcheck(distance, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(distance, x, fast_mode=True)


def test_forward_mode_equals_reverse_mode(images):
    network = network_of(PLAIN)
    network.requires_grad_(False)
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(2))

    def total(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([a.square().sum() for a in network.distance_maps(x)]).sum()

    with forward_ad.dual_level():
        forward = forward_ad.unpack_dual(total(forward_ad.make_dual(images, direction))).tangent
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(total(x), x)
    assert forward.item() == pytest.approx((gradient * direction).sum().item(), rel=1e-3, abs=1e-4)
