"""`invert.project` takes pictures in every form and gives what the command gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import invert
from stylegan_core.errors import ImageError, UsageError
from stylegan_core.images import load_image
from tests.invert.cli.conftest import write_model, write_photos

QUICK = {"perceptual": "none", "steps": 3, "device": "cpu"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(write_model(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.fixture
def photo(tmp_path):
    write_photos(tmp_path, ["a.png"])
    return tmp_path / "a.png"


def test_one_picture_in_every_form(model, photo):
    array = np.asarray(Image.open(photo))
    tensor = load_image(photo)
    generator = invert.load_generator(model)
    reference = invert.project(photo, model, "w", **QUICK)
    assert reference.latent.value.shape == (1, 8) and reference.geometry["source_size"] == [40, 32]
    assert reference.metadata["model"] == model and reference.render(generator).shape == (1, 3, 16, 16)
    for form in (str(photo), Image.open(photo), array, tensor, tensor[0]):
        other = invert.project(form, generator, "w", **QUICK)
        assert torch.equal(other.latent.value, reference.latent.value)


def test_the_file_renders_the_same(model, photo, tmp_path):
    inversion = invert.project(photo, model, **QUICK)
    inversion.save(tmp_path / "a.inversion.safetensors")
    generator = invert.load_generator(model)
    assert torch.equal(invert.Inversion.load(tmp_path / "a.inversion.safetensors").render(generator), inversion.render(generator))


def test_lists_are_batches(model, photo):
    inversion = invert.project([photo, np.zeros((20, 30), np.uint8)], model, **QUICK)
    assert len(inversion) == 2 and inversion[1].geometry["source_size"] == [30, 20]
    assert inversion[0].geometry["source_size"] == [40, 32]


def test_a_callback_can_stop(model, photo):
    steps = []
    invert.project(photo, model, "w", callback=lambda info: steps.append(info.step) or len(steps) < 2, **{**QUICK, "steps": 50})
    assert steps == [1, 2]


def test_masks(model, photo):
    mask = np.zeros((32, 40), np.uint8)
    mask[:, 20:] = 255
    masked = invert.project(photo, model, mask=mask, fit="stretch", **QUICK)
    assert not torch.equal(masked.latent.value, invert.project(photo, model, fit="stretch", **QUICK).latent.value)
    with pytest.raises(ImageError, match="same size"):
        invert.project(photo, model, mask=mask[:5], **QUICK)


@pytest.mark.parametrize(
    "form",
    [np.zeros((4, 4, 3)), np.zeros(5, np.uint8), torch.zeros(4, 4), torch.full((3, 8, 8), 255.0), [], 7, torch.zeros(3, 8, 8).long()],
)
def test_what_is_no_picture(model, form):
    with pytest.raises(ImageError, match="picture"):
        invert.project(form, model, **QUICK)


def test_options_are_those_of_the_command(model, photo):
    for options, said in (
        ({"space": "v"}, "space"),
        ({"fit": "squeeze"}, "fit"),
        ({"class_index": 1}, "class"),
        ({"preset": "x"}, "preset"),
    ):
        with pytest.raises(UsageError, match=said):
            invert.project(photo, model, **QUICK, **options)
