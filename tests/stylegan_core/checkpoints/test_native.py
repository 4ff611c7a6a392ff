from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from stylegan_core.checkpoints.native import save_native
from stylegan_core.checkpoints.registry import load_discriminator, load_generator, read_checkpoint
from stylegan_core.errors import CheckpointError, OutputError, UnknownCheckpointError
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN2Config, StyleGAN2DiscriminatorConfig
from stylegan_core.provenance import model_sha256

CONFIGS = [
    StyleGAN2Config(z_dim=8, w_dim=12, img_resolution=16, channel_base=128, channel_max=8, mapping_layers=2),
    StyleGAN2Config(z_dim=8, w_dim=8, img_resolution=8, img_channels=1, channels={4: 6, 8: 5}, architecture="orig"),
    StyleGAN2Config(z_dim=8, c_dim=3, w_dim=8, img_resolution=16, channel_base=64, architecture="resnet", use_noise=False,
                    resample_filter=(1.0, 2.0, 1.0), conv_clamp=256, mapping_layer_features=6, mapping_embed_features=5),
    StyleGAN2Config(z_dim=8, w_dim=8, img_resolution=8, channel_base=64, w_avg_beta=None, img_channels=4),
    StyleGAN2DiscriminatorConfig(img_resolution=16, channel_base=128, channel_max=8),
    StyleGAN2DiscriminatorConfig(c_dim=2, img_resolution=8, channel_base=64, architecture="skip", mbstd_num_channels=2),
]  # fmt: skip


def random_network(config):
    torch.manual_seed(0)
    module = build(config)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if not name.endswith("resample_filter"):
                value.add_(torch.randn_like(value))
    return module


@pytest.mark.parametrize("config", CONFIGS)
def test_a_network_comes_back_bit_for_bit(config, tmp_path):
    module, path = random_network(config), tmp_path / "a.safetensors"
    digest = save_native(module, path, provenance={"made": "here"})
    checkpoint = read_checkpoint(path)
    assert checkpoint.config == config
    assert digest == model_sha256(module) == model_sha256(checkpoint.state)
    assert all(torch.equal(value, checkpoint.state[name]) for name, value in module.state_dict().items())
    assert checkpoint.provenance["source"]["made"] == "here"
    loaded = (load_generator if checkpoint.kind == "generator" else load_discriminator)(path)
    assert not loaded.training and all(value.device.type == "cpu" for value in loaded.state_dict().values())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert loaded.provenance["dialect"] == "native" and len(loaded.provenance["model_file_sha256"]) == 64


def test_half_precision_loads_as_float32(tmp_path):
    module, path = random_network(CONFIGS[0]), tmp_path / "a.safetensors"
    digest = save_native(module, path, dtype=torch.float16)
    stored = load_file(path)
    assert stored["synthesis.b8.conv0.weight"].dtype == torch.float16
    assert stored["mapping.w_avg"].dtype == torch.float32
    loaded = load_generator(path)
    assert all(value.dtype == torch.float32 for value in loaded.state_dict().values())
    assert model_sha256(loaded) == digest != model_sha256(module)
    z = torch.randn(2, 8)
    assert (loaded(z) - module(z)).abs().max() < 0.05
    assert save_native(loaded, tmp_path / "b.safetensors") == digest


def test_what_does_not_fit_is_not_written(tmp_path):
    module = random_network(CONFIGS[0])
    with torch.no_grad():
        module.synthesis.b4.const[0, 0, 0] = 1e6
    with pytest.raises(CheckpointError, match=r"synthesis\.b4\.const.*float16"):
        save_native(module, tmp_path / "a.safetensors", dtype=torch.float16)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError):
        save_native(module, tmp_path / "folder")


