"""`invert attribute`, `calibrate` and `evaluate attribution` on the command line: verdicts, files, bad input, going on after a stop."""

from __future__ import annotations

import csv
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from invert.api import loaded_model
from invert.attribution.sources import Procedural, sample
from stylegan_core.checkpoints.native import save_native
from stylegan_core.images import save_image
from tests.invert.attribution.conftest import child, spend_little
from tests.tiny import tiny_generator

QUICK = ("--perceptual", "none", "--device", "cpu")
COUNT = 80
FILES = ("case.html", "case.json", "input.png", "calibration.0.json")


@dataclass(frozen=True)
class World:
    """model, other, child: files of tiny generators. own, foreign: samples of the first two. calibration: of model against child."""

    model: Path
    other: Path
    child: Path
    own: Path
    foreign: Path
    calibration: Path


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache, monkeypatch) -> None:
    monkeypatch.setenv("INVERT_CACHE", str(cache))


@pytest.fixture(autouse=True)
def little_effort(monkeypatch) -> None:
    spend_little(monkeypatch)


@pytest.fixture(scope="module")
def world(tmp_path_factory, cache) -> World:
    folder = tmp_path_factory.mktemp("world")
    files = {name: folder / f"{name}.safetensors" for name in ("mine", "other", "child")}
    generators = {"mine": tiny_generator(0), "other": tiny_generator(1), "child": child()}
    for name, path in files.items():
        save_native(generators[name].requires_grad_(False), path)
    save_image(sample(generators["mine"], 6), folder / "own.png")
    save_image(sample(generators["other"], 7), folder / "foreign.png")
    return World(*files.values(), folder / "own.png", folder / "foreign.png", folder / "calibration.json")


@pytest.fixture
def calibrated(world, invert, cache, monkeypatch) -> World:
    """Made by the command line at the first test that needs it, in a cache of its own."""
    monkeypatch.setenv("INVERT_CACHE", str(cache / "calibrated"))
    if not world.calibration.exists():
        result = invert("calibrate", "--model", world.model, "--other-model", world.child, "--count", COUNT, "--laundering", "clean",
                        *QUICK, "-o", world.calibration)  # fmt: skip
        assert result.code == 0, result.err
        assert f"{2 * COUNT} pictures, about" in result.err and "by child" in result.err and "kept:" in result.err
    return world


def _report(folder: Path) -> list[dict]:
    return json.loads((folder / "report.json").read_text())


