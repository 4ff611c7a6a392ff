"""StyleGAN3 in files: sizes found, settings compared, every layout and back, the same hash."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from stylegan_core.checkpoints.convert import convert, official_arguments
from stylegan_core.checkpoints.registry import load_discriminator, load_generator, networks_in, read_checkpoint
from stylegan_core.errors import CheckpointError
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN3Config
from stylegan_core.provenance import model_sha256
from tests.parity.rows import GOLDEN, table

CKPT = GOLDEN / "ckpt"
SMALL = StyleGAN3Config(z_dim=8, w_dim=12, img_resolution=16, channel_base=128, channel_max=8, num_layers=4)
ODD = dataclasses.replace(SMALL, num_critical=1, margin_size=6, output_scale=0.5, filter_size=4, lrelu_upsampling=1, conv_kernel=1,
                          use_radial_filters=True, conv_clamp=None, first_cutoff=1.5, first_stopband=4.0, last_stopband_rel=1.3)


@pytest.mark.parametrize("name", ["sg3t_16", "sg3r_32_cond"])
def test_sizes_are_found_in_the_file(name: str) -> None:
    path = CKPT / f"{name}.pkl"
    assert networks_in(path) == ("G_ema", "G", "D")
    for network in ("G_ema", "G", "D"):
        checkpoint = read_checkpoint(path, network=network)
        keys = table(f"ckpt/{name}.{network}.keys")["keys"]
        assert {key: list(value.shape) for key, value in checkpoint.state.items()} == {key: entry["shape"] for key, entry in keys.items()}
        assert not checkpoint.provenance["warnings"]
    arguments, config = table(f"ckpt/{name}.G_ema.keys")["config"]["G_kwargs"], read_checkpoint(path).config
    assert all(getattr(config, key) == value for key, value in arguments.items() if key != "mapping_kwargs")
    assert config.mapping_layers == arguments["mapping_kwargs"]["num_layers"] and config.conv_clamp == 256
    assert load_discriminator(path).config.c_dim == config.c_dim


@pytest.mark.parametrize("name", ["sg3t_16", "sg3r_32_cond"])
@pytest.mark.parametrize("layout, suffix", [("native", "safetensors"), ("nvlabs", "pt")])
def test_a_converted_file_is_the_same_model(name: str, layout: str, suffix: str, tmp_path) -> None:
    source = CKPT / f"{name}.pkl"
    written = convert(source, tmp_path / f"a.{suffix}", layout)
    ours, theirs = load_generator(written[0]), load_generator(source)
    assert model_sha256(ours) == model_sha256(theirs) and ours.config == theirs.config
    z, c = torch.randn(2, ours.z_dim), torch.eye(3)[:2] if ours.c_dim else None
    assert torch.equal(ours(z, c), theirs(z, c))
    if layout == "nvlabs":
        assert networks_in(written[0]) == ("G_ema", "G", "D")
        assert model_sha256(load_discriminator(written[0])) == model_sha256(load_discriminator(source))


def test_rosinalitys_layout_has_no_place_for_it(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="has StyleGAN2 only, and G_ema is a stylegan3; write --to native or nvlabs"):
        convert(CKPT / "sg3t_16.pkl", tmp_path / "a.pt", "rosinality")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("config", [SMALL, ODD, dataclasses.replace(ODD, c_dim=2, mapping_embed_features=5)])
def test_settings_travel_in_arguments_and_in_modules(config: StyleGAN3Config, write_nvlabs) -> None:
    generator = build(config)
    generator.synthesis.input.transform[0, 2] = 0.25  # the user's motion is kept
    loaded = load_generator(write_nvlabs({"G_ema": generator}))
    assert loaded.config == config and not loaded.provenance["warnings"]
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in generator.state_dict().items())


@pytest.mark.parametrize("arguments, message", [
    ({"img_resolution": 1024}, "img_resolution"), ({"num_layers": 10**9}, "num_layers"), ({"conv_kernel": 5}, "conv_kernel"),
    ({"channel_base": 2**40}, "channel_base"), ({"channel_base": 64}, "channel_base 64 and channel_max 8"),
    ({"use_radial_filters": True}, "use_radial_filters"), ({"margin_size": 4}, r"L0_24_8.*is missing"),
    ({"first_cutoff": 1.0}, "another filter"),
    ({"first_stopband": 2**3.2}, "another filter"), ({"conv_clamp": 3}, "conv_clamp"), ({"output_scale": "x" * 999}, "output_scale"),
    ({"filter_size": 10**9}, "filter_size"), ({"lrelu_upsampling": [2]}, "lrelu_upsampling"), ({"w_dim": 13}, "w_dim")])
def test_arguments_that_lie_are_refused(write_nvlabs, arguments, message) -> None:
    given = {**official_arguments(SMALL), **arguments}
    with pytest.raises(CheckpointError, match=message) as caught:
        load_generator(write_nvlabs({"G_ema": build(SMALL)}, init_kwargs=given))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_an_unknown_setting_is_a_warning(write_nvlabs) -> None:
    given = {**official_arguments(SMALL), "num_fp16_res": 4, "frobnicate": 1}
    loaded = load_generator(write_nvlabs({"G_ema": build(SMALL)}, init_kwargs=given))
    assert loaded.provenance["warnings"] == ["the setting 'frobnicate' is not known and was ignored"]


def test_a_layer_that_is_missing_or_of_another_shape_is_named(tmp_path) -> None:
    state = build(SMALL).state_dict()
    torch.save({name: value for name, value in state.items() if ".L2_" not in name}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="without a gap"):
        load_generator(tmp_path / "a.pt")
    name = next(name for name in state if name.startswith("synthesis.L2") and name.endswith("affine.weight"))
    torch.save({**state, name: torch.zeros(3, 12)}, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=r"affine\.weight"):
        load_generator(tmp_path / "b.pt")


@pytest.mark.parametrize("is_bare", [True, False])
def test_state_dictionaries_that_people_saved_themselves(tmp_path, is_bare: bool) -> None:
    state = build(SMALL).state_dict()
    torch.save(state if is_bare else {"G_ema": state}, tmp_path / "a.pt")
    loaded = load_generator(tmp_path / "a.pt")
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in state.items())
    assert bool(loaded.provenance["warnings"]) == is_bare and loaded.config.conv_kernel == 3


def test_widths_that_follow_no_formula(tmp_path) -> None:
    config = dataclasses.replace(SMALL, widths=(8, 3, 8, 5))
    torch.save(build(config).state_dict(), tmp_path / "a.pt")
    loaded = load_generator(tmp_path / "a.pt")
    assert loaded.config.widths == (8, 3, 8, 5) and loaded(torch.randn(1, 8)).shape == (1, 3, 16, 16)
    with pytest.raises(CheckpointError, match="do not follow its formula"):
        official_arguments(loaded.config)