def rewritten(tmp_path, change):
    """A saved file whose tensors and metadata were changed by change(state, metadata)."""
    path = tmp_path / "a.safetensors"
    module = random_network(CONFIGS[0])
    save_native(module, path)
    state = load_file(path)
    config = read_checkpoint(path).config
    from stylegan_core.networks.configs import config_to_dict

    metadata = {"format": "invert-network", "format_version": "1", "config": json.dumps(config_to_dict(config))}
    metadata["model_sha256"] = model_sha256(module)
    change(state, metadata)
    save_file(state, path, metadata)
    return path


def set_config(**fields):
    def change(state, metadata):
        metadata["config"] = json.dumps({**json.loads(metadata["config"]), **fields})

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, m: s["synthesis.b4.const"].add_(1), "hash"),
        (lambda s, m: s.pop("synthesis.b4.const"), "'synthesis.b4.const' is missing \\(1 missing, 0 unexpected"),
        (lambda s, m: s.update(extra=torch.zeros(1)), "'extra' does not belong"),
        (lambda s, m: s.update({"synthesis.b4.const": torch.zeros(8, 4, 5)}), r"the shape \[8, 4, 5\].*needs \[8, 4, 4\]"),
        (lambda s, m: s.update({"synthesis.b4.const": torch.zeros(8, 4, 4, dtype=torch.int32)}), "holds int32"),
        (lambda s, m: s["mapping.fc0.bias"].fill_(float("nan")), "'mapping.fc0.bias' holds values that are not finite"),
        (lambda s, m: s["mapping.fc0.bias"].fill_(1e-40), "denormal"),
        (lambda s, m: m.update(format_version="99"), "format version 99"),
        (lambda s, m: m.update(config="[]"), "not a JSON object"),
        (lambda s, m: m.update(config='{"kind": "stylegan2", "kind": "stylegan2"}'), "twice"),
        (lambda s, m: m.update(config="{" * 100), "nested"),
        (set_config(kind="stylegan9"), "stylegan9"),
        (set_config(unknown=1), "unknown"),
        (set_config(img_resolution=10**9), "img_resolution"),
        (set_config(img_resolution=48), "power of two"),
        (set_config(mapping_layers=10**6), "mapping_layers"),
        (set_config(channel_base=2**31, channel_max=2**31), "channels at"),
        (set_config(channel_base=1 << 20, channel_max=8192), "larger network"),
        (set_config(img_resolution=4096, channel_base=8 * 4096), "larger network"),
        (set_config(activation="exec"), "activation"),
    ],
)
def test_files_that_were_tampered_with_are_refused(tmp_path, change, message):
    path = rewritten(tmp_path, change)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_generator(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_other_safetensors_are_told_apart(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors", {"format": "pt"})
    with pytest.raises(UnknownCheckpointError, match="format tag: pt"):
        read_checkpoint(tmp_path / "a.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "b.safetensors", {"format": "invert-inversion"})
    with pytest.raises(UnknownCheckpointError, match=r"use Inversion\.load"):
        read_checkpoint(tmp_path / "b.safetensors")


def test_the_other_kind_says_which_function_to_use(tmp_path):
    save_native(random_network(CONFIGS[4]), tmp_path / "d.safetensors")
    save_native(random_network(CONFIGS[0]), tmp_path / "g.safetensors")
    with pytest.raises(CheckpointError, match="use load_discriminator"):
        load_generator(tmp_path / "d.safetensors")
    with pytest.raises(CheckpointError, match="no network 'D' in the file; it holds G_ema"):
        load_discriminator(tmp_path / "g.safetensors")


def test_a_file_system_that_does_not_map_files(tmp_path, monkeypatch):
    import mmap

    def refuse(*args, **kwargs):
        raise OSError(19, "No such device")

    digest = save_native(random_network(CONFIGS[0]), tmp_path / "a.safetensors")
    monkeypatch.setattr(mmap, "mmap", refuse)
    assert model_sha256(load_generator(tmp_path / "a.safetensors")) == digest


def test_the_suffix_does_not_matter(tmp_path):
    save_native(random_network(CONFIGS[0]), tmp_path / "weights.PKL")
    assert read_checkpoint(tmp_path / "weights.PKL").provenance["dialect"] == "native"
