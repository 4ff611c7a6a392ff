"""`invert tune`: inversions and pictures, alone and together, HyperStyle, and errors that say what to do."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from encoders.build import encoder_for
from encoders.native import save_encoder
from stylegan_core.checkpoints.native import save_native
from stylegan_core.checkpoints.registry import load_generator
from stylegan_core.inversion import Inversion

QUICK = ("--steps", 3, "--perceptual", "none", "--lr", 0.003)


@pytest.fixture
def projected(invert, model, photos, tmp_path):
    """A folder of inversions made from the photos."""
    out = tmp_path / "out"
    result = invert("project", photos, "-o", out, "--model", model, "--steps", 3, "--start", "mean", "--perceptual", "none", "--space", "w")
    assert result.code == 0, result.err
    return out


def test_inversions_are_tuned_with_their_pictures(invert, model, photos, projected, tmp_path) -> None:
    result = invert("tune", projected, "--pictures", photos, "-o", tmp_path / "tuned", *QUICK)
    assert result.code == 0, result.err
    records = json.loads((tmp_path / "tuned" / "report.json").read_text())
    assert [record["preset"] for record in records] == ["pivotal"] * 3 and records[0]["model"] == model
    tuned = Inversion.load(tmp_path / "tuned" / "a.inversion.safetensors")
    pivot = Inversion.load(projected / "a.inversion.safetensors")
    assert (tuned.latent.value == pivot.latent.value).all() and tuned.weight_deltas and tuned.geometry == pivot.geometry
    before = {record["input"]: record["psnr"] for record in json.loads((projected / "report.json").read_text())}
    assert records[0]["psnr"] > before[str(photos / "a.png")]
    again = invert("tune", projected, "--pictures", photos, "-o", tmp_path / "tuned", *QUICK)
    assert again.code == 0 and again.err.count("done before") == 3
    rendered = invert("render", tmp_path / "tuned" / "a.inversion.safetensors", "-o", tmp_path / "again.png")
    assert rendered.code == 0 and (tmp_path / "again.png").read_bytes() == (tmp_path / "tuned" / "a.png").read_bytes()


def test_pictures_find_their_own_pivot(invert, model, photos, tmp_path) -> None:
    result = invert("tune", photos / "a.png", "-o", tmp_path / "tuned", "--model", model, *QUICK)
    assert result.code == 0, result.err
    assert Inversion.load(tmp_path / "tuned" / "a.inversion.safetensors").latent.space.value == "w"


def test_together_is_one_change(invert, photos, projected, tmp_path) -> None:
    result = invert("tune", projected, "--pictures", photos, "-o", tmp_path / "tuned", "--together", *QUICK)
    assert result.code == 0, result.err
    first, second = (Inversion.load(tmp_path / "tuned" / f"{name}.inversion.safetensors") for name in "ab")
    assert all((delta.dense() == second.weight_deltas[name].dense()).all() for name, delta in first.weight_deltas.items())
    (tmp_path / "tuned" / "a.inversion.safetensors").unlink()
    again = invert("tune", projected, "--pictures", photos, "-o", tmp_path / "tuned", "--together", *QUICK)
    assert again.code == 2 and "1 of 3 pictures of --together are left" in again.err


def test_hyperstyle_takes_over(invert, model, photos, projected, tmp_path) -> None:
    encoder = encoder_for(load_generator(model), "hyperstyle", backbone="tiny", num_iterations=2)
    save_encoder(encoder, tmp_path / "hyper.safetensors", generator_name=model)
    for source in (photos / "a.png", projected / "a.inversion.safetensors"):
        result = invert("tune", source, "-o", tmp_path / source.suffix, "--method", "hyperstyle", "--perceptual", "none",
                        "--encoder", tmp_path / "hyper.safetensors", "--model", model, "--pictures", photos)  # fmt: skip
        assert result.code == 0, result.err
        tuned = Inversion.load(tmp_path / source.suffix / "a.inversion.safetensors")
        assert tuned.weight_deltas and all(delta.is_relative for delta in tuned.weight_deltas.values())


def test_a_change_is_rendered_with_a_relative(invert, model, photos, projected, tmp_path) -> None:
    assert invert("tune", projected / "a.inversion.safetensors", "--pictures", photos, "-o", tmp_path / "tuned", *QUICK).code == 0
    tuned, child = tmp_path / "tuned" / "a.inversion.safetensors", load_generator(model)
    with torch.no_grad():
        child.synthesis.b16.torgb.bias.add_(0.5)
    save_native(child, tmp_path / "child.safetensors")
    refused = invert("render", tuned, "--model", tmp_path / "child.safetensors", "-o", tmp_path / "child.png")
    assert refused.code == 1 and "--sibling" in refused.err
    shown = invert("render", tuned, "--model", tmp_path / "child.safetensors", "-o", tmp_path / "child.png", "--sibling")
    assert shown.code == 0 and (tmp_path / "child.png").read_bytes() != (tmp_path / "tuned" / "a.png").read_bytes()


def test_errors_say_what_to_do(invert, model, photos, projected, tmp_path) -> None:
    shutil.rmtree(photos)
    lost = invert("tune", projected / "a.inversion.safetensors", "-o", tmp_path / "tuned", *QUICK)
    assert lost.code == 1 and "a.png, which was not found in" in lost.err and "--pictures" in lost.err
    wrong = invert("tune", projected, "-o", tmp_path / "tuned", "--method", "magic")
    assert wrong.code == 2 and "one of pivotal, hyperstyle" in wrong.err
    steps = invert("tune", projected, "-o", tmp_path / "tuned", "--method", "hyperstyle", "--steps", 3)
    assert steps.code == 2 and "HyperStyle takes --passes" in steps.err
    same = invert("tune", projected, "-o", projected, *QUICK)
    assert same.code == 2 and "overwrite an input" in same.err
