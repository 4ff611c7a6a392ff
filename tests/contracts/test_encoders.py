"""What every kind of encoder keeps, for generators of several sizes."""

from __future__ import annotations

import pytest
import torch

from encoders.build import KINDS, config_for, encoder_for
from encoders.checkpoints import load_encoder
from encoders.configs import config_from_dict, config_to_dict, level_rows
from encoders.native import save_encoder
from stylegan_core.errors import CheckpointError, ImageError
from stylegan_core.inversion import Inversion
from tests.tiny import sample_pictures, tiny_generator


def moved(encoder, seed: int = 0):
    """The encoder away from its start, so that everything has an effect."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in encoder.named_parameters():
            value.add_(0.05 * torch.randn(value.shape, generator=rng).to(value))
            if value.ndim == 4:
                value.mul_(2.5)  # so that pictures differ in what is found in them
            if name.endswith(("linear.weight", "rows.0.weight", "rows.1.weight")):
                value.add_(torch.randn(value.shape, generator=rng).to(value))
    return encoder.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def generator():
    return tiny_generator().requires_grad_(False)


@pytest.fixture(scope="module")
def pictures(generator):
    return sample_pictures(generator, [1000, 1001, 1002])[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_encoder_gives_the_average(generator, pictures, kind: str) -> None:
    encoder = encoder_for(generator, kind, backbone="tiny", num_iterations=2).eval()
    inversion = encoder.encode(pictures)
    average = generator.synthesis(generator.w_avg.expand(3, generator.num_ws, -1))
    assert torch.allclose(inversion.render(generator), average, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_equals_its_single_runs_and_renders_from_its_file(generator, pictures, tmp_path, kind: str) -> None:
    encoder = moved(encoder_for(generator, kind, backbone="tiny", num_iterations=2))
    batch = encoder.encode(pictures)
    assert len(batch) == 3 and batch.facts(1)["method"] == kind
    for i in range(3):
        single = encoder.encode(pictures[i : i + 1])
        spread = float(batch.latent.value.std())
        assert float((single.latent.value - batch.latent.value[i : i + 1]).abs().max()) < 1e-5 * max(1.0, spread)
        assert torch.allclose(single.render(generator), batch[i].render(generator), atol=1e-3)
    assert not torch.allclose(batch[0].render(generator), batch[1].render(generator), atol=1e-3)
    batch[0].save(tmp_path / "a.safetensors")
    assert torch.equal(Inversion.load(tmp_path / "a.safetensors").render(generator), batch[0].render(generator))


@pytest.mark.parametrize("kind", ["restyle-psp", "restyle-e4e"])
def test_what_is_encoded_is_the_last_pass(generator, pictures, kind: str) -> None:
    encoder = moved(encoder_for(generator, kind, backbone="tiny", num_iterations=3))
    passes = [ws for ws, _ in encoder.passes(pictures)]
    assert len(passes) == 3 and torch.equal(passes[-1], encoder.encode(pictures).latent.value)
    assert not torch.allclose(passes[0], passes[1], atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_encoder_is_the_same_and_names_what_is_wrong(generator, pictures, tmp_path, kind: str) -> None:
    encoder = moved(encoder_for(generator, kind, backbone="tiny", num_iterations=2))
    path = tmp_path / "encoder.safetensors"
    digest = save_encoder(encoder, path, provenance={"steps": 1}, generator_name="nowhere")
    again = load_encoder(path, generator=generator)
    assert len(digest) == 64 and again.config == encoder.config
    assert torch.equal(again.encode(pictures).latent.value, encoder.encode(pictures).latent.value)
    assert not any(parameter.requires_grad for parameter in again.parameters())
    wider = tiny_generator(w_dim=20, channel_max=12)
    with pytest.raises(CheckpointError, match=r"encoder\.safetensors: this .* for another model"):
        load_encoder(path, generator=wider)
    if kind.startswith("restyle") or kind == "hyperstyle":
        with pytest.raises(CheckpointError, match=r"nowhere.* was not found; give generator="):
            load_encoder(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [{"img_resolution": 32, "img_channels": 1}, {"img_resolution": 8, "w_dim": 12}])
def test_rows_sizes_and_channels_are_the_generators(kind: str, size: dict) -> None:
    generator = tiny_generator(**size).requires_grad_(False)
    encoder = moved(encoder_for(generator, kind, backbone="tiny", num_iterations=1))
    inversion = encoder.encode(torch.zeros(1, 3, 40, 40))  # another size, in colour
    inversion.check(generator)
    assert inversion.render(generator).shape == (1, generator.img_channels, generator.img_resolution, generator.img_resolution)
    assert config_from_dict(config_to_dict(encoder.config)) == encoder.config


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_picture_is_refused(generator, kind: str) -> None:
    encoder = encoder_for(generator, kind, backbone="tiny", num_iterations=1).eval()
    with pytest.raises(ImageError, match="beyond"):
        encoder.encode(torch.full((1, 3, 16, 16), 255.0))
    with pytest.raises(ImageError, match="floats"):
        encoder.encode(torch.zeros(3, 16, 16))


def test_levels_follow_from_resolutions() -> None:
    assert level_rows(tiny_generator(img_resolution=64)) == (3, 4, 3)  # as in the published encoders
    assert level_rows(tiny_generator(img_resolution=32)) == (3, 4, 1)
    assert level_rows(tiny_generator(img_resolution=16)) == (3, 3, 0)
    config = config_for("psp", tiny_generator(img_resolution=16))
    assert config.input_shape == (16, 16) and config.backbone.widths[-1] < 512
