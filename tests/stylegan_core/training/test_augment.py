"""Augmentation beyond the golden cases: batches, probabilities, channels, derivatives, the controller."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.losses.adversarial import path_lengths, r1_penalty
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN2DiscriminatorConfig
from stylegan_core.training import augment_geometry
from stylegan_core.training.augment import augment, build_augmenter, next_p
from stylegan_core.training.augment_colour import turn_hue
from stylegan_core.training.augment_config import AUGMENTATIONS, Augmentation
from stylegan_core.training.augment_filter import apply_band_gains, filter_bank, symlet
from stylegan_core.training.augment_geometry import warp
from stylegan_core.training.draws import QuantileDraws, RandomDraws
from tests.tiny import tiny_generator

EVERYTHING = AUGMENTATIONS["bgcfnc"]


def draws(count: int, first: int = 0) -> RandomDraws:
    return RandomDraws([torch.Generator().manual_seed(100 + first + i) for i in range(count)])


def pictures(count: int, channels: int = 3, height: int = 16, width: int = 16, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(1), dtype=dtype) * 2 - 1


@pytest.mark.parametrize("name", [*AUGMENTATIONS, "diff", "diff-color,cutout"])
@pytest.mark.parametrize("channels, height, width", [(3, 16, 16), (1, 24, 16), (4, 16, 24)])
def test_every_augmentation_keeps_the_shape_and_changes_pictures(name: str, channels: int, height: int, width: int) -> None:
    images = pictures(8, channels, height, width)
    result = build_augmenter(name)(images, 0.9, draws(8))
    assert result.shape == images.shape and torch.isfinite(result).all()
    assert (result != images).flatten(1).any(dim=1).sum() >= 4


@pytest.mark.parametrize("name", ["bgcfnc", "diff"])
def test_an_image_is_treated_alike_in_any_batch(name: str) -> None:
    images, augmenter = pictures(5), build_augmenter(name)
    together = augmenter(images, 0.7, draws(5))
    alone = torch.cat([augmenter(images[i : i + 1], 0.7, draws(1, first=i)) for i in range(5)])
    assert torch.allclose(together, alone, atol=2e-5)


def test_nothing_happens_at_probability_0_and_a_share_of_the_pictures_is_touched_at_others() -> None:
    images = pictures(400, height=8, width=8)
    assert augment(images, EVERYTHING, 0.0, draws(400)) is images
    for p in (0.2, 0.6):
        touched = (augment(images, Augmentation(brightness=1), p, draws(400)) != images).flatten(1).any(dim=1).float().mean()
        assert abs(float(touched) - p) < 0.08
    turned = (augment(images, Augmentation(rotate=1), 0.6, draws(400)) != images).flatten(1).any(dim=1).float().mean()
    assert abs(float(turned) - 0.6) < 0.08  # two turns that together happen as often as one
    whole = (augment(images, Augmentation(brightness=1), 4.0, draws(400)) != images).flatten(1).any(dim=1).float().mean()
    assert whole == 1  # the controller may rise above 1


def test_mirroring_and_turning_by_quarters() -> None:
    place = torch.linspace(0, 1, 32)
    images = ((3 * place[:, None] + 2 * place[None]).sin() * 0.8).expand(1, 3, 32, 32)
    flipped = augment(images, Augmentation(xflip=1), 1.0, QuantileDraws(1, 0.9))
    assert torch.allclose(flipped, images.flip(3), atol=0.02)  # the wavelet is not quite symmetric
    quarter = augment(images, Augmentation(rotate90=1), 1.0, QuantileDraws(1, 0.3))
    assert torch.allclose(quarter, torch.rot90(images, 1, [2, 3]), atol=0.02)
    shifted = augment(images, Augmentation(xint=1), 1.0, QuantileDraws(1, 0.999))
    assert torch.allclose(shifted[:, :, 4:, 4:], images[:, :, :-4, :-4], atol=1e-4)


def test_matrices_and_filters_resample_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    images, inverse = pictures(2, height=24, width=16), augment_geometry.rotation(torch.tensor([0.5, 2.0]))
    by_matrix = warp(images, inverse)
    monkeypatch.setattr(augment_geometry, "LARGEST_MATRIX", 4)
    assert torch.allclose(warp(images, inverse), by_matrix, atol=1e-5)


def test_opacity_keeps_its_colour_and_other_channels_are_refused() -> None:
    images = pictures(3, channels=4)
    changed = augment(images, AUGMENTATIONS["color"], 1.0, draws(3))
    assert torch.equal(changed[:, 3], images[:, 3]) and not torch.allclose(changed[:, :3], images[:, :3])
    with pytest.raises(UsageError, match="2 channels"):
        augment(pictures(1, channels=2), AUGMENTATIONS["color"], 1.0, draws(1))


def test_grey_stays_grey_when_the_hue_turns() -> None:
    angle = torch.tensor([0.7])
    grey = torch.tensor([0.4, 0.4, 0.4, 1.0])
    assert torch.allclose(turn_hue(angle)[0] @ grey, grey, atol=1e-6)
    turns = turn_hue(torch.tensor([2 * np.pi / 3]))[0] @ torch.tensor([1.0, 0.0, 0.0, 1.0])
    assert torch.allclose(turns, torch.tensor([0.0, 1.0, 0.0, 1.0]), atol=1e-6)  # a third of a turn: red becomes green


def test_wavelets_are_orthogonal_and_the_bands_add_up() -> None:
    for moments in (2, 3, 6):
        taps = symlet(moments).double()
        for shift in range(0, 2 * moments, 2):
            product = float((taps[shift:] * taps[: len(taps) - shift]).sum() * 2)
            assert abs(product - (1 if shift == 0 else 0)) < 1e-6
    impulse = torch.zeros(filter_bank().shape[1])
    impulse[len(impulse) // 2] = 1
    assert torch.allclose(filter_bank().sum(dim=0), impulse, atol=1e-6)
    images = pictures(2, height=8, width=12)  # smaller than the filters, mirrored several times
    assert torch.allclose(apply_band_gains(images, torch.full([2, 4], 1.0001)), images, atol=1e-3)


def test_filtered_bands_keep_a_flat_picture_in_proportion() -> None:
    flat = torch.full([1, 3, 16, 16], 0.5)
    gained = apply_band_gains(flat, torch.tensor([[2.0, 1.0, 1.0, 1.0]]))
    assert torch.allclose(gained, flat * 4, atol=1e-4)  # once per axis


def test_the_whole_pipeline_differentiates_twice() -> None:
    images = pictures(2, height=6, width=6, dtype=torch.float64).requires_grad_()
    chosen = replace(EVERYTHING, imgfilter_std=0.3, saturation_std=0.3)
    assert torch.autograd.gradcheck(lambda x: augment(x, chosen, 0.8, draws(2)).tanh(), [images], fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: augment(x, chosen, 0.8, draws(2)).tanh(), [images], fast_mode=True)


@pytest.mark.parametrize("name", ["bgc", "bgcfnc", "diff"])
def test_r1_and_path_length_go_through_it(name: str) -> None:
    """Their gradients in a weight are those of finite differences."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        discriminator = build(StyleGAN2DiscriminatorConfig(img_resolution=16, channel_base=64, channel_max=8)).double()
    generator, augmenter = tiny_generator(dtype=torch.float64), build_augmenter(name)
    ws = generator.mapping(torch.randn(4, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)).detach()
    noise = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def r1() -> Tensor:
        images = pictures(4, dtype=torch.float64).requires_grad_()
        return r1_penalty(images, discriminator(augmenter(images, 0.8, draws(4)))).mean()

    def lengths() -> Tensor:
        rows = ws.clone().requires_grad_()
        images = augmenter(generator.synthesis(rows, noise_mode="const"), 0.8, draws(4))
        return path_lengths(images, rows, noise).square().mean()

    for value, weight in ((r1, discriminator.b16.conv0.weight), (lengths, generator.synthesis.b8.conv1.weight)):
        (gradient,) = torch.autograd.grad(value(), weight)
        index, step = int(gradient.abs().argmax()), 1e-5
        with torch.no_grad():
            place = weight.view(-1)[index]
            at = float(place)
            place.fill_(at + step)
            above = float(value_without_graph(value))
            place.fill_(at - step)
            below = float(value_without_graph(value))
            place.fill_(at)
        assert (above - below) / (2 * step) == pytest.approx(float(gradient.reshape(-1)[index]), rel=1e-4)


def value_without_graph(value) -> Tensor:
    with torch.enable_grad():
        return value().detach()


def test_the_controller_moves_towards_its_target_and_stays_at_or_above_0() -> None:
    assert next_p(0.5, 0.9, target=0.6, num_images=1000, kimg=100) == pytest.approx(0.51)
    assert next_p(0.5, 0.3, target=0.6, num_images=1000, kimg=100) == pytest.approx(0.49)
    assert next_p(0.5, 0.6, target=0.6, num_images=1000, kimg=100) == 0.5
    assert next_p(0.001, -1.0, target=0.6, num_images=1000, kimg=100) == 0.0


def test_unknown_names_are_refused() -> None:
    for name in ("bgd", "diff-blur", "diff-"):
        with pytest.raises(UsageError, match="bgcfnc"):
            build_augmenter(name)
