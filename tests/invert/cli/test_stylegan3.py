"""Every command on StyleGAN3 files: those that the official code wrote."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from stylegan_core.checkpoints.registry import load_generator
from stylegan_core.images import to_u8
from stylegan_core.input_transform import BUFFER, pose_of, set_pose
from stylegan_core.inversion import Inversion
from tests.parity.rows import GOLDEN

MODELS = {"t": GOLDEN / "ckpt" / "sg3t_16.pkl", "r": GOLDEN / "ckpt" / "sg3r_32_cond.pkl"}
CLASS = {"t": (), "r": ("--class", "1")}
QUICK = ("--perceptual", "none", "--steps", "6", "--start", "nearest:32", "--restarts", "1", "--device", "cpu")


def _u8(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.fixture
def samples(invert, tmp_path):
    """generate → a folder with one sample of a model."""

    def draw(kind: str):
        folder = tmp_path / f"samples-{kind}"
        result = invert("generate", "--model", MODELS[kind], *CLASS[kind], "--seeds", "5", "--device", "cpu", "-o", folder)
        assert result.code == 0, result.err
        return folder

    return draw


@pytest.mark.parametrize("kind", MODELS)
def test_project_and_render(invert, samples, tmp_path, kind: str) -> None:
    picture, out = samples(kind) / "seed0005.png", tmp_path / "out"
    for space in ("w", "w+"):
        result = invert("project", picture, "--model", MODELS[kind], *CLASS[kind], *QUICK, "--space", space, "-o", out / space)
        assert result.code == 0, result.err
        record = json.loads((out / space / "report.json").read_text())[0]
        assert record["status"] == "done" and record["psnr"] > 15 and record["space"] == space
    inversion = Inversion.load(out / "w" / "seed0005.inversion.safetensors")
    assert not inversion.noise and not inversion.weight_deltas
    again = invert("render", out / "w" / "seed0005.inversion.safetensors", "--model", MODELS[kind], "-o", tmp_path / "again.png")
    assert again.code == 0, again.err
    np.testing.assert_array_equal(_u8(tmp_path / "again.png"), _u8(out / "w" / "seed0005.png"))


def test_project_finds_the_motion_of_the_input(invert, tmp_path) -> None:
    """A moved sample: the command that may move the input keeps the motion in its file and renders the same pixels again."""
    words = ("--model", MODELS["t"], "--device", "cpu")
    assert invert("generate", *words, "--seeds", "5", "--rotate", "10", "--translate", "0.1,-0.05", "-o", tmp_path).code == 0
    moved = tmp_path / "seed0005.png"
    result = invert("project", moved, *words, *QUICK[:-2], "--space", "w", "--transform", "-o", tmp_path / "out")
    assert result.code == 0, result.err
    file = tmp_path / "out" / "seed0005.inversion.safetensors"
    inversion = Inversion.load(file)
    assert set(inversion.weight_deltas) == {BUFFER} and set(inversion.metadata["pose"]) == {"rotate", "right", "down"}
    assert invert("render", file, "--model", MODELS["t"], "-o", tmp_path / "again.png").code == 0
    np.testing.assert_array_equal(_u8(tmp_path / "again.png"), _u8(tmp_path / "out" / "seed0005.png"))
    goes_on = invert("project", moved, *words, *QUICK[:4], "--start", file, "--space", "w+", "--transform", "-o", tmp_path / "on")
    assert goes_on.code == 0, goes_on.err
    refused = invert("project", moved, *words, *QUICK[:4], "--start", file, "--space", "w+", "-o", tmp_path / "no")
    assert refused.code == 2 and "add --transform" in refused.err


def test_generate_moves_the_input_as_the_official_scripts_do(invert, tmp_path) -> None:
    words = ("generate", "--model", MODELS["t"], "--seeds", "5", "--device", "cpu", "-o", tmp_path)
    result = invert(*words, "--rotate", "20", "--translate", "0.1,0.05")
    assert result.code == 0, result.err
    generator = load_generator(MODELS["t"])
    set_pose(generator, pose_of(20, (0.1, 0.05)))
    z = torch.from_numpy(np.random.RandomState(5).randn(1, 16)).float()
    with torch.no_grad():
        np.testing.assert_array_equal(_u8(tmp_path / "seed0005.png"), to_u8(generator(z))[0].numpy())
    assert json.loads((tmp_path / "report.json").read_text())[0]["rotate"] == 20


def test_what_does_not_fit_is_one_line(invert, model, photos, tmp_path) -> None:
    for words, message in (
        (("generate", "--model", model, "--rotate", "5"), "this model is none"),
        (("generate", "--model", MODELS["t"], "--translate", "1"), "two numbers are needed"),
        (("project", photos / "a.png", "--model", model, "--transform", "--perceptual", "none"), "only StyleGAN3 has one"),
        (("generate", "--model", MODELS["t"], "--seeds", "0", "--noise-layers"), "no noise inputs"),
        (("metrics", "--model", MODELS["t"], "--metrics", "ssim"), "compares two pictures"),
    ):
        result = invert(*words, *(() if words[0] == "metrics" else ("-o", tmp_path / "out")))
        assert result.code == 2 and message in result.err


@pytest.mark.parametrize("kind", MODELS)
def test_metrics_of_equivariance(invert, kind: str) -> None:
    result = invert("metrics", "--model", MODELS[kind], "--metrics", "eq-t,eq-t-frac,eq-r", "--count", "2", "--device", "cpu", "--json")
    assert result.code == 0, result.err
    values = {name: entries["value"] for name, entries in json.loads(result.out)["generator"].items()}
    assert set(values) == {"eq-t", "eq-t-frac", "eq-r"} and all(value > 5 for value in values.values())


@pytest.mark.parametrize("kind", MODELS)
def test_info_check_and_convert(invert, tmp_path, kind: str) -> None:
    facts = json.loads(invert("models", "info", MODELS[kind], "--json").out)
    assert facts["kind"] == "generator" and facts["config"]["kind"] == "stylegan3"
    checked = json.loads(invert("models", "check", MODELS[kind], "--device", "cpu", "--json").out)
    assert {finding["name"] for finding in checked["findings"]} >= {"w_avg", "pixel range", "contrast", "discriminator"}
    for layout, name in (("native", "a.safetensors"), ("nvlabs", "a.pt")):
        result = invert("models", "convert", MODELS[kind], "--to", layout, "-o", tmp_path / name)
        assert result.code == 0, result.err
        assert json.loads(invert("models", "info", tmp_path / name, "--json").out)["model_sha256"] == facts["model_sha256"]
    refused = invert("models", "convert", MODELS[kind], "--to", "rosinality", "-o", tmp_path / "b.pt")
    assert refused.code == 1 and "StyleGAN2 only" in refused.err


@pytest.mark.parametrize("preset", ["stylegan3-t", "stylegan3-r"])
def test_train_and_go_on_after_a_stop(invert, tmp_path, preset: str) -> None:
    """The command of docs/training.md, made short and narrow; a run in two parts equals the straight one."""
    words = ("train", "generator", "--preset", preset, "--data", "portraits", "--count", "8", "--resolution", "32", "--batch", "4",
             "--cbase", "64", "--cmax", "4", "--snapshot-kimg", "0.004", "--device", "cpu")
    for folder, parts in (("straight", ["0.008"]), ("parts", ["0.004", "0.008"])):
        for kimg in parts:
            result = invert(*words, "--kimg", kimg, "-o", tmp_path / folder)
            assert result.code == 0, result.err
    names = sorted(path.name for path in (tmp_path / "straight").glob("*.safetensors"))
    assert names == sorted(path.name for path in (tmp_path / "parts").glob("*.safetensors")) and "state.safetensors" in names
    weights = [load_generator(next((tmp_path / folder).glob("snapshot-0000000.0*"))) for folder in ("straight", "parts")]
    assert weights[0].config.kind == "stylegan3" and weights[0].img_resolution == 32
    for ours, theirs in zip(*(each.state_dict().values() for each in weights)):
        assert torch.equal(ours, theirs)
    logs = [[json.loads(line) for line in (tmp_path / folder / "log.jsonl").read_text().splitlines()] for folder in ("straight", "parts")]
    assert [record["loss_G"] for record in logs[0]] == [record["loss_G"] for record in logs[1]]
    assert logs[0][0]["loss_D"] != logs[0][1]["loss_D"]
