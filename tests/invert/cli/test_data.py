"""`invert data` and `invert train`."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from stylegan_core.checkpoints.registry import load_generator
from stylegan_core.data.images import open_images

from .conftest import write_photos


def test_portraits(invert, tmp_path):
    words = ("data", "portraits", "--count", 3, "--resolution", 32, "--seed", 1000, "-o", tmp_path / "p")
    assert invert(*words).code == 0
    rows = list(csv.DictReader((tmp_path / "p" / "labels.csv").open()))
    assert [row["file"] for row in rows] == ["000000.png", "000001.png", "000002.png"] and "smile" in rows[0]
    assert len(list((tmp_path / "p" / "images").iterdir())) == 3
    assert json.loads(invert(*words, "-n").out)["count"] == 3
    for wrong in (["--law", "none"], ["--style", "oil"], ["--count", "0"], ["--resolution", "1"]):
        assert invert(*words[:2], "-o", tmp_path / "q", *wrong).code == 2


def test_scenes(invert, tmp_path):
    assert invert("data", "scenes", "--count", 2, "--resolution", 32, "-o", tmp_path).code == 0
    assert len(list((tmp_path / "images").iterdir())) == 2
    assert invert("data", "scenes", "--count", 0, "-o", tmp_path).code == 2


def test_pack(invert, tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / "animals" / name).mkdir(parents=True)
        write_photos(tmp_path / "animals" / name, ["a.png", "b.jpg"])
    words = ("data", "pack", tmp_path / "animals", "--resolution", 16)
    assert invert(*words, "-o", tmp_path / "a.zip", "--class-by-folder").code == 0
    invert(*words, "-o", tmp_path / "b.zip", "--class-by-folder")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        labels = json.loads(archive.read("dataset.json"))["labels"]
    assert [label for _, label in labels] == [0, 0, 1, 1] and labels[0][0] == "img00000000.png"
    data = open_images(tmp_path / "a.zip")
    assert len(data) == 4 and data.images_u8([0]).shape == (1, 3, 16, 16)
    (tmp_path / "animals" / "cats" / "c.png").write_bytes(b"no")
    result = invert(*words, "-o", tmp_path / "c.zip")
    assert result.code == 1 and "c.png" in result.err and len(open_images(tmp_path / "c.zip")) == 4
    assert invert(*words, "-o", tmp_path / "c.tar").code == 2


def test_train_generator(invert, tmp_path):
    words = ("train", "generator", "-o", tmp_path / "run", "--resolution", 16, "--count", 16, "--batch", 4, "--device", "cpu")
    plan = json.loads(invert(*words, "--kimg", "0.008", "-n").out)
    assert plan["training"]["kimg"] == 0.008 and not (tmp_path / "run").exists()
    result = invert(*words, "--kimg", "0.008", "--snapshot-kimg", "0.004")
    assert result.code == 0, result.err
    snapshot = result.err.strip().splitlines()[-1].removeprefix("newest snapshot: ")
    assert load_generator(snapshot).img_resolution == 16
    longer = invert(*words, "--kimg", "0.012", "--snapshot-kimg", "0.004")
    assert longer.code in (0, 1)  # another length may count as another configuration; either way it is one line
    child = invert("train", "generator", "-o", tmp_path / "child", "--data", "ink", "--resolution", 16, "--count", 8,
                   "--transfer", snapshot, "--kimg", "0.004", "--batch", 4, "--device", "cpu")  # fmt: skip
    assert child.code == 0, child.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_training_saves_before_it_stops(invert, tmp_path, number, code):
    words = ["train", "generator", "-o", tmp_path / "run", "--resolution", 16, "--count", 16, "--batch", 4, "--device", "cpu"]
    command = [sys.executable, "-m", "invert", *map(str, words), "--kimg", "1000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while "kimg" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code and "Traceback" not in err and "stopped after a snapshot" in err
    (snapshot,) = (tmp_path / "run").glob("snapshot-*.safetensors")
    assert load_generator(snapshot).img_resolution == 16


@pytest.mark.parametrize("wrong", [["--preset", "huge"], ["--data", "nowhere"], ["--batch", "0"], ["--precision", "int4"]])
def test_training_that_cannot_be(invert, tmp_path, wrong):
    result = invert("train", "generator", "-o", tmp_path / "run", "--resolution", 16, "--count", 8, "--device", "cpu", *wrong)
    assert result.code == 2 and len(result.err.strip().splitlines()) == 1


def test_train_features(invert, tmp_path):
    words = ("train", "features", "-o", tmp_path, "--device", "cpu")
    assert json.loads(invert(*words, "-n").out)["training"]["steps"] > 0
    assert invert(*words, "--preset", "nothing").code == 2


def test_metrics_of_pairs(invert, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_photos(tmp_path / folder, ["x.png", "y.png"])
    same = json.loads(invert("metrics", tmp_path / "a", tmp_path / "b", "--json").out)
    assert [record["psnr"] for record in same] == [100.0, 100.0] and np.isclose(same[0]["ssim"], 1)
    table = invert("metrics", tmp_path / "a" / "x.png", tmp_path / "a" / "y.png").out
    assert "psnr" in table.splitlines()[0] and "y.png" in table
    assert invert("metrics", tmp_path / "a").code == 2 and invert("metrics", tmp_path / "a", tmp_path / "a" / "x.png").code == 2


def test_metrics_of_a_generator(invert, tmp_path, monkeypatch):
    monkeypatch.setenv("INVERT_CACHE", str(tmp_path))
    result = invert("metrics", "--model", "portraits64", "--count", 24, "--device", "cpu", "--json", "--quiet")
    figures = json.loads(result.out)
    assert result.code == 0 and figures["judge"] == "portraits-judge" and figures["count"] == 24
    assert figures["metrics"]["frechet"]["samples"] > 0 and set(figures["attributes"]["smile"]) == {"samples", "floor"}
    assert "worst pairs" in invert("metrics", "--count", 24, "--device", "cpu").out


def test_evaluate_methods(invert, tmp_path):
    words = ("evaluate", "methods", "--count", 1, "--steps", 2, "--spaces", "w", "--presets", "stylegan2", "--device", "cpu")
    result = invert(*words, "--csv", tmp_path / "m.csv", "--judge", "portraits-judge")
    assert result.code == 0, result.err
    assert result.out.count("\n") == 4 and "| samples | w | stylegan2 | 1 |" in result.out
    assert len((tmp_path / "m.csv").read_text().splitlines()) == 3
    assert invert("evaluate", "methods", "--pictures", "cats").code == 2 and invert("evaluate", "methods", "--count", 0).code == 2


def test_plan_of_a_training(invert, tmp_path):
    plan = json.loads(invert("train", "generator", "-o", tmp_path, "--resolution", "24x16", "--count", 8, "--device", "cpu", "-n",
                             "--augment", "bgc", "--loss", "hinge", "--channels", 4, "--cond", "--kimg", 1).out)  # fmt: skip
    training = plan["training"]
    assert training["generator"]["const_shape"] == [6, 4] and training["generator"]["img_channels"] == 4
    assert training["generator"]["c_dim"] == 8 and training["augment"] == "bgc" and training["loss"] == "hinge"
    assert plan["needs"]["days"] > 0 and plan["needs"]["gigabytes"] > 0 and plan["needs"]["steps"] == 63


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--resolution", "100x100"], "such as"), (["--resolution", "axb"], "--resolution"), (["--channels", 2], "1, 3 or 4"),
        (["--preset", "config-f", "--resolution", 1024, "--batch", 4096], "GB are free"), (["--loss", "wasser"], "non-saturating"),
        (["--augment", "bgd"], "bgcfnc"), (["--augment-p", 0.5], "--augment"), (["--data", "scenes", "--cond"], "no labels"),
        (["--freeze-d", 1000], "--freeze-d 1000"), (["--count", 1], "one picture"), (["--batch", 6, "--micro-batch", 4], "multiple"),
    ],
)  # fmt: skip
def test_training_that_cannot_be_is_one_line(invert, tmp_path, wrong, words):
    words_before = ("--count", 8, "--resolution", 16, "--device", "cpu", "--kimg", 0.004)
    result = invert("train", "generator", "-o", tmp_path / "run", *words_before, *wrong)
    assert result.code == 2 and words in result.err and len(result.err.strip().splitlines()) == 1


def test_training_data_that_cannot_be(invert, tmp_path):
    folder = tmp_path / "photos"
    (folder / "cats").mkdir(parents=True)
    write_photos(folder / "cats", ["a.png", "b.png"])
    words = ("train", "generator", "-o", tmp_path / "run", "--data", folder, "--device", "cpu")
    result = invert(*words, "--cond", "--resolution", 16)
    assert result.code == 2 and "no labels" in result.err
    (folder / "dogs").mkdir()
    (folder / "dogs" / "c.png").write_bytes((folder / "cats" / "a.png").read_bytes()[:-60])
    result = invert(*words, "--resolution", 16)
    assert result.code == 1 and "c.png" in result.err and len(result.err.strip().splitlines()) == 1


def test_fine_tuning_takes_the_size_of_the_model(invert, model, tmp_path):
    words = ("train", "generator", "-o", tmp_path / "run", "--count", 8, "--device", "cpu", "--batch", 4, "--kimg", "0.004")
    done = invert(*words, "--data", "ink", "--transfer", model, "--freeze-d", 2, "--augment", "bgc")
    assert done.code == 0, done.err
    config = json.loads((tmp_path / "run" / "config.json").read_text())["training"]
    assert config["generator"]["img_resolution"] == 16 and config["freeze_d"] == 2 and config["ada_kimg"] == 100
    other = invert(*words[:2], "-o", tmp_path / "x", "--count", 8, "--transfer", model, "--resolution", 32, "--device", "cpu")
    assert other.code == 2 and "--resolution 16" in other.err
    labelled = invert(*words[:2], "-o", tmp_path / "x", "--count", 8, "--transfer", model, "--cond", "--device", "cpu")
    assert labelled.code == 2 and "labels do not match" in labelled.err


def test_convert_keeps_a_content_box(invert, model, tmp_path):
    path = tmp_path / "boxed.safetensors"
    assert invert("models", "convert", model, "-o", path, "--content-box", "0,2,16,14").code == 0
    assert load_generator(path).config.content_box == (0, 2, 16, 14)
    assert invert("generate", "--model", path, "--seeds", "1", "-o", tmp_path / "out").code == 0
    from PIL import Image

    assert Image.open(tmp_path / "out" / "seed0001.png").size == (16, 12)
    for wrong in ("0,2,16", "0,2,16,99", "a,b,c,d"):
        assert invert("models", "convert", model, "-o", tmp_path / "x.safetensors", "--content-box", wrong).code in (1, 2)
    assert invert("models", "convert", model, "-o", tmp_path / "x.pt", "--to", "rosinality", "--content-box", "0,2,16,14").code == 2
