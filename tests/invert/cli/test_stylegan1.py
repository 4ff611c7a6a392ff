"""The command line on StyleGAN checkpoints of 2018 and TensorFlow pickles, from golden files on, and on a run of a preset."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylegan_core.checkpoints.registry import load_generator
from stylegan_core.images import to_u8
from stylegan_core.seeds import z_from_seed
from tests.parity.rows import GOLDEN

FILES = ("tf_sg1_32.pkl", "sg1_interfacegan_32.pth", "tf_sg2_32.pkl")
CPU = ("--device", "cpu", "--quiet")


@pytest.mark.parametrize("name", FILES)
def test_info_convert_generate(invert, tmp_path: Path, name: str) -> None:
    path = GOLDEN / "ckpt" / name
    facts = json.loads(invert("models", "info", path, "--json").out)
    assert facts["config"]["kind"] == ("stylegan2" if "sg2" in name else "stylegan1") and facts["config"]["img_resolution"] == 32
    converted = tmp_path / "converted.safetensors"
    assert invert("models", "convert", path, "-o", converted, "--quiet").code == 0
    assert json.loads(invert("models", "info", converted, "--json").out)["model_sha256"] == facts["model_sha256"]
    result = invert("generate", "--model", path, "--seeds", "3", "--psi", "-1", "--device", "cpu", "-o", tmp_path / "out")
    assert result.code == 0, result.err
    generator = load_generator(path)
    with torch.no_grad():
        expected = to_u8(generator(z_from_seed(3, generator.z_dim), truncation_psi=-1.0))[0].numpy()
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "seed0003.png")), expected)


def test_check_speaks_about_a_network_that_was_never_trained(invert) -> None:
    result = invert("models", "check", GOLDEN / "ckpt" / "tf_sg1_32.pkl", "--device", "cpu")
    assert result.code in (0, 1) and "w_avg" in result.out


def test_project_and_render(invert, tmp_path: Path) -> None:
    model, photo = GOLDEN / "ckpt" / "tf_sg1_32.pkl", tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((32, 32)).save(photo)
    for space in ("w", "s"):
        words = ("project", photo, "--model", model, "--space", space, "--steps", "6", "--perceptual", "none", "--start", "nearest:8")
        result = invert(*words, "-o", tmp_path / space, *CPU)
        assert result.code == 0, result.err
        record = json.loads((tmp_path / space / "report.json").read_text())[0]
        assert record["status"] == "done" and record["space"] == space and np.isfinite(record["psnr"])
    again = invert("render", tmp_path / "w" / "photo.inversion.safetensors", "--model", model, "-o", tmp_path / "again.png", *CPU)
    assert again.code == 0, again.err
    assert (tmp_path / "again.png").stat().st_size > 0


def test_metrics(invert) -> None:
    result = invert("metrics", "--model", GOLDEN / "ckpt" / "tf_sg1_32.pkl", "--count", 24, "--json", *CPU)
    assert result.code == 0, result.err
    assert json.loads(result.out)["metrics"]["frechet"]["samples"] > 0


def test_a_preset_trains_from_the_command_line(invert, tmp_path: Path) -> None:
    words = ("train", "generator", "--preset", "stylegan1-f", "--count", "24", "--resolution", "16", "--kimg", "0.048", "--batch", "8",
             "--growing-kimg", "0.008", "--cbase", "128", "--cmax", "8", "--snapshot-kimg", "0.04", "-o", tmp_path / "run")
    plan = json.loads(invert(*words, "--dry-run").out)["training"]
    assert plan["growing"]["training_kimg"] == 0.008
    assert plan["generator"]["channel_base"] == 128 and plan["generator"]["kind"] == "stylegan1"
    result = invert(*words, *CPU)
    assert result.code == 0, result.err
    newest = sorted((tmp_path / "run").glob("snapshot-*.safetensors"))[-1]
    assert load_generator(newest).config.lod == 0
    child = invert("train", "generator", "--preset", "stylegan1-f", "--count", "24", "--resolution", "16", "--kimg", "0.008",
                   "--batch", "8", "--transfer", newest, "-o", tmp_path / "child", *CPU)
    assert child.code == 0, child.err
    other = invert("train", "generator", "--preset", "small", "--growing-kimg", "1", "-o", tmp_path / "x", "--dry-run")
    assert other.code == 2 and "does not grow" in other.err
