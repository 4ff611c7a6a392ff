from __future__ import annotations

import hashlib

import pytest
import torch
import torchvision

from stylegan_core.errors import CheckpointError, ImageError, UsageError, WeightsNotFoundError
from stylegan_core.losses.perceptual import (
    TRUNKS,
    OwnFeatures,
    Trunk,
    distance_to,
    load_lpips,
    shrink,
    trunk_folders,
    unit_normalised,
)


def pictures(seed: int, count: int = 2, side: int = 32, channels: int = 3) -> torch.Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder with a SqueezeNet of random weights in the file that torchvision would have fetched."""
    folder = tmp_path_factory.mktemp("cache")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    torch.save(state, folder / TRUNKS["squeeze"].file)
    return folder


@pytest.fixture
def squeeze(cache, monkeypatch):
    monkeypatch.setenv("INVERT_CACHE", str(cache))
    digest = hashlib.sha256((cache / TRUNKS["squeeze"].file).read_bytes()).hexdigest()
    return load_lpips("squeeze", trunk=Trunk(TRUNKS["squeeze"].file, digest[:8], "https://example.org/x", 17))


def test_the_real_loading_path(squeeze) -> None:
    a, b = pictures(0), pictures(1)
    value = distance_to(squeeze, b)(a)
    assert value.shape == (2,) and bool((value > 0).all())
    assert torch.allclose(distance_to(squeeze, a)(a), torch.zeros(2), atol=1e-6)
    assert torch.allclose(distance_to(squeeze, a)(b), value, rtol=1e-5)


def test_a_batch_is_its_single_images(squeeze) -> None:
    a, b = pictures(0, 3), pictures(1, 3)
    singles = torch.cat([distance_to(squeeze, b[i : i + 1])(a[i : i + 1]) for i in range(3)])
    assert torch.allclose(distance_to(squeeze, b)(a), singles, rtol=1e-4)


@pytest.mark.parametrize("channels, side", [(1, 32), (4, 32), (3, 8), (3, 48)])
def test_grey_rgba_small_and_large_pictures_work_and_differentiate(squeeze, channels: int, side: int) -> None:
    images = pictures(0, channels=channels, side=side).requires_grad_()
    value = distance_to(squeeze, pictures(1, channels=channels, side=side), largest_side=32)(images)
    (gradient,) = torch.autograd.grad(value.sum(), images)
    assert bool(torch.isfinite(gradient).all()) and float(gradient.abs().sum()) > 0


def test_a_black_picture_has_a_finite_gradient() -> None:
    activation = torch.zeros(1, 4, 2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(unit_normalised(activation).square().sum(), activation)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_what_the_mask_hides_does_not_count(squeeze) -> None:
    a, b = pictures(0), pictures(1)
    mask = torch.zeros(2, 1, 32, 32)
    mask[..., :16] = 1
    measured = distance_to(squeeze, b, mask)
    assert torch.allclose(measured(a), measured(a + (1 - mask) * pictures(2)), rtol=1e-5)


@pytest.mark.parametrize("target, message", [(pictures(0) * 127.5, r"\[-1, 1\]"), (pictures(0) * float("inf"), "finite")])
def test_targets_out_of_range_are_refused(squeeze, target: torch.Tensor, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        distance_to(squeeze, target)


def test_missing_weights_name_file_address_and_alternatives(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("INVERT_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "b"))
    assert trunk_folders() == [tmp_path / "a", tmp_path / "b" / "hub" / "checkpoints"]
    with pytest.raises(WeightsNotFoundError) as caught:
        load_lpips("vgg")
    for part in ("vgg16-397923af.pth", "https://download.pytorch.org", "--perceptual features", "--perceptual none"):
        assert part in str(caught.value)
    with pytest.raises(UsageError, match="one of vgg, alex"):
        load_lpips("resnet")


def test_weights_of_another_hash_are_not_used(cache, monkeypatch) -> None:
    monkeypatch.setenv("INVERT_CACHE", str(cache))
    with pytest.raises(CheckpointError, match=r"SHA-256.*not b8a52dc0"):
        load_lpips("squeeze")


def test_a_trunk_that_lacks_a_tensor_is_refused(tmp_path, monkeypatch) -> None:
    file = tmp_path / TRUNKS["squeeze"].file
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, file)
    monkeypatch.setenv("INVERT_CACHE", str(tmp_path))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(CheckpointError, match=r"lack features\.0\.bias"):
        load_lpips("squeeze", trunk=Trunk(file.name, digest[:8], "", 17))


def test_features_of_ones_own_are_a_distance() -> None:
    measure = OwnFeatures("mean", lambda images: images.mean(dim=(2, 3)))
    a, b = pictures(0), pictures(1)
    assert torch.allclose(distance_to(measure, b)(a), (a.mean(dim=(2, 3)) - b.mean(dim=(2, 3))).square().sum(dim=1))


def test_shrink_keeps_the_aspect() -> None:
    assert shrink(torch.zeros(1, 3, 40, 20), 10).shape == (1, 3, 10, 5)
    assert shrink(torch.zeros(1, 3, 8, 8), 10).shape == (1, 3, 8, 8)
