"""State dictionaries of StyleGAN from ports to PyTorch. golden/sg1 has two of them; the others are compared with their arithmetic."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.checkpoints.convert import convert
from stylegan_core.checkpoints.registry import load_discriminator, load_generator, networks_in, read_checkpoint
from stylegan_core.checkpoints.stylegan1_names import (
    genforce_discriminator,
    genforce_generator,
    interfacegan_generator,
    lernapparat_generator,
)
from stylegan_core.errors import CheckpointError
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN1Config, StyleGAN1DiscriminatorConfig
from stylegan_core.provenance import model_sha256
from tests.foreign import scrambled, their_state
from tests.parity.rows import GOLDEN

WIDTHS = dict(img_resolution=16, channel_base=64, channel_max=8)


def stylegan1(**config: Any) -> Any:
    return scrambled(build(StyleGAN1Config(**{"z_dim": 8, "w_dim": 12, "mapping_layers": 2, **WIDTHS, **config})))


def pictures(generator: Any) -> Tensor:
    return generator(torch.randn(2, generator.z_dim, generator=torch.Generator().manual_seed(5)), noise_mode="none")


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def test_a_golden_file_is_told_by_its_names() -> None:
    checkpoint = read_checkpoint(GOLDEN / "ckpt" / "sg1_interfacegan_32.pth")
    assert checkpoint.provenance["port"] == "interfacegan" and checkpoint.config.mapping_layers == 8 and checkpoint.config.lod == 0
    assert "bare state" in checkpoint.provenance["warnings"][0]


def test_genforce_training_files(tmp_path: Path) -> None:
    generator, average = stylegan1(), stylegan1()
    discriminator = scrambled(build(StyleGAN1DiscriminatorConfig(**WIDTHS)))
    state = their_state(average, genforce_generator([4, 8, 16]))
    assert {"mapping.dense1.bias", "truncation.w_avg", "synthesis.layer0.const", "synthesis.layer3.weight", "synthesis.layer5.style.weight",
            "synthesis.layer2.apply_noise.noise", "synthesis.output2.bias"} <= set(state)
    theirs = their_state(discriminator, genforce_discriminator([4, 8, 16]))
    assert {"input0.weight", "layer1.bias", "layer4.weight", "layer6.bias"} <= set(theirs) and theirs["input0.weight"].shape[0] == 4
    path = saved(tmp_path / "g.pth", {
        "generator": their_state(generator, genforce_generator([4, 8, 16])), "discriminator": {**theirs, "lod": torch.tensor(0.0)},
        "generator_smooth": {**state, "synthesis.lod": torch.tensor(0.0), "synthesis.layer2.blur.kernel": torch.ones(8, 1, 3, 3)},
    })  # fmt: skip
    assert networks_in(path) == ("G_ema", "G", "D")
    assert torch.allclose(pictures(load_generator(path)), pictures(average), atol=1e-5)
    images = torch.randn(4, 3, 16, 16)
    assert torch.allclose(load_discriminator(path)(images), discriminator(images), atol=1e-5)


def test_lernapparat_has_neither_noise_nor_an_average(tmp_path: Path) -> None:
    generator = stylegan1(is_growing=False, norm_eps=1e-5)
    state = their_state(generator, lernapparat_generator([4, 8, 16]), skip=("noise_const", "w_avg"))
    again = load_generator(saved(tmp_path / "l.pt", state))
    assert torch.allclose(pictures(again), pictures(generator), atol=1e-5) and again.config.norm_eps == 1e-5
    assert len(again.provenance["warnings"]) == 3  # bare, no noise, no average


@pytest.mark.parametrize("port, table", [("genforce", genforce_generator), ("lernapparat", lernapparat_generator)])
def test_kernels_of_transposed_convolutions_are_turned(port: str, table: Any) -> None:
    turned = [entry.ours for entry in table([4, 8, 16, 32, 64, 128, 256]) if entry.change is not None and entry.theirs.endswith("weight")]
    assert turned == ["synthesis.b128.conv0.weight", "synthesis.b256.conv0.weight"]
    names = {entry.theirs: entry for entry in interfacegan_generator([4, 8])}
    assert names["synthesis.layer2.weight"].change is not None and names["synthesis.layer2.conv.weight"].change is None


def rosinality_state(levels: list[int], *, code: int = 8, trained: int | None = None, seed: int = 0) -> dict[str, Tensor]:
    """levels: widths from 4 px on. Random numbers under rosinality's names; blocks from `trained` on as they are initialised."""
    rng, state = torch.Generator().manual_seed(seed), {}

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=rng) * scale

    for i in (1, 3):
        state |= {f"style.{i}.linear.weight_orig": normal(code, code), f"style.{i}.linear.bias": normal(code, scale=0.3)}
    for level, width in enumerate(levels):
        block, before = f"generator.progression.{level}", levels[max(level - 1, 0)]
        small = 0.0 if trained is not None and level >= trained else 0.3
        if level == 0:
            state[f"{block}.conv1.input"] = normal(1, width, 4, 4)
        elif 4 * 2**level < 128:
            state[f"{block}.conv1.1.conv.weight_orig"] = normal(width, before, 3, 3)
            state[f"{block}.conv1.1.conv.bias"] = normal(width, scale=small)
            state |= {f"{block}.conv1.2.{name}": torch.ones(width, 1, 3, 3) for name in ("weight", "weight_flip")}
        else:
            state |= {f"{block}.conv1.0.weight": normal(before, width, 3, 3), f"{block}.conv1.0.bias": normal(width, scale=small)}
            state |= {f"{block}.conv1.1.{name}": torch.ones(width, 1, 3, 3) for name in ("weight", "weight_flip")}
        for i in (1, 2):
            state[f"{block}.noise{i}.weight_orig"] = normal(1, width, 1, 1, scale=small)
            state[f"{block}.adain{i}.style.linear.weight_orig"] = normal(2 * width, code)
            state[f"{block}.adain{i}.style.linear.bias"] = normal(2 * width, scale=0.3)
        state |= {f"{block}.conv2.conv.weight_orig": normal(width, width, 3, 3), f"{block}.conv2.conv.bias": normal(width, scale=small)}
        state |= {f"generator.to_rgb.{level}.conv.weight_orig": normal(3, width, 1, 1), f"generator.to_rgb.{level}.conv.bias": normal(3)}
    return state


