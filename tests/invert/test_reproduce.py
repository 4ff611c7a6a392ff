"""Claims in small: every experiment at its smallest, the parts that decide, and the ledger."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from invert.reproduce import projections
from invert.reproduce.experiments import EXPERIMENTS, experiment
from invert.reproduce.ledger import HEADING, RULE, command_of, enter, record_of, row_of, write_result
from invert.reproduce.noise_effects import fine_share, noise_effects
from invert.reproduce.setting import NOT_TESTABLE, SHOWN, VERDICTS, Outcome, Setting
from invert.reproduce.shape_or_texture import equal_amounts, worse_side
from invert.reproduce.spaces import contribution
from invert.reproduce.truncation import PSIS, at, opposites
from stylegan_core.errors import UsageError
from stylegan_core.features import load_features
from tests.tiny import tiny_generator


@pytest.fixture(scope="module")
def judge():
    return load_features("portraits-judge")


def setting(judge, tmp_path, count: int, **config) -> Setting:
    return Setting("tiny", tiny_generator(**config).requires_grad_(False), judge, count, 1000, tmp_path)


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_every_experiment_runs_and_says_one_word(name, judge, tmp_path, monkeypatch):
    monkeypatch.setattr(projections, "STEPS", 2)
    monkeypatch.setattr(projections, "PERCEPTUAL", "none")
    chosen = experiment(name)
    given = setting(judge, tmp_path, chosen.smallest)
    outcome = chosen.measure(given)
    assert outcome.verdict in VERDICTS and len(outcome.ours) > 5 and outcome.figures
    record = record_of(chosen, given, outcome, 1.0)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert row_of(record).count("|") == 7 and "\n" not in row_of(record)


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_rows_are_complete(name):
    row = EXPERIMENTS[name]
    assert row.name == name and row.command == f"invert reproduce {name}" and 1 <= row.smallest < row.count
    assert all(len(text) > 3 for text in (row.claim, row.source, row.paper, row.criterion))


def test_unknown_experiments_and_a_stop(judge, tmp_path):
    with pytest.raises(UsageError, match="truncation"):
        experiment("everything")
    given = Setting("tiny", tiny_generator(), judge, 8, 1000, tmp_path, told=lambda *_: False)
    with pytest.raises(UsageError, match="stopped after 8 of 8 samples at psi"):
        opposites(given)


def test_noise_that_is_not_there_cannot_be_tested(judge, tmp_path):
    outcome = noise_effects(setting(judge, tmp_path, 3, use_noise=False))
    assert outcome.verdict == NOT_TESTABLE
    assert contribution(setting(judge, tmp_path, 8, architecture="orig")).verdict == NOT_TESTABLE


def test_loud_noise_moves_attributes_more(judge, tmp_path):
    loud, quiet = (noise_effects(setting(judge, tmp_path, 3, noise_strength=strength)).figures for strength in (0.5, 0.01))
    assert loud["median_moved"] > 5 * quiet["median_moved"] and loud["pixel_deviation"] > 5 * quiet["pixel_deviation"]


def test_fine_share_of_known_pictures():
    ramp = torch.arange(32.0).expand(32, 32)
    waves = torch.stack([(2 * np.pi * ramp / 16).sin(), (2 * np.pi * ramp / 4).sin()]).double()  # 1/16 and 1/4 cycles per pixel
    assert fine_share(waves[:1, None]) < 1e-9 and fine_share(waves[1:, None]) == pytest.approx(1)
    assert fine_share(waves.sum(0)[None, None]) == pytest.approx(0.5)
    white = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)).double()
    assert fine_share(white) == pytest.approx(1 - np.pi / 64 / 1, abs=0.02)  # the disc of radius 1/8 in the unit square


def test_equal_damage_is_equal_and_the_worse_side_follows_the_metric():
    from stylegan_core.data.images import portraits
    from stylegan_core.data.shape_and_texture import mean_error, scrambled, warped
    from stylegan_core.metrics.report import pictures

    images = next(pictures(portraits(8, 32, seed=5), 0, 8))
    amounts, error = equal_amounts(images, 0)
    assert mean_error(warped, images, amounts["warped"], 0) == pytest.approx(error, rel=0.05)
    assert mean_error(scrambled, images, amounts["scrambled"], 0) == pytest.approx(error)
    assert worse_side("frechet", {"scrambled": 2.0, "warped": 1.0}) == "scrambled"
    assert worse_side("precision", {"scrambled": 2.0, "warped": 1.0}) == "warped"
    assert worse_side("portraits-judge", {"scrambled": 1.0, "warped": 1.0}) == "neither"


def test_points_of_a_curve():
    figures = {"psi": list(PSIS), "recall": [float(i) for i in range(len(PSIS))]}
    assert at(figures, "recall", 1.0) == len(PSIS) - 1 and at(figures, "recall", -1.0) == 0


def test_ledger(judge, tmp_path):
    chosen = experiment("separability")
    given = setting(judge, tmp_path, chosen.count)
    record = record_of(chosen, given, Outcome("Z 9 | W 2", SHOWN, {"z": 9}), 2.0)
    assert record["command"] == "invert reproduce separability --model tiny" and "\\|" in row_of(record)
    other = Setting("portraits64", given.generator, judge, 99, 1001, tmp_path)
    assert command_of(chosen, other) == "invert reproduce separability --count 99 --seed 1001"
    paths = write_result(tmp_path / "out", record)
    assert json.loads(paths[0].read_text())["figures"] == {"z": 9} and paths[1].read_text() == row_of(record) + "\n"
    ledger = tmp_path / "papers.md"
    ledger.write_text(f"# Papers\n\n{HEADING}\n{RULE}\n| a | b | `c` | d | e | shown |\n\nBelow.\n")
    enter(ledger, record)
    enter(ledger, {**record, "ours": "Z 8, W 3"})
    lines = ledger.read_text().splitlines()
    assert len(lines) == 8 and "Z 8, W 3" in lines[5] and lines[6:] == ["", "Below."]
    enter(ledger, {**record, "command": "invert reproduce separability"})
    assert len(ledger.read_text().splitlines()) == 9
    ledger.write_text("nothing")
    for wrong in (ledger, tmp_path / "missing.md"):
        with pytest.raises(UsageError, match=r"ledger|no table"):
            enter(wrong, record)
