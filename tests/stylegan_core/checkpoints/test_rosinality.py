from __future__ import annotations

import argparse

import pytest
import torch

from stylegan_core.checkpoints.convert import convert, save_nvlabs, save_rosinality
from stylegan_core.checkpoints.keymap import (
    discriminator_kernels,
    discriminator_pairs,
    generator_kernels,
    generator_pairs,
    to_theirs,
)
from stylegan_core.checkpoints.native import save_native
from stylegan_core.checkpoints.registry import load_discriminator, load_generator, networks_in, read_checkpoint
from stylegan_core.checkpoints.strict import skeleton
from stylegan_core.errors import CheckpointError, UsageError
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN2Config, StyleGAN2DiscriminatorConfig
from stylegan_core.provenance import model_sha256
from tests.parity.rows import GOLDEN, table

CKPT, HOSTILE = GOLDEN / "ckpt", GOLDEN / "adversarial"
CONFIG = StyleGAN2Config(z_dim=8, w_dim=8, img_resolution=16, channel_base=128, channel_max=8, mapping_layers=2, conv_clamp=256)
D_CONFIG = StyleGAN2DiscriminatorConfig(img_resolution=16, channel_base=128, channel_max=8)


def random_network(config, seed=0):
    torch.manual_seed(seed)
    module = build(config)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if not name.endswith("resample_filter"):
                value.add_(torch.randn_like(value))
    return module


def test_the_names_are_those_of_full_size_files():
    resolutions = [2**power for power in range(2, 11)]
    for pairs, kernels, file in (
        (generator_pairs(resolutions, 8), generator_kernels(resolutions), "rosinality_1024_cm2_g_ema"),
        (discriminator_pairs(resolutions), discriminator_kernels(resolutions), "rosinality_1024_cm2_d"),
    ):
        assert {pair.theirs for pair in pairs} | set(kernels) == set(table(f"keylists/{file}")["keys"])
    for config, file in (
        (StyleGAN2Config(), "sg2ada_ffhq1024_G"),
        (StyleGAN2DiscriminatorConfig(), "sg2ada_ffhq1024_D"),
    ):
        ours = {name: list(value.shape) for name, value in skeleton(config, 1 << 30).state_dict().items()}
        assert ours == {name: entry["shape"] for name, entry in table(f"keylists/{file}")["keys"].items()}


def test_shapes_are_those_of_full_size_files():
    generator = skeleton(StyleGAN2Config(), 1 << 30)
    theirs = to_theirs(generator.state_dict(), generator_pairs(generator.config.resolutions, 8))
    keys = table("keylists/rosinality_1024_cm2_g_ema")["keys"]
    assert {name: list(value.shape) for name, value in theirs.items()} == {
        name: entry["shape"] for name, entry in keys.items() if not name.endswith(".kernel")
    }


def test_sizes_are_found_and_networks_listed():
    assert networks_in(CKPT / "ros_g32.pt") == ("G_ema", "G", "D")
    config = read_checkpoint(CKPT / "ros_g64_legacyfmt.pt").config
    assert config.channels == {4: 16, 8: 16, 16: 12, 32: 8, 64: 4} and config.mapping_layers == 8
    assert load_discriminator(CKPT / "ros_g32.pt").config.channels == {4: 24, 8: 24, 16: 16, 32: 8}


def test_a_training_snapshot_has_its_arguments_read_and_is_the_same_network():
    plain, train = read_checkpoint(CKPT / "ros_g32.pt"), read_checkpoint(CKPT / "ros_g32_train.pt")
    assert train.provenance["args"]["size"] == 32
    names = set(plain.state) - {"mapping.w_avg"}
    assert all(torch.equal(plain.state[name], train.state[name]) for name in names)
    assert any("average w" in warning for warning in train.provenance["warnings"])


