"""What a command line names, reports on disk, and which work is to be done."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from invert.inputs import check_outputs, collect_inputs, is_picture_file, stem_of
from invert.jobs import Outputs, default_batch, parse_class, split_batches
from invert.reports import Report, jsonable, options_sha256
from stylegan_core.errors import UsageError


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_a_folder_is_read_once_sorted_and_without_hidden_files(tmp_path):
    _touch(tmp_path, "b.png", "a.JPG", ".hidden.png", "notes.txt", "deep/c.png", ".cache/d.png")
    found = collect_inputs([tmp_path], wanted=is_picture_file)
    assert [path.name for path in found.paths] == ["a.JPG", "b.png"] and [path.name for path in found.ignored] == ["notes.txt"]
    found = collect_inputs([tmp_path], wanted=is_picture_file, recursive=True)
    assert [path.name for path in found.paths] == ["a.JPG", "b.png", "c.png"]


def test_a_file_counts_once_whatever_it_is_called(tmp_path):
    _touch(tmp_path, "a.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    found = collect_inputs([tmp_path / "a.png", tmp_path, tmp_path / "." / "a.png", f"{tmp_path}/*.png"], wanted=is_picture_file)
    assert [path.name for path in found.paths] == ["a.png"]


def test_brackets_in_a_real_name_are_no_glob(tmp_path):
    _touch(tmp_path, "a[1].png")
    assert collect_inputs([str(tmp_path / "a[1].png")], wanted=is_picture_file).paths == [tmp_path / "a[1].png"]
    with pytest.raises(UsageError, match="matches no file"):
        collect_inputs([str(tmp_path / "b[1].png")], wanted=is_picture_file)


def test_hints_for_folders(tmp_path):
    _touch(tmp_path, "deep/a.png")
    with pytest.raises(UsageError, match="-r looks into its sub-folders"):
        collect_inputs([tmp_path], wanted=is_picture_file)


def test_stems():
    assert stem_of(Path("x/photo.png")) == "photo" and stem_of(Path("photo.inversion.safetensors")) == "photo"
    assert stem_of(Path(os.fsdecode(b"\xff.png"))) == "%FF"


def test_clashing_outputs(tmp_path):
    out = tmp_path / "out"
    sources = [tmp_path / "photo.png", tmp_path / "photo.compare.png"]  # the render of one is the comparison of the other
    with pytest.raises(UsageError, match="would both write"):
        check_outputs((source, Outputs.of(source, out).files) for source in sources)
    with pytest.raises(UsageError, match="overwrite an input"):
        check_outputs([(sources[0], Outputs.of(sources[0], tmp_path).files)])
    check_outputs([(sources[0], Outputs.of(sources[0], out).files)])


def test_report_keeps_order_and_is_always_whole(tmp_path):
    report = Report(tmp_path, ["b", "a"])
    report.put("a", {"input": "a", "status": "failed", "error": "x", "psnr": float("inf")})
    assert json.loads((tmp_path / "report.json").read_text())[0]["psnr"] is None
    report.put("b", {"input": "b", "status": "done", "input_sha256": "1"})
    assert [record["input"] for record in json.loads((tmp_path / "report.json").read_text())] == ["b", "a"]
    assert [record["input"] for record in report.failed] == ["a"]
    again = Report(tmp_path, ["b"])
    assert again.record_before(input_sha256="1")["input"] == "b" and again.record_before(input_sha256="2") is None
    assert again.record_before(input="a") is None  # it failed


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"a": 1}', "[" * 100_000])
def test_a_damaged_report_is_no_report(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    assert Report(tmp_path, ["a"]).previous == []


def test_the_hash_of_options_sees_values_not_order():
    assert options_sha256({"a": 1, "b": None}) == options_sha256({"b": None, "a": 1}) != options_sha256({"a": 2, "b": None})
    assert jsonable({"a": (1, float("nan"), Path("x"), True)}) == {"a": [1, None, "x", True]}


def test_batches_reach_every_worker():
    assert [len(batch) for batch in split_batches([None] * 5, 8, 1)] == [5]
    assert [len(batch) for batch in split_batches([None] * 5, 8, 2)] == [3, 2]
    assert [len(batch) for batch in split_batches([None] * 5, 2, 2)] == [2, 2, 1]
    assert default_batch(64, "cpu") == 8 and default_batch(1024, "cpu") == 1 and default_batch(256, "cuda") == 16


def test_classes_as_typed():
    assert parse_class(None) is None and parse_class("7") == 7 and parse_class("search") == "search"
    for text in ("-1", "x", "1.5", "²"):
        with pytest.raises(UsageError, match="--class"):
            parse_class(text)
