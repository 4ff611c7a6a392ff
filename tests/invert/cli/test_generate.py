"""`invert generate`, `invert models`, `invert doctor`."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from invert.loaded import load_model
from invert.model_check import check_generator
from invert.noise_sheet import COLUMNS, noise_sheet
from invert.sampling import Sampler
from stylegan_core.checkpoints.native import save_native
from stylegan_core.checkpoints.registry import load_generator
from stylegan_core.images import to_u8
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN2DiscriminatorConfig
from stylegan_core.provenance import model_sha256
from stylegan_core.seeds import z_from_seed

from .conftest import write_model


def _u8(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_seed_gives_the_picture_of_the_official_scripts(invert, model, tmp_path):
    result = invert("generate", "--model", model, "--seeds", "3,5-6", "--psi", "0.7", "--device", "cpu", "-o", tmp_path, "--grid")
    assert result.code == 0, result.err
    names = ["grid.png", "report.json", "seed0003.png", "seed0005.png", "seed0006.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    generator = load_generator(model)
    with torch.no_grad():
        images = generator(z_from_seed(5, 8), truncation_psi=0.7)
    np.testing.assert_array_equal(_u8(tmp_path / "seed0005.png"), to_u8(images)[0].numpy())
    records = json.loads((tmp_path / "report.json").read_text())
    assert [record["seed"] for record in records] == [3, 5, 6] and records[0]["psi"] == 0.7
    with Image.open(tmp_path / "seed0003.png") as picture:
        assert json.loads(picture.text["invert"])["seed"] == 3


def test_a_picture_depends_on_its_seed_only(invert, model, tmp_path):
    words = ("generate", "--model", model, "--noise-mode", "random", "--device", "cpu")
    invert(*words, "--seeds", "7", "-o", tmp_path / "one")
    invert(*words, "--seeds", "9,7,8", "-o", tmp_path / "three")
    assert (tmp_path / "one" / "seed0007.png").read_bytes() == (tmp_path / "three" / "seed0007.png").read_bytes()
    invert("generate", "--model", model, "--noise-mode", "none", "--seeds", "7", "-o", tmp_path / "none", "--device", "cpu")
    assert (_u8(tmp_path / "one" / "seed0007.png") != _u8(tmp_path / "none" / "seed0007.png")).any()


def test_classes(invert, model, tmp_path):
    classes = write_model(tmp_path / "classes.safetensors", c_dim=3)
    assert "0 … 2" in invert("generate", "--model", classes, "-o", tmp_path / "o").err
    assert invert("generate", "--model", classes, "--class", "3", "-o", tmp_path / "o").code == 2
    unconditional = invert("generate", "--model", model, "--class", "0", "-o", tmp_path / "o")
    assert unconditional.code == 2 and "no classes" in unconditional.err and not (tmp_path / "o").exists()
    for index in (0, 1):
        words = ("--class", index, "--seeds", "1", "-o", tmp_path / str(index), "--no-metadata", "--device", "cpu")
        assert invert("generate", "--model", classes, *words).code == 0
    assert (_u8(tmp_path / "0" / "seed0001.png") != _u8(tmp_path / "1" / "seed0001.png")).any()


@pytest.mark.parametrize("words", [["--seeds", "x"], ["--noise-mode", "loud"], ["--columns", "0"], ["--seeds", "5-1"]])
def test_options_that_cannot_be(invert, model, tmp_path, words):
    result = invert("generate", "--model", model, *words, "-o", tmp_path / "o")
    assert result.code == 2 and len(result.err.strip().splitlines()) == 1 and not (tmp_path / "o").exists()


def test_dry_run_and_json(invert, model, tmp_path):
    plan = json.loads(invert("generate", "--seeds", "0-2", "-n", "-o", tmp_path / "o").out)
    assert len(plan["outputs"]) == 3 and not (tmp_path / "o").exists()
    result = invert("generate", "--model", model, "--seeds", "0", "--json", "-q", "-o", tmp_path / "o", "--device", "cpu")
    assert json.loads(result.out)[0]["status"] == "done" and result.err == ""


def test_noise_sheet(invert, model, tmp_path):
    result = invert("generate", "--model", model, "--seeds", "1", "--noise-layers", "-o", tmp_path, "--device", "cpu")
    assert result.code == 0 and "row coarse (4–8 px)" in result.err and "row middle (16 px)" in result.err
    assert _u8(tmp_path / "seed0001.noise.png").shape[1] > len(COLUMNS) * 128
    sampler = Sampler(load_model(model))
    sheet = noise_sheet(sampler.generator, sampler.ws(1))
    assert list(sheet.spread) == ["all layers", "coarse (4–8 px)", "middle (16 px)"]
    assert 0 < sheet.spread["middle (16 px)"] < sheet.spread["all layers"]
    quiet = load_generator(write_model(tmp_path / "quiet.safetensors", use_noise=False))
    with pytest.raises(Exception, match="no noise inputs"):
        noise_sheet(quiet, sampler.ws(1))


def test_models_list_and_info(invert, model):
    assert "portraits64" in invert("models", "list").out
    names = {row["name"] for row in json.loads(invert("models", "list", "--json").out)}
    assert {"portraits64", "ffhq", "metfaces", "afhqcat", "cifar10"} <= names
    facts = json.loads(invert("models", "info", model, "--json").out)
    assert facts["kind"] == "generator" and facts["config"]["img_resolution"] == 16
    assert facts["model_sha256"] == model_sha256(load_generator(model))
    assert "img_resolution: 16" in invert("models", "info", model).out


def test_models_check_says_in_words_what_is_wrong(invert, model, tmp_path):
    good = invert("models", "check", model, "-o", tmp_path, "--device", "cpu")
    assert good.code == 0 and "It loaded right." in good.out and (tmp_path / "tiny.samples.png").exists()
    generator = load_generator(model)
    with torch.no_grad():
        generator.mapping.w_avg.add_(50)
    save_native(generator, tmp_path / "shifted.safetensors")
    bad = invert("models", "check", tmp_path / "shifted.safetensors", "--device", "cpu", "--json")
    findings = {finding["name"]: finding["is_good"] for finding in json.loads(bad.out)["findings"]}
    assert bad.code == 1 and findings == {"spread of w": True, "w_avg": False, "pixel range": True, "contrast": True, "variety": True}


def test_a_generator_that_paints_one_colour_fails_the_check(model):
    generator = load_generator(model)
    with torch.no_grad():
        for name, value in generator.named_parameters():
            if "torgb.weight" in name:
                value.zero_()
    findings = {finding.name: finding.is_good for finding in check_generator(generator).findings}
    assert not findings["contrast"] and not findings["variety"]
    discriminator = build(StyleGAN2DiscriminatorConfig(img_resolution=16, channel_base=64, channel_max=8))
    names = [finding.name for finding in check_generator(load_generator(model), discriminator).findings]
    assert names[-1] == "discriminator"
    other = build(StyleGAN2DiscriminatorConfig(img_resolution=8, channel_base=64, channel_max=8))
    assert "discriminator" not in [finding.name for finding in check_generator(load_generator(model), other).findings]


@pytest.mark.parametrize("layout", ["native", "rosinality", "nvlabs"])
def test_models_convert_keeps_the_model(invert, model, tmp_path, layout):
    path = tmp_path / f"there.{'safetensors' if layout == 'native' else 'pt'}"
    assert invert("models", "convert", model, "-o", path, "--to", layout).code == 0
    back = tmp_path / "back.safetensors"
    assert invert("models", "convert", path, "-o", back).code == 0
    assert model_sha256(load_generator(back)) == model_sha256(load_generator(model))
    assert invert("models", "convert", model, "-o", path, "--to", "onnx").code == 2


def test_models_that_are_not_there(invert, tmp_path):
    for words in (["info", "nothing"], ["check", "nothing"], ["pull", "nothing"], ["convert", "nothing", "-o", tmp_path / "x"]):
        result = invert("models", *words)
        assert result.code == 1 and "nothing" in result.err and len(result.err.strip().splitlines()) == 1


def test_doctor(invert):
    result = invert("doctor")
    assert "torch" in result.out and "--device auto" in result.out and "Extra video" in result.out
    facts = json.loads(invert("doctor", "--json").out)
    assert facts["packages"]["torch"] and facts["device"] and set(facts["extras"]) == {"video", "heif"}
    assert result.code == (1 if facts["problems"] else 0)


def test_models_export(invert, model, tmp_path):
    result = invert("models", "export", model, "-o", tmp_path / "g.ts", "--psi", "0.5", "--json")
    (record,) = json.loads(result.out)
    assert result.code == 0 and record["format"] == "torchscript" and record["largest_error"] < 1e-4
    assert invert("models", "export", model, "-o", tmp_path / "g.pt", "--format", "rosinality").code == 0
    assert model_sha256(load_generator(tmp_path / "g.pt")) == model_sha256(load_generator(model))
    for wrong in (["g.pt"], ["g.x", "--format", "coreml"], ["g.pt", "--format", "nvlabs", "--psi", "0.5"], ["g.ts", "--part", "x"]):
        assert invert("models", "export", model, "-o", tmp_path / wrong[0], *wrong[1:]).code == 2