def test_what_old_files_lack_is_filled_in_with_a_warning():
    path = HOSTILE / "ros_no_latent_avg_no_noises.pt"
    checkpoint, again = read_checkpoint(path), read_checkpoint(path)
    assert len(checkpoint.provenance["warnings"]) == 2
    assert model_sha256(checkpoint.state) == model_sha256(again.state)
    generator = load_generator(path)
    z = torch.randn(20_000, generator.z_dim, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        w = generator.mapping.to_w(z)
    assert (generator.w_avg - w.mean(dim=0)).norm() < 0.05 * w.std(dim=0).norm()


@pytest.mark.parametrize("name", ["ros_module_prefix.pt", "ros_state_dict_only.pt"])
def test_bare_and_prefixed_states(name):
    assert load_generator(HOSTILE / name).img_resolution == 64


def test_conversion_is_exact_in_every_direction(tmp_path):
    networks = {"G_ema": random_network(CONFIG), "G": random_network(CONFIG, 1), "D": random_network(D_CONFIG)}
    expected = {name: model_sha256(module) for name, module in networks.items()}
    save_rosinality(networks, tmp_path / "ros.pt")
    save_nvlabs(networks, tmp_path / "nv.pt")
    convert(tmp_path / "ros.pt", tmp_path / "nv2.pt", "nvlabs")
    convert(tmp_path / "nv2.pt", tmp_path / "ros2.pt", "rosinality")
    for file in ("ros.pt", "nv.pt", "nv2.pt", "ros2.pt"):
        assert networks_in(tmp_path / file) == ("G_ema", "G", "D")
        for name, module in networks.items():
            checkpoint = read_checkpoint(tmp_path / file, network=name)
            assert model_sha256(checkpoint.state) == expected[name], (file, name)
            assert checkpoint.config == module.config
            assert not checkpoint.provenance["warnings"]
    written = convert(tmp_path / "ros2.pt", tmp_path / "native.safetensors")
    assert [path.name for path in written] == [
        "native.safetensors", "native.G.safetensors", "native.discriminator.safetensors"
    ]  # fmt: skip
    assert [model_sha256(read_checkpoint(path).state) for path in written] == list(expected.values())


@pytest.mark.parametrize("file", ["sg2ada_uncond.pkl", "sg2ada_cond.pkl", "sg2ada_resnet_proto4.pkl", "sg3repo_sg2_32.pkl", "ros_g32.pt"])
def test_golden_files_survive_conversion(file, tmp_path):
    expected = {name: model_sha256(read_checkpoint(CKPT / file, network=name).state) for name in networks_in(CKPT / file)}
    convert(CKPT / file, tmp_path / "nv.pt", "nvlabs")
    assert {name: model_sha256(read_checkpoint(tmp_path / "nv.pt", network=name).state) for name in expected} == expected


def test_a_converted_file_is_what_rosinality_writes(tmp_path):
    save_rosinality({"G_ema": load_generator(CKPT / "ros_g32.pt"), "D": load_discriminator(CKPT / "ros_g32.pt")}, tmp_path / "a.pt")
    ours, theirs = (torch.load(path, weights_only=True) for path in (tmp_path / "a.pt", CKPT / "ros_g32.pt"))
    for key in ("g_ema", "d"):
        assert set(ours[key]) == set(theirs[key])
        assert all(torch.equal(ours[key][name], theirs[key][name]) for name in theirs[key])
    assert torch.equal(ours["latent_avg"], theirs["latent_avg"])


def test_official_arguments_are_those_of_the_file(tmp_path):
    convert(CKPT / "sg2ada_cond.pkl", tmp_path / "nv.pt", "nvlabs")
    arguments = torch.load(tmp_path / "nv.pt", weights_only=True)["init_kwargs"]
    official = table("ckpt/sg2ada_cond.G_ema.keys")["config"]
    kept = arguments["G_ema"]
    assert {name: kept[name] for name in ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")} == {
        name: official["G_kwargs"][name] for name in ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
    }
    base, limit = (kept["synthesis_kwargs"][name] for name in ("channel_base", "channel_max"))
    assert [min(base // size, limit) for size in (4, 8, 16)] == [min(256 // size, 24) for size in (4, 8, 16)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c_dim": 2}, "c_dim 0 only"),
        ({"z_dim": 6}, "z_dim 8 only"),
        ({"architecture": "resnet"}, "architecture 'skip' only"),
        ({"use_noise": False}, "use_noise True only"),
        ({"w_avg_beta": None}, "average w"),
        ({"img_channels": 1}, "img_channels 3 only"),
    ],
)
def test_what_the_other_code_cannot_build_is_refused(change, message, tmp_path):
    import dataclasses

    with pytest.raises(CheckpointError, match=message):
        save_rosinality({"G_ema": random_network(dataclasses.replace(CONFIG, **change))}, tmp_path / "a.pt")
    assert not (tmp_path / "a.pt").exists()


def test_widths_that_the_official_code_cannot_build(tmp_path):
    config = StyleGAN2Config(z_dim=8, w_dim=8, img_resolution=8, channels={4: 3, 8: 7}, mapping_layers=1)
    with pytest.raises(CheckpointError, match="cannot build the widths"):
        save_nvlabs({"G_ema": random_network(config)}, tmp_path / "a.pt")
    with pytest.raises(UsageError, match="native, rosinality, nvlabs"):
        convert(CKPT / "ros_g32.pt", tmp_path / "a.pt", "onnx")


def edited(tmp_path, change):
    content = torch.load(CKPT / "ros_g32.pt", weights_only=True)
    content["args"] = argparse.Namespace(size=32)
    change(content)
    torch.save(content, tmp_path / "a.pt")
    return tmp_path / "a.pt"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["g_ema"].pop("convs.3.conv.weight"), r"'convs\.3\.conv\.weight' is missing \(1 are\)"),
        (lambda c: c["g_ema"].pop("style.2.weight"), "style|mapping"),
        (lambda c: c["g_ema"].update(extra=torch.zeros(1)), r"'extra' does not belong .*0 missing, 1 unexpected"),
        (lambda c: c["g_ema"].update({"conv1.conv.weight": torch.zeros(24, 24, 3, 3)}), "does not fit its place"),
        (lambda c: c["g_ema"].update({"conv1.noise.weight": torch.ones(1, dtype=torch.int64)}), "int64"),
        (lambda c: c["g_ema"]["to_rgb1.bias"].fill_(float("inf")), r"g_ema\.to_rgb1\.bias"),
        (lambda c: c["g_ema"].update({"convs.0.conv.blur.kernel": torch.ones(4, 4)}), "another filter"),
        (lambda c: c["g_ema"].update({"convs.0.conv.blur.kernel": torch.eye(4)}), "not the same along both axes"),
        (lambda c: c["g_ema"].update({"input.input": "text"}), "is not a tensor"),
        (lambda c: c.update(g_ema=[1]), "g_ema is not a state dictionary"),
        (lambda c: c.update(latent_avg=torch.zeros(7)), r"mapping\.w_avg' has the shape \[7\]"),
        (lambda c: c.update(latent_avg="text"), "latent_avg is not a tensor"),
        (lambda c: c.update(invert='{"G_ema": {"kind": "stylegan2", "img_resolution": 64}}'), "missing|larger|shape|not that"),
    ],
)
def test_damaged_files_are_refused_in_one_line(change, message, tmp_path):
    path = edited(tmp_path, change)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_generator(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_native_file_has_the_hash_of_its_source(tmp_path):
    for file in ("ros_g32.pt", "sg2ada_cond.pkl"):
        generator = load_generator(CKPT / file)
        assert save_native(generator, tmp_path / "a.safetensors") == model_sha256(generator)
        assert read_checkpoint(tmp_path / "a.safetensors").config == generator.config
