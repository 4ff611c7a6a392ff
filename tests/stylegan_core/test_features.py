"""Features: distances, sizes, channels, and what a file of another kind gets."""

from __future__ import annotations

import pytest
import torch

from stylegan_core.checkpoints.native import save_native
from stylegan_core.errors import CheckpointError, ImageError, WeightsNotFoundError
from stylegan_core.features import Features, load_features
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import AttributeNetworkConfig, StyleGAN2DiscriminatorConfig

CONFIG = AttributeNetworkConfig("plain", 16, (6, 8), 10, 0, ("tall", "red"), ("red",))


@pytest.fixture
def features() -> Features:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Features("tiny", build(CONFIG))


def pictures(count: int, *size: int, channels: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_distance_is_zero_for_equal_pictures_symmetric_and_per_image(features):
    a, b = pictures(3, 16, 16), pictures(3, 16, 16, seed=1)
    assert features.distance(a, a).abs().max() == 0
    assert torch.allclose(features.distance(a, b), features.distance(b, a))
    singles = torch.cat([features.distance(a[i : i + 1], b[i : i + 1]) for i in range(3)])
    assert torch.allclose(features.distance(a, b), singles, atol=1e-6) and (singles > 0).all()


def test_prepared_targets_give_the_same_distance(features):
    a, b = pictures(1, 16, 16), pictures(3, 16, 16, seed=1)
    prepared = features.prepare(a)
    assert torch.equal(features.distance_to(prepared, b), features.distance(a.expand(3, -1, -1, -1), b))


def test_weights_of_the_distance_count_per_depth(features):
    a, b = pictures(2, 16, 16), pictures(2, 16, 16, seed=1)
    whole = features.distance(a, b)
    features.network.distance_weight1.zero_()
    first = features.distance(a, b)
    features.network.distance_weight0.mul_(3)
    assert (first < whole).all() and torch.allclose(features.distance(a, b), 3 * first, rtol=1e-5)


def test_attributes_have_names_and_ranges(features):
    values = features.attributes(pictures(5, 16, 16))
    assert list(values) == ["tall", "red"] and all(value.shape == (5,) for value in values.values())
    assert (values["tall"].abs() <= 1).all() and (values["red"] >= 0).all() and (values["red"] <= 1).all()
    assert features.binary_names == ("red",) and features.embed(pictures(5, 16, 16)).shape == (5, 10)


def test_other_sizes_are_resampled(features):
    small = pictures(2, 16, 16)
    large = small.repeat_interleave(4, dim=2).repeat_interleave(2, dim=3)
    assert torch.allclose(features.logits(large), features.logits(small), atol=1e-5)
    for size in ((8, 8), (40, 23), (17, 17)):
        assert torch.isfinite(features.logits(pictures(1, *size))).all()
        assert features.prepared_images(pictures(1, *size)).shape == (1, 3, 16, 16)


def test_grey_is_the_same_as_equal_channels(features):
    grey = pictures(2, 16, 16, channels=1)
    assert torch.equal(features.logits(grey), features.logits(grey.expand(-1, 3, -1, -1)))
    rgba = torch.cat([pictures(2, 16, 16), torch.ones(2, 1, 16, 16)], dim=1)
    assert torch.allclose(features.logits(rgba), features.logits(rgba[:, :3]), atol=1e-5)


def test_gradients_reach_the_picture_not_the_network(features):
    images = pictures(1, 32, 32).requires_grad_()
    features.distance_to(features.prepare(pictures(1, 32, 32, seed=1)), images).sum().backward()
    assert images.grad.abs().sum() > 0 and all(parameter.grad is None for parameter in features.parameters())


def test_8_bit_values_are_refused(features):
    with pytest.raises(ImageError, match="divide 8-bit values"):
        features.distance(pictures(1, 16, 16) * 127.5 + 127.5, pictures(1, 16, 16))


def test_a_file_gives_the_same_features(features, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_native(features.network, path)
    loaded = load_features(path)
    assert loaded.name == "mine" and not loaded.training
    assert torch.equal(loaded.logits(pictures(2, 16, 16)), features.logits(pictures(2, 16, 16)))


def test_other_kinds_and_unknown_names_are_refused(tmp_path):
    path = tmp_path / "d.safetensors"
    save_native(build(StyleGAN2DiscriminatorConfig(img_resolution=8, channel_base=32, channel_max=4)), path)
    with pytest.raises(CheckpointError, match="discriminator"):
        load_features(path)
    with pytest.raises(WeightsNotFoundError, match="portraits-features"):
        load_features("portrait-features")
