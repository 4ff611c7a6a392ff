"""What lies between a render and a picture: the same as the toolkit's own resizing, JPEG's rounding at the right size."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from invert.attribution.channel import GREY, Channel, block_cosines, blurring, resampling
from invert.attribution.laundering import standard_quantiser, tables_of
from stylegan_core.images import from_u8, resize, to_pil


def noise(size: int = 32, seed: int = 0) -> torch.Tensor:
    small = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8
    return torch.nn.functional.interpolate(small, size=(size, size), mode="bicubic", align_corners=False).clamp(-1, 1)


@pytest.mark.parametrize("wanted", [16, 23, 32])
def test_resampling_is_that_of_images(wanted: int) -> None:
    image = noise()
    matrix = resampling(32, wanted, 0, 32)
    ours = (matrix @ image @ matrix.t()).clamp(float(image.min()), float(image.max()))  # as `resize` does
    assert torch.allclose(ours, resize(image, (wanted, wanted)), atol=1e-5)
    assert torch.allclose(matrix.sum(dim=1), torch.ones(wanted), atol=1e-5)


def test_a_crop_is_compared_on_its_own_pixels() -> None:
    image = noise()
    channel = Channel.of(image[:, :, 4:30, 6:28], (6, 4, 28, 30), (32, 32))
    assert channel.difference(image).abs().max() < 1e-6 and channel.mask.sum() == 26 * 22
    assert float(channel.num_values) == 3 * 26 * 22
    assert channel.difference(image.roll(1, dims=3)).abs().max() > 0.01


def test_a_batch_of_channels_holds_its_parts() -> None:
    image = noise()
    parts = [Channel.of(image, (0, 0, 32, 32), (32, 32)), Channel.of(image[:, :, :20], (0, 0, 32, 20), (32, 32), blur=0.8)]
    both = Channel.cat(parts)
    for i, part in enumerate(parts):
        assert torch.equal(both.take(torch.tensor([i])).whitened(image), part.whitened(image))


def test_cosines_are_orthonormal_and_their_inverse_is_the_picture() -> None:
    image = noise()
    cosines = block_cosines(image)
    assert torch.allclose(cosines.square().sum(), image.square().sum(), rtol=1e-5)
    assert torch.allclose(cosines[0, :, 0, 0], image[0, :, :8, :8].mean(dim=(1, 2)) * 8, atol=1e-5)


@pytest.mark.parametrize("quality", [40, 75])
def test_jpeg_rounding_is_of_the_size_that_its_tables_say(quality: int) -> None:
    image = noise(64)
    file = io.BytesIO()
    to_pil(image).save(file, "JPEG", quality=quality)
    pixels = from_u8(torch.from_numpy(np.array(Image.open(file)))[None])
    quantiser = tables_of(file.getvalue())
    assert quantiser == standard_quantiser(quality) and quantiser.is_halved
    known = Channel.of(pixels, (0, 0, 64, 64), (64, 64), quantiser=quantiser).whitened(image)
    unknown = Channel.of(pixels, (0, 0, 64, 64), (64, 64)).whitened(image)
    assert known.square().mean() < 1 < unknown.square().mean()
    assert Channel.of(pixels, (0, 0, 64, 64), (64, 64), quantiser=quantiser).whitened(noise(64, 1)).square().mean() > 5


def test_blurring_keeps_flat_pictures_and_none_is_none() -> None:
    assert torch.equal(blurring(9, 0.0), torch.eye(9)) and torch.allclose(blurring(9, 1.0).sum(dim=1), torch.ones(9))


def test_the_floor_is_a_grey_level() -> None:
    image = noise()
    channel = Channel.of(image, (0, 0, 32, 32), (32, 32))
    assert torch.allclose(channel.whitened(image + GREY)[0, 0, 0, 0], torch.tensor(8.0), atol=1e-3)
