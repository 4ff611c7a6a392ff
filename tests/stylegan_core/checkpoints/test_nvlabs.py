from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stylegan_core.checkpoints.registry import load_discriminator, load_generator, networks_in, read_checkpoint
from stylegan_core.errors import CheckpointError, UnknownCheckpointError
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN2Config, StyleGAN2DiscriminatorConfig
from stylegan_core.provenance import bytes_sha256
from tests.parity.rows import GOLDEN, table

CKPT = GOLDEN / "ckpt"
SMALL = StyleGAN2Config(z_dim=8, w_dim=12, img_resolution=16, channel_base=128, channel_max=8, mapping_layers=2)


@pytest.mark.parametrize("name", ["sg2ada_uncond", "sg2ada_cond", "sg2ada_resnet_proto4", "sg3repo_sg2_32"])
def test_sizes_are_found_in_the_file(name):
    path = CKPT / f"{name}.pkl"
    assert networks_in(path) == ("G_ema", "G", "D")
    for network in ("G_ema", "G", "D"):
        checkpoint = read_checkpoint(path, network=network)
        keys = table(f"ckpt/{name}.{network}.keys")["keys"]
        assert {key: list(value.shape) for key, value in checkpoint.state.items()} == {
            key: entry["shape"] for key, entry in keys.items()
        }
        assert checkpoint.kind == ("discriminator" if network == "D" else "generator")
        assert checkpoint.provenance["network"] == network and not checkpoint.provenance["warnings"]
    arguments = table(f"ckpt/{name}.G_ema.keys")["config"]["G_kwargs"]
    config = read_checkpoint(path).config
    assert (config.z_dim, config.c_dim, config.w_dim) == (arguments["z_dim"], arguments["c_dim"], arguments["w_dim"])
    assert config.mapping_layers == arguments["mapping_kwargs"]["num_layers"]


def test_settings_that_no_tensor_shows():
    config = read_checkpoint(CKPT / "sg2ada_uncond.pkl").config
    assert config.conv_clamp == 256 and config.w_avg_beta == 0.995 and config.architecture == "skip"
    assert read_checkpoint(CKPT / "sg2ada_cond.pkl").config.conv_clamp is None
    flat = read_checkpoint(CKPT / "sg3repo_sg2_32.pkl").config
    assert flat.conv_clamp == 256 and flat.w_avg_beta == 0.998  # that repository's defaults, found in the modules
    assert read_checkpoint(CKPT / "sg2ada_resnet_proto4.pkl").config.architecture == "resnet"
    discriminator = read_checkpoint(CKPT / "sg2ada_cond.pkl", network="D").config
    assert discriminator.mbstd_group_size == 2 and discriminator.c_dim == 3 and discriminator.cmap_dim == 24
    assert read_checkpoint(CKPT / "sg2ada_resnet_proto4.pkl", network="D").config.architecture == "skip"


def test_a_missing_network_is_named():
    with pytest.raises(CheckpointError, match="no network 'G' in the file; it holds G_ema"):
        load_generator(GOLDEN / "adversarial" / "valid_G_ema_only.pkl", network="G")
    with pytest.raises(CheckpointError, match="D is a discriminator"):
        load_generator(CKPT / "sg2ada_uncond.pkl", network="D")


@pytest.mark.parametrize("name", ["psp_strided_128.pt"])
def test_kin_that_cannot_be_built_yet_is_recognised(name):
    messages = {"psp": r"use encoders\.load_encoder"}
    with pytest.raises(UnknownCheckpointError, match=messages[name.split("_")[0]]):
        load_generator(CKPT / name)


def test_the_discriminator_of_a_stylegan3_file_is_read():
    assert load_discriminator(CKPT / "sg3t_16.pkl").img_resolution == 16


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_source_in_the_file_is_not_run(write_nvlabs, tmp_path, protocol):
    marker = tmp_path / "marker"
    source = f"open({str(marker)!r}, 'w').close()\nclass Generator:\n    pass\n"
    generator = build(SMALL)
    discriminator = build(StyleGAN2DiscriminatorConfig(img_resolution=16, channel_base=128, channel_max=8))
    path = write_nvlabs({"G": None, "D": discriminator, "G_ema": generator}, module_src=source, protocol=protocol)
    assert source.encode() in path.read_bytes()
    loaded = load_generator(path)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in generator.state_dict().items())
    assert loaded.provenance["source_in_file_sha256"] == [bytes_sha256(source.encode())]
    assert loaded.provenance["networks"] == ["G_ema", "D"]
    assert load_discriminator(path).config.channels == {4: 8, 8: 8, 16: 8}
    assert not marker.exists()


