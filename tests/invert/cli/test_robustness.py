"""`invert evaluate robustness`."""

from __future__ import annotations

import json


def test_robustness(invert, model, tmp_path):
    words = ("evaluate", "robustness", "--model", model, "--count", 2, "--steps", 3, "--perceptual", "none", "--device", "cpu",
             "--parts", "starts", "-o", tmp_path / "r")
    result = invert(*words)
    assert result.code == 0 and "starts: done in" in result.err and result.out.strip() == str(tmp_path / "r" / "robustness.md")
    again = invert(*words, "--json")
    assert again.code == 0 and "starts: there already" in again.err
    assert json.loads(again.out) == json.loads((tmp_path / "r" / "robustness.json").read_text())


def test_robustness_refuses(invert, tmp_path):
    plan = json.loads(invert("evaluate", "robustness", "-n", "-o", tmp_path / "r").out)
    assert [row["part"] for row in plan] == ["domain", "moves", "starts", "morphs", "turns", "models"] and not (tmp_path / "r").exists()
    for words, message in ((["--parts", "fur"], "fur"), (["--parts", "shifts"], "--also"), (["--count", 1], "--count 1"),
                           (["--preset", "hybrid"], "encoder")):
        result = invert("evaluate", "robustness", *words)
        assert result.code == 2 and message in result.err
