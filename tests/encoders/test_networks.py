"""Backbones, heads and the latent discriminator's pool."""

from __future__ import annotations

import pytest
import torch

from encoders.backbones.build import build_backbone
from encoders.backbones.resnet import load_classifier
from encoders.base import resized
from encoders.configs import BACKBONES, EncoderConfig, backbone_of, encoder_config
from encoders.heads import num_halvings
from encoders.latent_discriminator import LatentPool
from stylegan_core.errors import CheckpointError, UsageError
from tests.tiny import tiny_generator


@pytest.mark.parametrize("name", [name for name in BACKBONES if name not in ("ir-152", "ir-se-152", "ir-100", "resnet-101")])
def test_maps_are_chosen_by_stride_at_any_resolution(name: str) -> None:
    from dataclasses import replace

    config = replace(BACKBONES[name], widths=(4, 6, 8, 10), in_channels=6)
    backbone = build_backbone(config).eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 6, 32, 48), (4, 8, 16))
    assert {stride: tuple(value.shape) for stride, value in maps.items()} == {
        stride: (1, config.channels(stride), 32 // stride, 48 // stride) for stride in (4, 8, 16)}


def test_depths_are_those_of_the_papers() -> None:
    for name, depth in {"ir-50": 24, "ir-se-100": 49, "ir-152": 50}.items():
        assert sum(BACKBONES[name].units) == depth


def test_a_classifier_starts_a_backbone() -> None:
    from dataclasses import replace

    import torchvision

    config = replace(BACKBONES["resnet-18"], in_channels=6)
    classifier, backbone = torchvision.models.resnet18(weights=None).eval(), build_backbone(config).eval()
    load_classifier(backbone, classifier.state_dict(), config)
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        stem = torch.relu(classifier.bn1(classifier.conv1(x)))
        expected = classifier.layer4(classifier.layer3(classifier.layer2(classifier.layer1(stem))))
        assert torch.allclose(backbone(torch.cat([x, torch.randn(1, 3, 32, 32)], dim=1))[16], expected, atol=1e-5)


@pytest.mark.parametrize("side, count", [(1, 1), (2, 1), (3, 2), (4, 2), (16, 4), (64, 6)])
def test_halvings(side: int, count: int) -> None:
    assert num_halvings(side) == count


def test_configurations_that_cannot_be_are_named() -> None:
    generator = tiny_generator()
    with pytest.raises(UsageError, match="backbone 'vgg': one of ir-50"):
        backbone_of("vgg", generator)
    with pytest.raises(UsageError, match="method 'x'"):
        encoder_config("x", generator)
    with pytest.raises(CheckpointError, match="level_rows"):
        EncoderConfig("psp", BACKBONES["tiny"], "maps", num_ws=4, level_rows=(3, 3, 0)).validate()
    with pytest.raises(CheckpointError, match="has the head pool"):
        EncoderConfig("w", BACKBONES["tiny"], "maps").validate()


def test_the_pool_gives_older_latents_and_forgets_none_in_hand() -> None:
    pool, rng = LatentPool(3, 2), torch.Generator().manual_seed(0)
    first = torch.arange(6.0).view(3, 2)
    assert torch.equal(pool.exchanged(first, rng), first) and int(pool.count) == 3
    more = 100 + torch.arange(20.0).view(10, 2)
    given = pool.exchanged(more, rng)
    rows = {tuple(row.tolist()) for row in torch.cat([given, pool.held])}
    assert rows == {tuple(row.tolist()) for row in torch.cat([first, more])}
    assert bool((given < 100).any()) and torch.equal(LatentPool(0, 2).exchanged(more, rng), more)


def test_pictures_are_cut_to_the_aspect_and_brought_to_size() -> None:
    picture = torch.arange(64.0).view(1, 1, 8, 8)
    assert torch.equal(resized(picture, (8, 8)), picture)
    assert torch.equal(resized(picture, (6, 8)), picture[:, :, 1:7])
    assert torch.equal(resized(picture, (3, 4)), torch.nn.functional.avg_pool2d(picture[:, :, 1:7], 2))
    assert torch.equal(resized(picture, (16, 16)), picture.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert resized(picture, (5, 5)).shape == (1, 1, 5, 5)


def test_an_attribute_network_starts_a_strided_backbone() -> None:
    from dataclasses import replace

    from encoders.backbones.strided import load_features_into
    from stylegan_core.features import load_features

    features = load_features("portraits-features")
    config = replace(BACKBONES["strided"], in_channels=6)
    backbone = build_backbone(config).eval()
    load_features_into(backbone, features)
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        maps = backbone(torch.cat([x, torch.randn(2, 3, 64, 64)], dim=1), (2, 4, 8, 16))
        for stride, expected in zip((2, 4, 8, 16), features.network.maps(x)):
            assert torch.equal(maps[stride], expected)
    with pytest.raises(UsageError, match="--backbone-start portraits-features: its layers are not those"):
        load_features_into(build_backbone(replace(config, widths=(4, 6, 8, 10))), features)