def test_a_golden_file_with_source_text_put_into_it(tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "network.pkl"
    source = f"__import__('pathlib').Path({str(marker)!r}).touch()".encode()
    data = (CKPT / "sg2ada_uncond.pkl").read_bytes()
    empty = b"X\0\0\0\0"  # the text '' of module_src, which every module shares
    assert data.count(empty) >= 1
    path.write_bytes(data.replace(empty, b"X" + len(source).to_bytes(4, "little") + source))
    ours, theirs = read_checkpoint(path), read_checkpoint(CKPT / "sg2ada_uncond.pkl")
    assert all(torch.equal(value, theirs.state[name]) for name, value in ours.state.items())
    assert ours.provenance["source_in_file_sha256"] == [bytes_sha256(source)]
    assert not marker.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"img_resolution": 1024}, "img_resolution"),
        ({"z_dim": 9}, "z_dim"),
        ({"c_dim": 2}, "c_dim"),
        ({"mapping_kwargs": {"num_layers": 10**9}}, "mapping_layers 1000000000 and 2"),
        ({"mapping_kwargs": {"layer_features": 3}, "channel_base": 128, "channel_max": 8}, "mapping_layer_features"),
        ({"mapping_kwargs": {"w_avg_beta": 0.5}}, "w_avg_beta"),
        ({"synthesis_kwargs": {"channel_base": 2**40, "channel_max": 2**30}}, "channel_base"),
        ({"synthesis_kwargs": {"channel_base": "x" * 1000, "channel_max": 8}}, "channel_base"),
        ({"synthesis_kwargs": {"channel_base": 128, "channel_max": 8, "architecture": "resnet"}}, "architecture"),
        ({"channel_base": 128, "channel_max": 8, "resample_filter": [1, 2, 2, 1]}, "another filter"),
        ({"channel_base": 128, "channel_max": 8, "resample_filter": "abc"}, "resample_filter"),
        ({"channel_base": 128, "channel_max": 8, "use_noise": False}, "use_noise"),
    ],
)
def test_arguments_that_lie_are_refused(write_nvlabs, arguments, message):
    path = write_nvlabs({"G_ema": build(SMALL)}, init_kwargs={"z_dim": 8, "w_dim": 12, **arguments})
    with pytest.raises(CheckpointError, match=message) as caught:
        load_generator(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_an_unknown_setting_is_a_warning(write_nvlabs):
    arguments = {"synthesis_kwargs": {"channel_base": 128, "channel_max": 8, "num_fp16_res": 4, "frobnicate": 1}}
    loaded = load_generator(write_nvlabs({"G_ema": build(SMALL)}, init_kwargs=arguments))
    assert loaded.provenance["warnings"] == ["the setting 'frobnicate' is not known and was ignored"]


def test_a_filter_of_its_own(write_nvlabs):
    """Layers that do not resample keep the usual filter in official files, of another size even, and never use it."""
    import dataclasses

    from stylegan_core.ops.upfirdn2d import setup_filter

    generator = build(dataclasses.replace(SMALL, resample_filter=(1.0, 2.0, 1.0)))
    for name, layer in generator.synthesis.named_modules():
        if name.endswith("conv1"):
            layer.resample_filter = setup_filter([1, 3, 3, 1])
    loaded = load_generator(write_nvlabs({"G_ema": generator}))
    assert loaded.config.resample_filter == (1, 2, 1)
    ws = torch.randn(1, loaded.num_ws, loaded.w_dim)
    with torch.no_grad():
        assert torch.equal(loaded.synthesis(ws), generator.synthesis(ws))


@pytest.mark.parametrize("is_bare", [True, False])
def test_state_dictionaries_that_people_saved_themselves(tmp_path, is_bare):
    import dataclasses

    config = dataclasses.replace(SMALL, resample_filter=(1.0, 2.0, 1.0), c_dim=2, mapping_embed_features=5)
    generator = build(config)
    state = generator.state_dict()
    torch.save(state if is_bare else {"G_ema": state}, tmp_path / "a.pt")
    checkpoint = read_checkpoint(tmp_path / "a.pt")
    assert all(torch.equal(value, checkpoint.state[name]) for name, value in state.items())
    assert checkpoint.config.resample_filter == (1, 2, 1) and checkpoint.config.c_dim == 2
    assert bool(checkpoint.provenance["warnings"]) == is_bare
    discriminator = build(StyleGAN2DiscriminatorConfig(img_resolution=16, channel_base=128, channel_max=8))
    torch.save(discriminator.state_dict(), tmp_path / "d.pt")
    images = torch.randn(4, 3, 16, 16)
    assert torch.equal(load_discriminator(tmp_path / "d.pt")(images), discriminator(images))


def test_views_of_few_bytes_that_make_a_large_network_are_legal():
    from stylegan_core.checkpoints.contents import open_contents
    from stylegan_core.checkpoints.inert_tree import mapping_of
    from stylegan_core.checkpoints.tensor_view import check_total

    contents = open_contents(CKPT / "psp_strided_128.pt")
    state = mapping_of(mapping_of(contents.tree)["state_dict"])
    views = {name: contents.tensors.view(node) for name, node in state.items()}
    assert len(views) == 654 and None not in views.values()
    assert sum(view.nbytes for view in views.values()) > 1000 * contents.size
    check_total(views, contents.size)


@pytest.mark.slow
def test_a_file_as_large_as_the_public_ones_loads_in_seconds(write_nvlabs):
    import time

    full = StyleGAN2Config(conv_clamp=256)
    networks = {"G": build(full), "D": build(StyleGAN2DiscriminatorConfig(conv_clamp=256)), "G_ema": build(full)}
    path: Path = write_nvlabs(networks, module_src="import os\n" * 4000)
    assert path.stat().st_size > 380_000_000
    start = time.process_time()
    loaded = load_generator(path)
    assert time.process_time() - start < 6  # 1.9 s where this was written; half of it is the file's hash
    assert torch.equal(loaded.synthesis.b1024.conv1.weight, networks["G_ema"].synthesis.b1024.conv1.weight)