def rosinality_picture(state: dict[str, Tensor], z: Tensor, noise: list[Tensor]) -> Tensor:
    """Its arithmetic: every weight times √(2 / fan-in), bias in front of the low-pass filter, one noise map per block."""

    def weight(name: str) -> Tensor:
        value = state[f"{name}.weight_orig"]
        return value * math.sqrt(2 / value[0].numel())

    blur = torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([1.0, 2, 1])) / 16
    style = z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for i in (1, 3):
        style = F.leaky_relu(F.linear(style, weight(f"style.{i}.linear"), state[f"style.{i}.linear.bias"]), 0.2)
    x = state["generator.progression.0.conv1.input"].expand(len(z), -1, -1, -1)
    for level, maps in enumerate(noise):
        block = f"generator.progression.{level}"
        for i in (1, 2):
            name = f"{block}.conv{i}.conv"
            if i == 2:
                x = F.conv2d(x, weight(name), state[f"{name}.bias"], padding=1)
            elif f"{block}.conv1.0.weight" in state:
                kernel = state[f"{block}.conv1.0.weight"]
                kernel = F.pad(kernel * math.sqrt(2 / (kernel.shape[0] * 9)), [1, 1, 1, 1])
                kernel = (kernel[:, :, 1:, 1:] + kernel[:, :, :-1, 1:] + kernel[:, :, 1:, :-1] + kernel[:, :, :-1, :-1]) / 4
                x = F.conv_transpose2d(x, kernel, state[f"{block}.conv1.0.bias"], stride=2, padding=1)
            elif level > 0:
                name = f"{block}.conv1.1.conv"
                x = F.conv2d(F.interpolate(x, scale_factor=2), weight(name), state[f"{name}.bias"], padding=1)
            if level > 0 and i == 1:
                x = F.conv2d(x, blur.expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])
            strength = state[f"{block}.noise{i}.weight_orig"]
            x = F.leaky_relu(x + strength * math.sqrt(2 / strength.shape[1]) * maps, 0.2)
            name = f"{block}.adain{i}.style.linear"
            scale, shift = F.linear(style, weight(name), state[f"{name}.bias"])[:, :, None, None].chunk(2, dim=1)
            x = scale * F.instance_norm(x) + shift
    last = len(noise) - 1
    return F.conv2d(x, weight(f"generator.to_rgb.{last}.conv"), state[f"generator.to_rgb.{last}.conv.bias"])