def test_own_samples_alone_say_consistent_with_or_none_and_exit_0(invert, world, tmp_path):
    result = invert("attribute", world.own, world.foreign, "--model", world.model, *QUICK, "-o", tmp_path, "--csv", tmp_path / "v.csv")
    assert result.code == 0, result.err
    assert [record["verdict"] for record in _report(tmp_path)] == ["consistent_with", "none"]
    assert "19 own samples are its null" in result.err and "would also control false alarms" in result.err
    (candidate,) = _report(tmp_path)[0]["candidates"]
    assert candidate["calibration"] == "one-class" and candidate["p_not_generated"] is None and candidate["likelihood_ratio"] is None
    with (tmp_path / "v.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == ["consistent_with", "none"] and rows[0]["model"] == str(world.model)
    again = invert("attribute", world.own, world.foreign, "--model", world.model, *QUICK, "-o", tmp_path)
    assert again.err.count("(done before)") == 2


def test_a_rate_of_false_alarms_is_refused_where_nothing_but_own_samples_is_known(invert, world, tmp_path):
    result = invert("attribute", world.own, "--model", world.model, *QUICK, "--fpr", "0.05", "-o", tmp_path)
    assert result.code == 2 and "misses and not false alarms" in result.err and "invert calibrate" in result.err


def test_made_by_with_a_calibration(invert, calibrated, tmp_path):
    world = calibrated
    pictures = (world.own, world.foreign)
    shared = (*QUICK, "--calibration", world.calibration, "--fpr", "0.1")
    result = invert("attribute", *pictures, "--model", world.model, *shared, "-o", tmp_path, "--json")
    assert result.code == 0, result.err
    records = json.loads(result.out)
    assert [record["verdict"] for record in records] == ["made_by", "none"] and records[0]["made_by"] == str(world.model)
    (candidate,) = records[0]["candidates"]
    assert candidate["p_not_generated"] <= 0.1 and candidate["likelihood_ratio"] > 1
    strict = invert("attribute", world.own, "--model", world.model, *QUICK, "--fpr", "0.001", "-o", tmp_path / "strict")
    assert "cannot_say" in strict.err  # of so few other pictures no such rate can be told


def test_a_case_file_needs_nothing_else_and_its_command_gives_the_verdict_again(invert, calibrated, tmp_path, monkeypatch):
    world = calibrated
    result = invert("attribute", world.own, "--model", world.model, *QUICK, "--calibration", world.calibration, "--fpr", "0.1",
                    "--report", "-o", tmp_path / "out")  # fmt: skip
    assert result.code == 0, result.err
    folder = tmp_path / "out" / "own"
    assert sorted(os.listdir(folder)) == sorted(FILES)
    page, case = (folder / "case.html").read_text(), json.loads((folder / "case.json").read_text())
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)|@import|url\(|<script|<link|<iframe""", page)
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) <= {"http://www.w3.org/2000/svg"}  # the name of a format, not an address
    for words in (case["input_sha256"], case["candidates"][0]["model_sha256"], "made by", "at most 10.0%", "this picture", "with noise",
                  "nearest in W", "Distance over the steps", case["environment"]["torch"], "@page{size:A4"):  # fmt: skip
        assert words in page, words
    assert case["curves"][str(world.model)] and case["repeat"][:2] == ["invert", "attribute"]
    monkeypatch.chdir(folder)
    monkeypatch.setenv("INVERT_CACHE", str(tmp_path / "empty"))
    again = invert(*case["repeat"][1:])
    assert again.code == 0, again.err
    (record,) = _report(folder / "again")
    assert record["verdict"] == case["verdict"] == "made_by"
    for name in ("score", "p_generated", "p_not_generated", "likelihood_ratio"):
        assert record["candidates"][0][name] == pytest.approx(case["candidates"][0][name], abs=1e-6), name


def test_one_line_for_every_bad_picture_and_the_rest_is_done(invert, world, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "own.png").write_bytes(world.own.read_bytes())
    result = invert("attribute", folder, "--model", world.model, *QUICK, "-o", tmp_path / "out")
    assert result.code == 1 and "1 done, 2 failed" in result.err
    failed = [line for line in result.err.splitlines() if "broken.png" in line or "empty.jpg" in line]
    assert len(failed) == 2
    records = {Path(record["input"]).name: record for record in _report(tmp_path / "out")}
    assert [records[name]["status"] for name in ("broken.png", "empty.jpg", "own.png")] == ["failed", "failed", "done"]
    assert records["own.png"]["verdict"] == "consistent_with" and records["broken.png"]["error"]


@pytest.mark.parametrize(
    "words, said",
    [
        (("--fpr", "0"), "--fpr"),
        (("--null", "5"), "19 tell 5 %"),
        (("--batch", "0"), "--batch"),
        (("--perceptual", "psychic"), "psychic"),
        (("--calibration", "absent.json"), "absent.json"),
        (("--model", "absent.safetensors"), "absent.safetensors"),
    ],
)
def test_options_that_cannot_be(invert, world, tmp_path, words, said):
    result = invert("attribute", world.own, "--model", world.model, *QUICK, "-o", tmp_path, *words)
    assert result.code != 0 and said in result.err and len(result.err.strip().splitlines()) <= 3


def test_a_calibration_of_another_model_or_version_is_refused(invert, calibrated, tmp_path):
    world = calibrated
    result = invert("attribute", world.own, "--model", world.other, *QUICK, "--calibration", world.calibration, "-o", tmp_path)
    assert result.code != 0 and "none of the candidates" in result.err
    record = json.loads(world.calibration.read_text())
    (tmp_path / "old.json").write_text(json.dumps({**record, "evidence_version": 0}))
    result = invert("attribute", world.own, "--model", world.model, *QUICK, "--calibration", tmp_path / "old.json", "-o", tmp_path)
    assert result.code != 0 and "another version" in result.err


def test_dry_runs_measure_nothing(invert, world, tmp_path):
    result = invert("attribute", world.own, "--model", world.model, "--dry-run", "-o", tmp_path / "out")
    assert json.loads(result.out)["models"] == [str(world.model)] and not (tmp_path / "out").exists()
    plan = json.loads(invert("calibrate", "--model", world.model, "--real", "portraits", "--count", 40, "--dry-run").out)
    assert plan["pictures"] == 3 * 40 * 5
    plan = json.loads(invert("evaluate", "attribution", "--model", world.model, "--count", 3, "--dry-run").out)
    assert plan["count"] == 3 and "screenshot" in plan["laundering"]


@pytest.mark.parametrize(
    "words, said",
    [
        (("--count", "10", "--real", "portraits"), "at least 40"),
        (("--count", "18"), "at least 19"),
        (("--laundering", "clean,soap"), "soap"),
        (("--real", "absent-folder"), "absent-folder"),
        (("--other-model", "absent.safetensors"), "absent.safetensors"),
    ],
)
def test_calibrations_that_cannot_be(invert, world, words, said):
    result = invert("calibrate", "--model", world.model, *QUICK, *words)
    assert result.code != 0 and said in result.err


def test_the_model_among_the_others_is_refused(invert, world):
    result = invert("calibrate", "--model", world.model, "--other-model", world.model, *QUICK)
    assert result.code == 2 and "the model itself" in result.err


def test_own_samples_in_the_folder_of_real_pictures_are_said(world, tmp_path):
    from invert.attribution.sources import real_source
    from invert.cli.calibrate import own_copies_in
    from invert.cli.console import Terminal

    loaded = loaded_model(str(world.model), "cpu")
    save_image(sample(loaded.generator, 7, noise_mode="const"), tmp_path / "copy.png")
    save_image(Procedural("portraits", 16).pictures([0])[0], tmp_path / "real.png")
    (warning,) = own_copies_in(Terminal(quiet=True), [real_source(str(tmp_path), loaded.generator)], loaded)
    assert "copy.png" in warning and "equal to seed 7" in warning and "real.png" not in warning


def test_evaluation_prints_tables_goes_on_and_goes_into_a_page(invert, calibrated, tmp_path):
    world, page = calibrated, tmp_path / "page.md"
    page.write_text("# Title\n\nWords.\n")
    words = ("evaluate", "attribution", "--model", world.model, "--other-model", world.child, "--count", 2, "--laundering", "clean",
             "--classes", "psi 1,real,in W+", "--fingerprint", "0", *QUICK, "-o", tmp_path / "out", "--into", page)  # fmt: skip
    result = invert(*words)
    assert result.code == 0, result.err
    assert "### Attribution to a candidate" in result.out and "| psi 1 | by child | clean | 2 / 2 |" in result.out
    text = page.read_text()
    assert text.startswith("# Title\n\nWords.\n") and "### Thresholds" in text
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files >= {"tables.md", "tables.json", "roc-clean.svg", "tippett-clean.svg", "reliability-clean.svg", "fig9.svg"}
    tables = json.loads((tmp_path / "out" / "tables.json").read_text())
    assert {row["kind"] for row in tables["verdicts"]} == {"psi 1", "real", "in W+", "by child"}
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "evidence").rglob("*.json")}
    assert len(parts) == 4
    again = invert(*words)
    assert again.out == result.out and {path: path.stat().st_mtime_ns for path in parts} == parts
    assert page.read_text() == text


def test_an_evaluation_needs_a_calibration_against_others(invert, world, tmp_path):
    result = invert("evaluate", "attribution", "--model", world.other, *QUICK, "--count", 2, "-o", tmp_path)
    assert result.code == 2 and "invert calibrate --model" in result.err
    result = invert("evaluate", "attribution", "--model", world.model, "--classes", "psi 1,dreams", "-o", tmp_path)
    assert result.code == 2 and "dreams" in result.err
