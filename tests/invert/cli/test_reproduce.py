"""`invert reproduce` and what `invert metrics` measures by name."""

from __future__ import annotations

import json

import pytest

from invert.reproduce.ledger import HEADING, RULE


def test_reproduce(invert, model, tmp_path):
    ledger = tmp_path / "papers.md"
    ledger.write_text(f"{HEADING}\n{RULE}\n")
    words = ("reproduce", "resolution-contribution", "--model", model, "--count", 8, "--device", "cpu", "-o", tmp_path / "r")
    result = invert(*words, "--ledger", ledger, "--json")
    (record,) = json.loads(result.out)
    assert result.code == 0 and record["verdict"] in ("shown", "not shown") and record["count"] == 8
    assert json.loads((tmp_path / "r" / "resolution-contribution.json").read_text()) == record
    assert ledger.read_text().splitlines()[2] + "\n" == (tmp_path / "r" / "resolution-contribution.md").read_text()


def test_reproduce_lists_and_refuses(invert, tmp_path):
    assert "separability" in invert("reproduce").out
    assert {"truncation", "noise", "projection-gap"} <= {row["experiment"] for row in json.loads(invert("reproduce", "--json").out)}
    plan = json.loads(invert("reproduce", "all", "-n", "-o", tmp_path / "r").out)
    assert len(plan) >= 10 and not (tmp_path / "r").exists()
    assert invert("reproduce", "fusion").code == 2 and invert("reproduce", "noise", "--count", 1).code == 2


def test_metrics_by_name(invert, model, tmp_path, monkeypatch):
    monkeypatch.setenv("INVERT_CACHE", str(tmp_path / "cache"))
    words = ("metrics", "--model", model, "--count", 12, "--device", "cpu", "--json", "--quiet")
    result = invert(*words, "--metrics", "recall,ppl-w,separability-z,resolution-contribution")
    figures = json.loads(result.out)
    assert result.code == 0 and set(figures["metrics"]) == {"recall"} and "attributes" not in figures
    assert set(figures["generator"]) == {"ppl-w-full", "separability-z", "resolution-contribution"}
    assert figures["generator"]["ppl-w-full"]["measured_in"] == "portraits-judge"
    assert len(list((tmp_path / "cache" / "statistics").iterdir())) == 2
    table = invert("metrics", "--model", model, "--count", 12, "--device", "cpu", "--metrics", "ppl-z-end,resolution-contribution").out
    assert "ppl-z-end" in table and "b16.torgb" in table
    assert "fid" in invert("metrics", "--metrics", "list").out


@pytest.mark.parametrize("words, message", [
    (["--metrics", "fid"], "ask for frechet"), (["--metrics", "loudness"], "loudness"), (["--metrics", "ssim"], "two pictures"),
    (["--metrics", "class-score", "--detector", "nobody"], "nobody"), (["--distance", "best"], "best"),
])  # fmt: skip
def test_metrics_that_cannot_be_had(invert, model, words, message):
    result = invert("metrics", "--model", model, "--count", 12, "--device", "cpu", *words)
    assert result.code in (1, 2) and message in result.err and len(result.err.strip().splitlines()) == 1


def test_inception_is_named_with_its_address_when_it_is_not_here(invert, model, tmp_path, monkeypatch):
    monkeypatch.setenv("INVERT_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    result = invert("metrics", "--model", model, "--metrics", "fid", "--detector", "inception", "--count", 12)
    assert result.code == 1 and "6726825d" in result.err and "https://" in result.err