def test_rosinality_stops_where_training_stopped(tmp_path: Path) -> None:
    state = rosinality_state([8, 8, 6, 4, 4, 4], trained=3)
    discriminator = {"linear.weight": torch.ones(1)}
    path = saved(tmp_path / "r.model", {"generator": state, "g_running": state, "discriminator": discriminator, "step": 3})
    assert networks_in(path) == ("G_ema", "G")
    generator = load_generator(path)
    assert generator.img_resolution == 16 and "3 blocks that were never trained" in generator.provenance["warnings"][0]
    z, noise = torch.randn(2, 8), [torch.randn(2, 1, side, side) for side in (4, 8, 16)]
    maps = {f"b{4 * 2**level}.conv{i}.noise_const": value for level, value in enumerate(noise) for i in (0, 1)}
    ours = generator.synthesis(generator.mapping(z), noise=maps)
    assert torch.allclose(ours, rosinality_picture(state, z, noise), atol=1e-4)


def test_rosinality_with_a_transposed_convolution(tmp_path: Path) -> None:
    state = rosinality_state([4] * 6, seed=1)
    generator = load_generator(saved(tmp_path / "r.pt", state))
    assert generator.img_resolution == 128 and generator.config.mapping_lr_multiplier == 1.0
    z, noise = torch.randn(1, 8), [torch.zeros(1, 1, 4 * 2**level, 4 * 2**level) for level in range(6)]
    assert torch.allclose(generator.synthesis(generator.mapping(z), noise_mode="none"), rosinality_picture(state, z, noise), atol=1e-3)


def test_files_convert_to_native_ones_and_to_no_code_that_lacks_the_network(tmp_path: Path) -> None:
    for name in ("tf_sg1_32.pkl", "sg1_interfacegan_32.pth"):
        written = convert(GOLDEN / "ckpt" / name, tmp_path / f"{name}.safetensors")
        again, first = load_generator(written[0]), load_generator(GOLDEN / "ckpt" / name)
        assert model_sha256(again) == model_sha256(first) and torch.equal(pictures(again), pictures(first))
        with pytest.raises(CheckpointError, match="write --to native"):
            convert(GOLDEN / "ckpt" / name, tmp_path / "x.pt", "rosinality")
    both = (tmp_path / f"{name}.safetensors" for name in ("tf_sg1_32.pkl", "sg1_interfacegan_32.pth"))
    assert len({model_sha256(load_generator(path)) for path in both}) == 1  # one network in two layouts


def test_a_state_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    state = their_state(stylegan1(), genforce_generator([4, 8, 16]))
    del state["synthesis.layer4.style.bias"]
    with pytest.raises(CheckpointError, match=r"synthesis\.layer4\.style\.bias' is missing"):
        load_generator(saved(tmp_path / "a.pth", state))
    with pytest.raises(CheckpointError, match="one number is expected"):
        load_generator(saved(tmp_path / "c.pth", {**state, "synthesis.lod": torch.zeros(1).expand(1 << 40)}))
    with pytest.raises(CheckpointError, match="which no layer has"):
        huge = {"generator.progression.0.noise1.weight_orig": torch.zeros(1).expand(1 << 40)}
        load_generator(saved(tmp_path / "d.pth", {**rosinality_state([8, 8]), **huge}))
    with pytest.raises(CheckpointError, match="does not belong to this network"):
        load_generator(saved(tmp_path / "b.pth", {**state, "synthesis.layer9.surprise": torch.ones(1)}))
