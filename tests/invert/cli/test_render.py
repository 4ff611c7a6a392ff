"""`invert render`: one file, several, pasted back, refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import write_model

QUICK = ("--perceptual", "none", "--steps", "3", "--device", "cpu")


@pytest.fixture
def done(invert, model, photos, tmp_path):
    assert invert("project", photos, "--model", model, *QUICK, "-o", tmp_path / "out").code == 0
    return tmp_path / "out"


def test_pasted_back_into_the_photo(invert, done, photos, tmp_path):
    result = invert("render", done / "a.inversion.safetensors", "--paste", photos / "a.png", "-o", tmp_path / "p.png")
    assert result.code == 0, result.err
    photo, pasted = (np.asarray(Image.open(path)) for path in (photos / "a.png", tmp_path / "p.png"))
    assert pasted.shape == photo.shape == (32, 40, 3)
    assert (pasted[:, :4] == photo[:, :4]).all() and (pasted[:, 36:] == photo[:, 36:]).all() and (pasted != photo).any()
    small = Image.open(photos / "a.png").resize((20, 16))
    small.save(tmp_path / "small.png")
    wrong = invert("render", done / "a.inversion.safetensors", "--paste", tmp_path / "small.png", "-o", tmp_path / "q.png")
    assert wrong.code == 1 and "give the same photo" in wrong.err


def test_another_model_is_refused(invert, done, tmp_path):
    other = write_model(tmp_path / "other.safetensors", seed=1)
    result = invert("render", done / "a.inversion.safetensors", "--model", other, "-o", tmp_path / "x.png")
    assert result.code == 1 and "was made with" in result.err and not (tmp_path / "x.png").exists()


def test_a_renamed_model_is_the_same_model(invert, model, done, tmp_path):
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(Path(model).read_bytes())
    assert invert("render", done / "a.inversion.safetensors", "--model", moved, "-o", tmp_path / "x.png", "--device", "cpu").code == 0
    assert (tmp_path / "x.png").read_bytes() == (done / "a.png").read_bytes()


def test_bad_files_among_good_ones(invert, done, tmp_path):
    (done / "bad.inversion.safetensors").write_bytes(b"bad")
    result = invert("render", done, "-o", tmp_path / "r", "--json", "--device", "cpu")
    records = json.loads(result.out)
    assert result.code == 1
    assert {record["input"].rsplit("/")[-1]: record["status"] for record in records}["bad.inversion.safetensors"] == "failed"
    assert sorted(path.name for path in (tmp_path / "r").glob("*.png")) == ["a.png", "b.png", "c.png"]


def test_usage(invert, done, photos, tmp_path):
    assert invert("render", done, "-o", tmp_path / "one.png").code == 2
    assert invert("render", done, "--paste", photos / "a.png").code == 2
    assert invert("render", done / "a.inversion.safetensors", "--paste", photos / "a.png", "-o", photos / "a.png").code == 2
    assert invert("render", tmp_path / "nowhere.inversion.safetensors", "-o", tmp_path / "x.png").code == 1
    listed = invert("render", done, "-n", "-o", tmp_path / "r").out
    assert len(listed.strip().splitlines()) == 3 and not (tmp_path / "r").exists()
