"""`invert project`: files, report, bad input, going on after a stop, equal results however the work is shared."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from stylegan_core.inversion import Inversion
from stylegan_core.provenance import file_sha256

from .conftest import write_model, write_photos

QUICK = ("--perceptual", "none", "--steps", "3", "--device", "cpu")
FIELDS = {
    "input", "input_sha256", "model", "model_sha256", "space", "preset", "seed", "steps", "perceptual", "psnr", "ssim",
    "seconds", "device", "version", "status", "error",
}  # fmt: skip


def _report(folder: Path) -> list[dict]:
    return json.loads((folder / "report.json").read_text())


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


def test_four_outputs_and_a_record(invert, model, photos, tmp_path):
    out = tmp_path / "out"
    result = invert("project", photos / "a.png", "--model", model, *QUICK, "-o", out)
    assert result.code == 0, result.err
    assert sorted(os.listdir(out)) == ["a.compare.png", "a.inversion.safetensors", "a.png", "report.json"]
    (record,) = _report(out)
    assert set(record) >= FIELDS and record["status"] == "done" and record["error"] is None
    assert record["input"] == str(photos / "a.png") and record["input_sha256"] == file_sha256(photos / "a.png")
    assert record["model"] == model and record["space"] == "w+" and record["steps"] == 3 and record["seed"] == 0
    assert record["perceptual"]["name"] == "none" and record["psnr"] > 5 and -1 <= record["ssim"] <= 1
    assert _pixels(out / "a.png").shape == (16, 16, 3) and _pixels(out / "a.compare.png").shape[1] >= 3 * 256
    assert result.out == "" and "PSNR" in result.err and record["advice"]["text"] in result.err
    inversion = Inversion.load(out / "a.inversion.safetensors")
    assert inversion.geometry["source_size"] == [40, 32] and inversion.metadata["model_sha256"] == record["model_sha256"]
    with Image.open(out / "a.png") as picture:
        assert json.loads(picture.text["invert"])["model_sha256"] == record["model_sha256"]


def test_psnr_is_that_of_the_saved_picture(invert, model, photos, tmp_path):
    square = Image.open(photos / "a.png").resize((16, 16))
    square.save(tmp_path / "square.png")
    invert("project", tmp_path / "square.png", "--model", model, *QUICK, "-o", tmp_path / "out")
    error = (_pixels(tmp_path / "out" / "square.png") - np.asarray(square)).astype(float)
    assert _report(tmp_path / "out")[0]["psnr"] == pytest.approx(10 * np.log10(255**2 / (error**2).mean()), abs=1e-3)


def test_render_gives_the_same_file_again(invert, model, photos, tmp_path):
    out = tmp_path / "out"
    invert("project", photos, "--model", model, *QUICK, "-o", out)
    again = tmp_path / "again.png"
    assert invert("render", out / "a.inversion.safetensors", "-o", again, "--device", "cpu").code == 0
    assert again.read_bytes() == (out / "a.png").read_bytes()
    assert invert("render", out, "-o", tmp_path / "all", "--device", "cpu").code == 0
    for name in ("a.png", "b.png", "c.png"):
        assert (tmp_path / "all" / name).read_bytes() == (out / name).read_bytes()
    assert [record["status"] for record in _report(tmp_path / "all")] == ["done"] * 3


def test_three_bad_files_among_ten(invert, model, tmp_path):
    folder = tmp_path / "ten"
    folder.mkdir()
    write_photos(folder, [f"p{i}.png" for i in range(7)])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "page.jpg").write_bytes(b"<html>not found</html>")
    (folder / "cut.png").write_bytes((folder / "p0.png").read_bytes()[:300])
    result = invert("project", folder, "--model", model, *QUICK, "-o", tmp_path / "out")
    assert result.code == 1
    records = {Path(record["input"]).name: record for record in _report(tmp_path / "out")}
    assert len(records) == 10
    failed = {name for name, record in records.items() if record["status"] == "failed"}
    assert failed == {"empty.jpg", "page.jpg", "cut.png"}
    for name in failed:
        assert set(records[name]) >= FIELDS and name in records[name]["error"] and "\n" not in records[name]["error"]
        assert name in result.err
    assert len(list((tmp_path / "out").glob("*.inversion.safetensors"))) == 7


def test_a_missing_input_is_a_failed_record(invert, model, photos, tmp_path):
    result = invert("project", photos / "a.png", photos / "no.png", "--model", model, *QUICK, "-o", tmp_path / "out")
    assert result.code == 1 and "no.png does not exist" in result.err
    assert [record["status"] for record in _report(tmp_path / "out")] == ["done", "failed"]


def test_finished_work_is_not_done_again(invert, model, photos, tmp_path):
    out = tmp_path / "out"
    words = ("project", photos, "--model", model, *QUICK, "-o", out)
    assert invert(*words).code == 0
    first, before = _report(out), {path: path.stat().st_mtime_ns for path in out.glob("[abc]*")}
    result = invert(*words)
    assert result.code == 0 and result.err.count("done before") == 3
    assert _report(out) == first
    assert {path: path.stat().st_mtime_ns for path in out.glob("[abc]*")} == before

    write_photos(photos, ["c.png", "a.png"])  # a.png is another picture now
    result = invert(*words)
    assert result.err.count("done before") == 1
    assert invert(*words, "--seed", 1).err.count("done before") == 0
    other = write_model(tmp_path / "other.safetensors", seed=1)
    assert invert("project", photos, "--model", other, *QUICK, "--seed", 1, "-o", out).err.count("done before") == 0
    assert len(_report(out)) == 3
    assert invert("project", photos / "a.png", "--model", other, *QUICK, "--seed", 1, "-o", out).code == 0
    assert [Path(record["input"]).name for record in _report(out)] == ["a.png"]  # the inputs of the last command


def test_lost_pictures_are_rendered_from_the_inversion(invert, model, photos, tmp_path):
    out = tmp_path / "out"
    words = ("project", photos / "a.png", "--model", model, *QUICK, "-o", out)
    invert(*words)
    picture, inversion = (out / "a.png").read_bytes(), (out / "a.inversion.safetensors").stat().st_mtime_ns
    (first,) = _report(out)
    (out / "a.png").unlink()
    (out / "report.json").unlink()
    assert invert(*words).code == 0
    assert (out / "a.png").read_bytes() == picture and (out / "a.inversion.safetensors").stat().st_mtime_ns == inversion
    assert _report(out) == [first]
    (out / "a.inversion.safetensors").write_bytes(b"half")
    assert invert(*words).code == 0
    assert (out / "a.png").read_bytes() == picture


def _start(words, **options) -> subprocess.Popen:
    def heed() -> None:  # a background job is started with interrupts ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    command = [sys.executable, "-m", "invert", *map(str, words)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed, **options)


def _wait_for(found, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.02)


def _check_whole(out: Path) -> None:
    for path in out.iterdir():
        if path.name.startswith("."):
            continue
        if path.suffix == ".png":
            assert _pixels(path).size
        elif path.suffix == ".safetensors":
            assert load_file(path)
        else:
            assert isinstance(json.loads(path.read_text()), list)


def test_killed_at_any_moment(invert, model, tmp_path):
    folder, out = tmp_path / "many", tmp_path / "out"
    folder.mkdir()
    write_photos(folder, [f"p{i}.png" for i in range(6)])
    words = ("project", folder, "--model", model, "--perceptual", "none", "--steps", "20", "--device", "cpu", "--batch", "1", "-o", out)
    process = _start(words)
    _wait_for(lambda: (out / "p1.png").exists())
    process.kill()
    process.wait()
    _check_whole(out)
    done = {path.name: path.stat().st_mtime_ns for path in out.glob("*.inversion.safetensors")}
    assert 2 <= len(done) < 6
    result = invert(*words)
    assert result.code == 0 and [record["status"] for record in _report(out)] == ["done"] * 6
    assert all((out / name).stat().st_mtime_ns == when for name, when in done.items())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_by_a_signal(model, photos, tmp_path, number, code):
    out = tmp_path / "out"
    process = _start(("project", photos, "--model", model, "--perceptual", "none", "--steps", "5000", "-o", out, "--device", "cpu"))
    _wait_for(lambda: "left" in (process.stderr.readline() or "left"))
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in err and "start the same command again" in err
    assert not out.exists() or not [path for path in out.iterdir() if path.name != "report.json"]


def test_two_inputs_of_one_stem(invert, model, photos, tmp_path):
    write_photos(photos, ["a.jpg"])
    result = invert("project", photos, "--model", model, *QUICK, "-o", tmp_path / "out")
    assert result.code == 2 and "a.jpg" in result.err and "a.png" in result.err and not (tmp_path / "out").exists()


def test_a_result_never_overwrites_a_photo(invert, model, photos, tmp_path):
    before = (photos / "a.png").read_bytes()
    result = invert("project", photos / "a.png", "--model", model, *QUICK, "-o", photos)
    assert result.code == 2 and "overwrite" in result.err and (photos / "a.png").read_bytes() == before
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.png").write_bytes(before)
    result = invert("project", photos / "a.png", photos / "c.png", "--model", model, *QUICK, "-o", elsewhere)
    assert result.code == 1 and "not made by this toolkit" in result.err and (elsewhere / "a.png").read_bytes() == before
    assert (elsewhere / "c.png").exists()


def test_folders_globs_and_what_is_no_picture(invert, model, photos, tmp_path):
    (photos / "notes.txt").write_text("words")
    (photos / "deep").mkdir()
    write_photos(photos / "deep", ["d.png"])
    plan = json.loads(invert("project", photos, "--model", model, "-n").out)
    assert [Path(item["input"]).name for item in plan["inputs"]] == ["a.png", "b.jpg", "c.png"]
    assert "notes.txt" in invert("project", photos, "--model", model, "-n").err
    plan = json.loads(invert("project", photos, "-r", "--model", model, "-n").out)
    assert [Path(item["input"]).name for item in plan["inputs"]] == ["a.png", "b.jpg", "c.png", "d.png"]
    plan = json.loads(invert("project", f"{photos}/*.png", photos / "a.png", "--model", model, "-n").out)
    assert [Path(item["input"]).name for item in plan["inputs"]] == ["a.png", "c.png"]
    assert invert("project", f"{photos}/*.bmp", "--model", model).code == 2
    (tmp_path / "empty").mkdir()
    assert invert("project", tmp_path / "empty", "--model", model).code == 2


def test_dry_run_writes_nothing_and_tells_everything(invert, photos, tmp_path):
    result = invert("project", photos / "a.png", "--space", "w", "--steps", 7, "-o", tmp_path / "out", "--dry-run")
    plan = json.loads(result.out)
    assert result.code == 0 and plan["space"] == "w" and plan["steps"] == 7 and plan["model"] == "portraits64"
    assert not (tmp_path / "out").exists()


def test_json_and_quiet(invert, model, photos, tmp_path):
    result = invert("project", photos / "a.png", "--model", model, *QUICK, "-o", tmp_path / "out", "--json", "--quiet")
    assert json.loads(result.out) == _report(tmp_path / "out") and result.err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--space", "v"], "--space 'v'"), (["--fit", "squeeze"], "--fit 'squeeze'"), (["--steps", "0"], "--steps 0"),
        (["--class", "x"], "--class 'x'"), (["--class", "1"], "no classes"), (["--preset", "none"], "preset 'none'"),
        (["--perceptual", "mse"], "perceptual 'mse'"), (["--start", "here"], "start 'here'"), (["--batch", "0"], "--batch 0"),
        (["--device", "tpu"], "device 'tpu'"), (["--devices", "cpu,,"], "devices"), (["--seed", "-1"], "--seed -1"),
        (["--mask", "no.png"], "--mask no.png"), (["--video", "a.avi"], ".gif, .webp, .mp4"), (["--background", "whitish"], "whitish"),
        (["--restarts", "0"], "restarts 0"), (["--threads", "0"], "--threads 0"), (["--max-megapixels", "0"], "--max-megapixels"),
    ],
)  # fmt: skip
def test_options_that_cannot_be(invert, model, photos, tmp_path, words, said):
    result = invert("project", photos / "a.png", "--model", model, "--perceptual", "none", "-o", tmp_path / "out", *words)
    assert result.code == 2 and said in result.err and len(result.err.strip().splitlines()) == 1
    assert not list(tmp_path.glob("out/*.png"))


def test_models_that_cannot_be_had(invert, photos, tmp_path):
    for name, said in (("portrats64", "did you mean"), (str(tmp_path / "no.pkl"), "no.pkl")):
        result = invert("project", photos / "a.png", "--model", name, *QUICK, "-o", tmp_path / "out")
        assert result.code == 1 and said in result.err and len(result.err.strip().splitlines()) == 1
        assert not (tmp_path / "out").exists()


def test_mp4_without_the_extra_is_said_before_the_work(invert, model, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("invert.video.find_spec", lambda name: None)
    result = invert("project", photos / "a.png", "--model", model, *QUICK, "-o", tmp_path / "out", "--video", "w.mp4")
    assert result.code == 1 and "invert-gan[video]" in result.err and not (tmp_path / "out").exists()


def test_video_of_the_optimisation(invert, model, photos, tmp_path):
    words = ("project", photos / "a.png", "--model", model, "--perceptual", "none", "--steps", 12, "--device", "cpu")
    result = invert(*words, "-o", tmp_path / "out", "--video", tmp_path / "w.gif")
    assert result.code == 0, result.err
    with Image.open(tmp_path / "w.gif") as video:
        assert 3 < video.n_frames <= 12 and video.size[0] > 2 * 256
    several = invert("project", photos, "--model", model, *QUICK, "-o", tmp_path / "out", "--save-video", tmp_path / "w.webp")
    assert several.code == 0 and sorted(path.name for path in tmp_path.glob("w.*.webp")) == ["w.a.webp", "w.b.webp", "w.c.webp"]


def test_a_batch_equals_single_runs(invert, model, tmp_path):
    folder = tmp_path / "five"
    folder.mkdir()
    names = [f"p{i}.png" for i in range(5)]
    write_photos(folder, names)
    steps = ("--perceptual", "none", "--steps", "30", "--device", "cpu")
    paths = [folder / name for name in names]
    invert("project", *paths, "--model", model, *steps, "-o", tmp_path / "batch", "--batch", 5)
    invert("project", *reversed(paths), "--model", model, *steps, "-o", tmp_path / "one", "--batch", 1)
    psnrs = [{record["input"]: record["psnr"] for record in _report(tmp_path / name)} for name in ("batch", "one")]
    for name, path in zip(names, paths):
        difference = np.abs(_pixels(tmp_path / "batch" / name) - _pixels(tmp_path / "one" / name))
        assert (difference <= 1).mean() >= 0.999 and abs(psnrs[0][str(path)] - psnrs[1][str(path)]) < 0.05


def test_devices_share_the_work_with_equal_results(invert, model, photos, tmp_path):
    words = ("project", photos, "--model", model, *QUICK, "--batch", 1, "--threads", 1)
    (photos / "bad.png").write_bytes(b"bad")
    assert invert(*words, "-o", tmp_path / "one").code == 1
    shared = invert(*words, "--devices", "cpu,cpu", "-o", tmp_path / "two")
    assert shared.code == 1 and "bad.png" in shared.err
    for name in ("a", "b", "c"):
        for end in (".png", ".compare.png", ".inversion.safetensors"):
            first, second = ((tmp_path / folder / f"{name}{end}") for folder in ("one", "two"))
            if end == ".inversion.safetensors":
                tensors = [load_file(path) for path in (first, second)]
                assert all((tensors[0][key] == tensors[1][key]).all() for key in tensors[0])
            else:
                assert first.read_bytes() == second.read_bytes()
    for one, two in zip(_report(tmp_path / "one"), _report(tmp_path / "two")):
        assert (one["input"], one["status"], one["psnr"], one["error"]) == (two["input"], two["status"], two["psnr"], two["error"])


@pytest.mark.parametrize("options", [{"img_channels": 1}, {"img_channels": 4}])
def test_grey_and_rgba_models(invert, photos, tmp_path, options):
    model = write_model(tmp_path / "other.safetensors", **options)
    rgba = Image.open(photos / "a.png").convert("RGBA")
    rgba.putalpha(Image.new("L", rgba.size, 128))
    rgba.save(tmp_path / "t.png")
    result = invert("project", photos / "a.png", tmp_path / "t.png", "--model", model, *QUICK, "-o", tmp_path / "out")
    assert result.code == 0, result.err
    assert Image.open(tmp_path / "out" / "a.png").mode == {1: "L", 4: "RGBA"}[options["img_channels"]]


def test_conditional_models(invert, photos, tmp_path):
    model = write_model(tmp_path / "classes.safetensors", c_dim=3)
    words = ("project", photos / "a.png", "--model", model, *QUICK, "-o")
    refused = invert(*words, tmp_path / "no")
    assert refused.code == 2 and "class" in refused.err and "0 to 2" in refused.err
    assert invert(*words, tmp_path / "no", "--class", 3).code == 2
    assert invert(*words, tmp_path / "two", "--class", 2).code == 0
    assert invert(*words, tmp_path / "search", "--class", "search", "--space", "z").code == 0
    again = tmp_path / "again.png"
    invert("render", tmp_path / "search" / "a.inversion.safetensors", "-o", again, "--device", "cpu")
    assert again.read_bytes() == (tmp_path / "search" / "a.png").read_bytes()


@pytest.mark.parametrize("space", ["z", "w", "w+", "s"])
def test_every_space(invert, model, photos, tmp_path, space):
    result = invert("project", photos / "a.png", "--model", model, *QUICK, "--space", space, "-o", tmp_path / "out")
    assert result.code == 0, result.err
    assert Inversion.load(tmp_path / "out" / "a.inversion.safetensors").latent.space.value == space


def test_steps_of_one(invert, model, photos, tmp_path):
    result = invert("project", photos / "a.png", "--model", model, "--perceptual", "none", "--steps", 1, "-o", tmp_path / "out")
    assert result.code == 0 and _report(tmp_path / "out")[0]["steps"] == 1


def test_padding_and_masks(invert, model, photos, tmp_path):
    mask = np.zeros((32, 40), np.uint8)
    mask[:, :20] = 255
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    words = ("project", photos / "a.png", photos / "c.png", "--model", model, *QUICK)
    assert invert(*words, "--fit", "pad", "--mask", tmp_path / "masks", "-o", tmp_path / "out").code == 0
    inversion = Inversion.load(tmp_path / "out" / "a.inversion.safetensors")
    assert inversion.geometry["mode"] == "pad" and inversion.geometry["pads"] == [0, 1, 0, 2]
    Image.fromarray(mask[:10]).save(tmp_path / "small.png")
    wrong = invert(*words, "--mask", tmp_path / "small.png", "-o", tmp_path / "wrong")
    assert wrong.code == 1 and "same size" in wrong.err


def test_no_metadata(invert, model, photos, tmp_path):
    invert("project", photos / "a.png", "--model", model, *QUICK, "-o", tmp_path / "out", "--no-metadata")
    with Image.open(tmp_path / "out" / "a.png") as picture:
        assert "invert" not in picture.info


def test_a_full_disk_is_one_line(invert, model, photos, tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("stylegan_core.files._flush_to_disk", full)
    result = invert("project", photos / "a.png", "--model", model, *QUICK, "-o", tmp_path / "out")
    assert result.code == 1 and "no space left" in result.err
    assert list((tmp_path / "out").iterdir()) == []


def test_an_output_that_cannot_be_written(invert, model, photos, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    result = invert("project", photos / "a.png", "--model", model, *QUICK, "-o", tmp_path / "file")
    assert result.code == 1 and "not a folder" in result.err


def test_a_name_too_long_for_its_outputs_fails_alone(invert, model, photos, tmp_path):
    (photos / ("n" * 251 + ".png")).write_bytes((photos / "a.png").read_bytes())
    result = invert("project", photos, "--model", model, *QUICK, "-o", tmp_path / "out")
    assert result.code == 1 and "name is too long" in result.err
    assert [record["status"] for record in _report(tmp_path / "out")] == ["done", "done", "done", "failed"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(model, photos, tmp_path, number):
    words = ("project", photos, "--model", model, "--perceptual", "none", "--steps", "5000", "-o", tmp_path / "out", "--devices", "cpu,cpu")
    process = _start(words)
    _wait_for(lambda: "step" in process.stderr.readline())
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    assert children
    process.send_signal(number)
    process.wait()
    _wait_for(lambda: not any(_is_alive(child) for child in children), 30)


def _is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_hostile_names(invert, model, photos, tmp_path):
    names = ["x\x1b[2J.png", "new\nline.png", "[red].png", os.fsdecode(b"\xff\xfe.png"), "é" * 100 + ".png"]
    for name in names:
        (photos / name).write_bytes((photos / "a.png").read_bytes())
    (photos / "bad\x1b[2J.png").write_bytes(b"bad")
    result = invert("project", photos, "--model", model, *QUICK, "-o", tmp_path / "out")
    assert result.code == 1 and "\x1b" not in result.err
    records = _report(tmp_path / "out")
    assert len(records) == 9 and sum(record["status"] == "done" for record in records) == 8
    assert invert("project", photos, "--model", model, *QUICK, "-o", tmp_path / "out").err.count("done before") == 8
