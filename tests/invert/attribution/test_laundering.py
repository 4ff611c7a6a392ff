"""What was done to a picture is found in its file and in its pixels; laundering itself can be repeated."""

from __future__ import annotations

import pytest
import torch

from invert.attribution.chains import CHAINS, FAMILY, as_jpeg, as_png, launder
from invert.attribution.laundering import laundering_of, quality_from_pixels, quality_of, standard_quantiser, tables_of
from invert.attribution.sources import Procedural
from stylegan_core.images import to_pil


@pytest.fixture(scope="module")
def portrait() -> torch.Tensor:
    return Procedural("portraits", 64).pictures([0])[0]


@pytest.mark.parametrize("quality", [30, 55, 75, 90])
def test_quality_is_read_from_the_file(portrait, quality: int) -> None:
    saved = as_jpeg(to_pil(portrait), quality)
    found = laundering_of(saved.pixels, saved.content)
    assert found.quality == quality and found.from_tables and quality_of(standard_quantiser(quality)) == quality


@pytest.mark.parametrize("quality", [30, 50, 70])
def test_quality_is_told_from_pixels_that_were_saved_again(portrait, quality: int) -> None:
    pixels = as_jpeg(to_pil(portrait), quality).pixels
    assert quality_from_pixels(pixels) == (quality, (0, 0))
    assert quality_from_pixels(pixels[:, :, 3:, 5:]) == (quality, (5, 3))


def test_a_picture_that_was_never_compressed_has_no_quality(portrait) -> None:
    found = laundering_of(portrait)
    assert found.quality is None and found.quantiser is None and tables_of(as_png(to_pil(portrait)).content) is None


def test_blur_and_noise_show(portrait) -> None:
    plain = laundering_of(portrait)
    blurred = laundering_of(torch.nn.functional.avg_pool2d(torch.nn.functional.pad(portrait, (1, 1, 1, 1), mode="replicate"), 3, 1))
    noisy = laundering_of(portrait + 0.1 * torch.randn(portrait.shape, generator=torch.Generator().manual_seed(0)))
    assert blurred.detail < plain.detail - 0.5 and noisy.grain > plain.grain + 3


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_can_be_repeated_and_depends_on_its_seed(portrait, name: str) -> None:
    first, again = launder(name, portrait, 1, 2), launder(name, portrait, 1, 2)
    assert first.content == again.content and first.pixels.shape[1] == 3 and first.pixels.abs().max() <= 1
    assert name == "clean" or any(launder(name, portrait, 1, n).content != first.content for n in (3, 4))


def test_the_family_does_not_hold_the_chain_that_calibration_never_sees() -> None:
    assert set(CHAINS) - set(FAMILY) == {"screenshot"}


def test_damaged_files_have_no_tables(tmp_path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xdb\x00\x01")
    assert tables_of(tmp_path / "broken.jpg") is None and tables_of(b"nothing") is None and tables_of(tmp_path / "absent.jpg") is None
