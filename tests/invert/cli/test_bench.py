"""`invert bench`: choice of cases, table and JSON."""

from __future__ import annotations

import json


def test_bench_of_the_smallest_case(invert, tmp_path):
    words = ("bench", "--resolutions", 64, "--batches", 1, "--repeats", 1, "--device", "cpu")
    result = invert(*words, "--json", "-o", tmp_path / "speed.md")
    assert result.code == 0, result.err
    rows = json.loads(result.out)["rows"]
    assert {(row["case"], row["batch"]) for row in rows} == {("64²", 1)}
    assert {(row["work"], row["variant"]) for row in rows} == {
        (work, variant) for work in ("forward", "forward+backward") for variant in ("grouped", "eager")
    }
    assert all(row["milliseconds"] > 0 and row["ratio"] > 0 for row in rows)
    assert (tmp_path / "speed.md").read_text().count("| 64² | 1 |") == 4


def test_what_cannot_be_measured(invert):
    for words in (["--variants", "fast"], ["--resolutions", "x"], ["--resolutions", "63"], ["--batches", "7"], ["--repeats", "0"]):
        result = invert("bench", "--device", "cpu", *words)
        assert result.code == 2 and len(result.err.strip().splitlines()) == 1


def test_dry_run(invert):
    plan = json.loads(invert("bench", "--resolutions", "64", "--device", "cpu", "-n").out)
    assert {case["name"] for case in plan["cases"]} == {"portraits64", "64²"} and plan["variants"] == ["eager"]
