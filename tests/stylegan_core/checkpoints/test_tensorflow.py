"""TensorFlow pickles: what a file must hold, settings, scalars, fused layers, labels, the networks that grow, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stylegan_core.checkpoints.registry import load_discriminator, load_generator, networks_in, read_checkpoint
from stylegan_core.checkpoints.tensorflow_names import (
    stylegan1_discriminator,
    stylegan1_generator,
    stylegan2_discriminator,
    stylegan2_generator,
)
from stylegan_core.errors import CheckpointError, UnknownCheckpointError, UnsafeCheckpointError
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import (
    StyleGAN1Config,
    StyleGAN1DiscriminatorConfig,
    StyleGAN2Config,
    StyleGAN2DiscriminatorConfig,
)
from stylegan_core.provenance import bytes_sha256
from tests.foreign import record, scrambled, their_state, write_tensorflow
from tests.parity.rows import GOLDEN, table

WIDTHS = dict(img_resolution=16, channel_base=64, channel_max=8)
SMALL = dict(z_dim=8, w_dim=12, mapping_layers=2, **WIDTHS)


def stylegan1(**config: Any) -> Any:
    return scrambled(build(StyleGAN1Config(**{**SMALL, **config})))


def stylegan2(**config: Any) -> Any:
    return scrambled(build(StyleGAN2Config(**{**SMALL, **config})))


def pictures(generator: Any, c: torch.Tensor | None = None) -> torch.Tensor:
    z = torch.randn(2, generator.z_dim, generator=torch.Generator().manual_seed(5))
    return generator(z, None if c is None else c[:2])


def written(path: Path, generator: Any, rules: list, *, lod: float = 0.0, **settings: Any) -> Path:
    variables = {**their_state(generator, rules), "lod": torch.tensor(lod)}
    return write_tensorflow(path / "network.pkl", [None, None, record(variables, build="G_style", **settings)])


def test_golden_files_hold_what_their_lists_say() -> None:
    path = GOLDEN / "ckpt" / "tf_sg2_32.pkl"
    assert networks_in(path) == ("G_ema", "G", "D")
    held = {name: list(value.shape) for name, value in read_checkpoint(path).state.items()}
    assert held == {name: entry["shape"] for name, entry in table("ckpt/tf_sg2_32.G_ema.keys")["keys"].items()}
    old = GOLDEN / "ckpt" / "tf_sg1_32.pkl"  # its discriminator has no more than its first layer
    assert networks_in(old) == ("G_ema", "G")
    with pytest.raises(CheckpointError, match="no network 'D' in the file; it holds G_ema, G"):
        load_discriminator(old)
    listed = table("ckpt/tf_sg1_32")["variables"]
    names = {*listed["own"], *(f"{part}/{name}" for part in ("mapping", "synthesis") for name in listed[part])}
    known = {entry.theirs: entry.ours for entry in stylegan1_generator([4, 8, 16, 32])}
    checkpoint = read_checkpoint(old)
    assert {known[name] for name in names} - {None} == set(checkpoint.state)
    config = checkpoint.config
    assert config.channels == {4: 16, 8: 12, 16: 10, 32: 8} and config.w_avg_beta == 0.995 and config.mapping_lr_multiplier == 0.01


@pytest.mark.parametrize("config", [
    {}, {"use_noise": False}, {"use_const": False}, {"is_growing": False}, {"img_channels": 1},
    {"use_styles": False, "use_const": False, "use_noise": False, "mapping_layers": 0, "w_dim": 8, "use_instance_norm": False,
     "use_pixel_norm": True, "resample_filter": (1.0,)},
])  # fmt: skip
def test_stylegan1_comes_back(config: dict, tmp_path: Path) -> None:
    generator = stylegan1(**config)
    settings = {"resolution": 16, "num_channels": generator.img_channels, "latent_size": 8, "dlatent_size": generator.w_dim,
                "use_instance_norm": generator.config.use_instance_norm, "use_pixel_norm": generator.config.use_pixel_norm,
                "blur_filter": None if generator.config.resample_filter == (1.0,) else [1, 2, 1]}  # fmt: skip
    again = load_generator(written(tmp_path, generator, stylegan1_generator([4, 8, 16]), version=3, **settings))
    assert torch.allclose(pictures(again), pictures(generator), atol=1e-5)
    for field in ("use_const", "use_styles", "use_noise", "is_growing", "mapping_layers", "resample_filter", "use_pixel_norm"):
        assert getattr(again.config, field) == getattr(generator.config, field)


def test_a_snapshot_from_the_middle_of_growing_keeps_its_level(tmp_path: Path) -> None:
    generator = stylegan1()
    again = load_generator(written(tmp_path, generator, stylegan1_generator([4, 8, 16]), lod=1.25))
    generator.set_lod(1.25)
    assert again.config.lod == 1.25 and torch.allclose(pictures(again), pictures(generator), atol=1e-5)
    with pytest.raises(CheckpointError, match="lod 7"):
        load_generator(written(tmp_path, generator, stylegan1_generator([4, 8, 16]), lod=7.0))


def test_layers_from_128_pixels_on_are_transposed_convolutions(tmp_path: Path) -> None:
    """The official arithmetic, from its variable: the kernel padded, summed over four shifts, and transposed."""
    generator = stylegan1(img_resolution=128, channel_max=4, channel_base=512)
    variables = their_state(generator, stylegan1_generator([4, 8, 16, 32, 64, 128]))
    path = write_tensorflow(tmp_path / "a.pkl", [None, None, record(variables, build="G_style")])
    layer, theirs = load_generator(path).synthesis.b128.conv0, variables["synthesis/128x128/Conv0_up/weight"]
    kernel = F.pad(theirs.permute(2, 3, 0, 1), [1, 1, 1, 1])  # [in, out, h, w]
    kernel = kernel[:, :, 1:, 1:] + kernel[:, :, :-1, 1:] + kernel[:, :, 1:, :-1] + kernel[:, :, :-1, :-1]
    x = torch.randn(1, 4, 64, 64)
    fused = F.conv_transpose2d(x, kernel * (2**0.5 / 6), stride=2, padding=1)
    plain = F.conv2d(F.interpolate(x, scale_factor=2), layer.weight * layer.weight_gain, padding=1)
    assert torch.allclose(fused, plain, atol=1e-4)
    other = load_generator(write_tensorflow(tmp_path / "b.pkl", [None, None, record(variables, build="G_style", fused_scale=False)]))
    assert torch.equal(other.synthesis.b128.conv0.weight.flip([2, 3]), layer.weight)
    assert torch.equal(other.synthesis.b64.conv0.weight, generator.synthesis.b64.conv0.weight)


def test_labels_of_stylegan1_are_joined_to_z_without_bias(tmp_path: Path) -> None:
    generator = stylegan1(c_dim=3, mapping_embed_features=8, mapping_joint_norm=True)
    with torch.no_grad():
        generator.mapping.embed.bias.zero_()
    rules = stylegan1_generator([4, 8, 16])
    variables = their_state(generator, [entry for entry in rules if "Label" not in entry.theirs], skip=("embed.weight", "embed.bias"))
    variables["mapping/LabelConcat/weight"] = generator.mapping.embed.weight.detach().t() / 3**0.5
    path = write_tensorflow(tmp_path / "c.pkl", [None, None, record(variables, build="G_style", label_size=3)])
    again, c = load_generator(path), torch.eye(3)
    assert again.config.mapping_joint_norm and torch.allclose(pictures(again, c), pictures(generator, c), atol=1e-5)


@pytest.mark.parametrize("config", [{}, {"c_dim": 2}, {"mbstd_num_channels": 0}, {"is_growing": False}, {"dense_width": 6}])
def test_discriminators_of_stylegan1_come_back(config: dict, tmp_path: Path) -> None:
    discriminator = scrambled(build(StyleGAN1DiscriminatorConfig(**{**WIDTHS, **config})))
    settings = {"resolution": 16, "num_channels": 3, "mbstd_group_size": 4 if discriminator.config.mbstd_num_channels else 0}
    network = record(their_state(discriminator, stylegan1_discriminator([4, 8, 16])), build="D_basic", **settings)
    path = write_tensorflow(tmp_path / "d.pkl", [None, network, None])
    assert networks_in(path) == ("D",)
    images, c = torch.randn(4, 3, 16, 16), torch.eye(2)[[0, 1, 1, 0]] if "c_dim" in config else None
    assert torch.allclose(load_discriminator(path)(images, c), discriminator(images, c), atol=1e-5)


def scaled_weight(variables: dict, name: str, gain: float = 2**0.5) -> torch.Tensor:
    """A variable with the scale of its fan-in, the output axis first."""
    weight = variables[f"{name}/weight"]
    weight = weight * gain / weight[..., 0].numel() ** 0.5
    return weight.permute(3, 2, 0, 1) if weight.ndim == 4 else weight.t()


def convolved(variables: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    weight = scaled_weight(variables, name)
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2)


def biased(variables: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x + variables[f"{name}/bias"].reshape(1, -1, *[1] * (x.ndim - 2)), 0.2)


def low_passed(x: torch.Tensor) -> torch.Tensor:
    taps = torch.tensor([1.0, 2.0, 1.0]) / 4
    return F.conv2d(x, torch.outer(taps, taps).expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])


def test_the_arithmetic_of_a_discriminator() -> None:
    """Step by step from the variables, in the order of the official graph (PG Table 2, with the filter of SG App. C)."""
    discriminator = scrambled(build(StyleGAN1DiscriminatorConfig(**WIDTHS)))
    variables = their_state(discriminator, stylegan1_discriminator([4, 8, 16]))
    images = torch.randn(4, 3, 16, 16)
    x = biased(variables, "FromRGB_lod0", convolved(variables, "FromRGB_lod0", images))
    for side in (16, 8):
        x = biased(variables, f"{side}x{side}/Conv0", convolved(variables, f"{side}x{side}/Conv0", x))
        x = F.avg_pool2d(convolved(variables, f"{side}x{side}/Conv1_down", low_passed(x)), 2)
        x = biased(variables, f"{side}x{side}/Conv1_down", x)
    spread = (x.var(dim=0, correction=0) + 1e-8).sqrt().mean()  # one group of four
    x = torch.cat([x, spread.expand(4, 1, 4, 4)], dim=1)
    x = biased(variables, "4x4/Conv", convolved(variables, "4x4/Conv", x)).flatten(1)
    x = biased(variables, "4x4/Dense0", x @ scaled_weight(variables, "4x4/Dense0").t())
    logits = x @ scaled_weight(variables, "4x4/Dense1", 1.0).t() + variables["4x4/Dense1/bias"]
    assert torch.allclose(discriminator(images), logits, atol=1e-5)


def test_the_arithmetic_of_a_progressive_gan() -> None:
    generator = stylegan1(use_styles=False, use_const=False, use_noise=False, mapping_layers=0, w_dim=8, use_instance_norm=False,
                          use_pixel_norm=True, resample_filter=(1.0,))
    variables = {name.removeprefix("synthesis/"): value for name, value in their_state(generator, stylegan1_generator([4, 8, 16])).items()}
    variables["4x4/Dense/bias"] = variables.pop("4x4/Const/bias")  # the table's first name for it

    def normalised(x: torch.Tensor) -> torch.Tensor:
        return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()

    z = torch.randn(2, 8)
    x = (normalised(z) @ scaled_weight(variables, "4x4/Dense", 2**0.5 / 4).t()).reshape(2, -1, 4, 4)
    x = normalised(biased(variables, "4x4/Dense", x))
    x = normalised(biased(variables, "4x4/Conv", convolved(variables, "4x4/Conv", x)))
    for side in (8, 16):
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        for name in (f"{side}x{side}/Conv0_up", f"{side}x{side}/Conv1"):
            x = normalised(biased(variables, name, convolved(variables, name, x)))
    images = F.conv2d(x, scaled_weight(variables, "ToRGB_lod0", 1.0)) + variables["ToRGB_lod0/bias"][:, None, None]
    assert torch.allclose(generator(z), images, atol=1e-5)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("c_dim", [0, 3])
def test_stylegan2_ada_comes_back(architecture: str, c_dim: int, tmp_path: Path) -> None:
    generator = stylegan2(architecture=architecture, c_dim=c_dim, mapping_embed_features=8 if c_dim else None, conv_clamp=256.0)
    discriminator = scrambled(build(StyleGAN2DiscriminatorConfig(
        **WIDTHS, architecture=architecture, c_dim=c_dim, mapping_layers=1, mapping_lr_multiplier=0.1, mbstd_group_size=None)))
    facts = {"version": 5, "label_size": c_dim, "resolution": 16, "num_channels": 3, "num_fp16_res": 4}
    path = write_tensorflow(tmp_path / "ada.pkl", [
        None,
        record(their_state(discriminator, stylegan2_discriminator([4, 8, 16])), build="D_main", **facts),
        record(their_state(generator, stylegan2_generator([4, 8, 16])), build="G_main", conv_clamp=256.0, source="boom", **facts),
    ])  # fmt: skip
    again, c = load_generator(path), torch.eye(3)[[0, 1, 2, 0]] if c_dim else None
    assert torch.allclose(pictures(again, c), pictures(generator, c), atol=1e-4)
    assert again.config.architecture == architecture and again.config.conv_clamp == 256
    assert again.provenance["source_in_file_sha256"] == [bytes_sha256(b"boom")]
    images = torch.randn(4, 3, 16, 16)
    assert load_discriminator(path).config.mbstd_group_size is None
    assert torch.allclose(load_discriminator(path)(images, c), discriminator(images, c), atol=1e-4)


def test_configurations_b_to_d_of_stylegan2_are_read_when_they_are_grown(tmp_path: Path) -> None:
    """They hold a torgb and a fromrgb for every level of detail, of which one counts in the end."""
    generator = stylegan2(architecture="orig")
    discriminator = scrambled(build(StyleGAN2DiscriminatorConfig(**WIDTHS, architecture="orig")))
    variables = {name.replace("16x16/ToRGB/", "ToRGB_lod0/"): value
                 for name, value in their_state(generator, stylegan2_generator([4, 8, 16])).items()}  # fmt: skip
    variables |= {"synthesis/ToRGB_lod1/weight": torch.randn(1, 1, 8, 3), "synthesis/ToRGB_lod1/bias": torch.zeros(3)}
    theirs = {name.replace("16x16/FromRGB", "FromRGB_lod0"): value
              for name, value in their_state(discriminator, stylegan2_discriminator([4, 8, 16])).items()}  # fmt: skip
    theirs |= {"FromRGB_lod1/weight": torch.randn(1, 1, 3, 8), "FromRGB_lod1/bias": torch.zeros(8)}

    def file(lod: float) -> Path:
        networks = [None, record({**theirs, "lod": torch.tensor(lod)}, build="D_stylegan"),
                    record({**variables, "synthesis/lod": torch.tensor(lod), "lod": torch.tensor(lod)}, build="G_main")]
        return write_tensorflow(tmp_path / "d.pkl", networks)

    again = load_generator(file(0.0))
    assert torch.allclose(pictures(again), pictures(generator), atol=1e-5)
    assert "2 tensors of lower levels of detail" in again.provenance["warnings"][0]
    images = torch.randn(4, 3, 16, 16)
    assert torch.allclose(load_discriminator(file(0.0))(images), discriminator(images), atol=1e-5)
    with pytest.raises(CheckpointError, match="middle of growing"):
        load_generator(file(0.5))


def test_a_network_by_itself_and_arrays_without_axes(tmp_path: Path) -> None:
    generator = stylegan2()
    variables = their_state(generator, stylegan2_generator([4, 8, 16]))
    for scalars in (True, False):
        path = write_tensorflow(tmp_path / "alone.pkl", [record(variables, build="G_main", scalars=scalars)])
        assert networks_in(path) == ("G_ema",) and torch.allclose(pictures(load_generator(path)), pictures(generator), atol=1e-5)
    discriminator = scrambled(build(StyleGAN1DiscriminatorConfig(**WIDTHS)))
    path = write_tensorflow(tmp_path / "d.pkl", [record(their_state(discriminator, stylegan1_discriminator([4, 8, 16])), build="D_basic")])
    assert networks_in(path) == ("D",) and load_discriminator(path).img_resolution == 16


def test_no_average_w_is_estimated(tmp_path: Path) -> None:
    generator = stylegan1()
    variables = their_state(generator, stylegan1_generator([4, 8, 16]), skip=("w_avg",))
    again = load_generator(write_tensorflow(tmp_path / "a.pkl", [None, None, record(variables, build="G_style")]))
    assert "estimated" in again.provenance["warnings"][0] and float(again.w_avg.abs().max()) > 0


@pytest.mark.parametrize("change, settings, words", [
    ({"synthesis/16x16/Conv1/bias": torch.zeros(3)}, {}, "16x16/Conv1/bias' has the shape"),
    ({"synthesis/16x16/Surprise": torch.zeros(3)}, {}, "Surprise' does not belong to this network"),
    ({"synthesis/16x16/Conv1/weight": torch.zeros(0)}, {}, "16x16/Conv1/weight"),
    ({"dlatent_avg": torch.full([12], float("nan"))}, {}, "dlatent_avg' holds values that are not finite"),
    ({}, {"use_wscale": False}, "use_wscale False"), ({}, {"resolution": 64}, "img_resolution 64"),
    ({}, {"nonlinearity": "mish"}, "activation 'mish'"), ({}, {"blur_filter": "soft"}, "blur_filter soft"),
    ({}, {"version": 6}, "version 6; 3, 4, 5 are known"), ({}, {"mapping_lrmul": "much"}, "mapping_lr_multiplier much"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(change: dict, settings: dict, words: str, tmp_path: Path) -> None:
    variables = {**their_state(stylegan1(), stylegan1_generator([4, 8, 16])), **change}
    path = write_tensorflow(tmp_path / "bad.pkl", [None, None, record(variables, build="G_style", **settings)])
    with pytest.raises(CheckpointError, match=words) as refusal:
        load_generator(path)
    assert str(refusal.value).startswith(str(path)) and "\n" not in str(refusal.value)


def test_relatives_are_refused_by_name(tmp_path: Path) -> None:
    variables = {"4x4/Dense/weight": torch.zeros(8, 128), "lod": torch.tensor(0.0)}
    alone = {**record(variables, build="G_paper"), "components": {}}
    with pytest.raises(UnknownCheckpointError, match="a progressive GAN"):
        load_generator(write_tensorflow(tmp_path / "p.pkl", [None, None, alone]))
    labelled = {**their_state(stylegan2(), stylegan2_generator([4, 8, 16])), "mapping/LabelConcat/weight": torch.zeros(3, 8)}
    with pytest.raises(CheckpointError, match="labels are joined"):
        load_generator(write_tensorflow(tmp_path / "l.pkl", [None, None, record(labelled, build="G_main", label_size=3)]))
    discriminator = scrambled(build(StyleGAN2DiscriminatorConfig(**WIDTHS)))
    theirs = {**their_state(discriminator, stylegan2_discriminator([4, 8, 16])), "Output/weight": torch.zeros(8, 3)}
    with pytest.raises(CheckpointError, match="a logit per class"):
        load_discriminator(write_tensorflow(tmp_path / "m.pkl", [None, record(theirs, build="D_stylegan2", label_size=3), None]))


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    network = record(their_state(stylegan1(), stylegan1_generator([4, 8, 16])), build="G_style")
    network["variables"] = [("dlatent_avg", np.array(["text"], dtype=object))]
    with pytest.raises(UnsafeCheckpointError):
        load_generator(write_tensorflow(tmp_path / "o.pkl", [None, None, network]))
