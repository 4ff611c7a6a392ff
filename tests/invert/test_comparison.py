"""Methods by name, the table, and the race against a baseline."""

from __future__ import annotations

import json
import math

import pytest
import torch

from encoders.build import encoder_for
from encoders.native import save_encoder
from invert.charts import median_line, race_charts, tradeoff_chart
from invert.comparison import Trace, compare_methods, markdown, method_of, race, shares_to_reach
from invert.editability import edits_for
from invert.evaluate import held_out_portraits
from invert.projectors.measures import Pixels
from invert.projectors.pivotal import PivotalTuning
from stylegan_core import load_generator
from stylegan_core.errors import UsageError
from stylegan_core.features import load_features
from tests.tiny import sample_pictures, tiny_generator


@pytest.fixture(scope="module")
def generator():
    return tiny_generator(img_resolution=64).requires_grad_(False)


@pytest.fixture(scope="module")
def targets(generator):
    return sample_pictures(generator, [1000, 1001])[0]


@pytest.fixture(scope="module")
def encoder(generator, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("encoder") / "e.safetensors"
    save_encoder(encoder_for(generator, "psp", backbone="tiny"), path)
    return str(path)


class Judge:
    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).square().mean(dim=(1, 2, 3))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)


def test_every_method_has_its_row(generator, targets, encoder) -> None:
    names = ["mean", "w+:stylegan2:4", f"encode:{encoder}", f"hybrid:{encoder}", f"pivotal:{encoder}", "adam:0.05:3"]
    compared = compare_methods(names, generator, targets, perceptual=Pixels(), judge=Judge(), tuning=PivotalTuning(steps=3))
    rows = {row.method: row for row in compared}
    assert list(rows) == names
    for row in rows.values():
        assert row.count == 2 and row.psnr_low <= row.psnr and row.seconds > 0, row
    assert rows["mean"].psnr == pytest.approx(rows[f"encode:{encoder}"].psnr, abs=0.01)  # a fresh encoder gives the mean
    assert rows[f"hybrid:{encoder}"].psnr > rows["mean"].psnr + 1 and rows[f"pivotal:{encoder}"].delta_mb > 0 == rows["mean"].delta_mb
    assert rows["mean"].identity < rows[f"hybrid:{encoder}"].identity <= 1 and rows["mean"].distance > 0
    assert markdown(list(rows.values())).count("\n") == 8


def test_names_that_cannot_be_are_refused(generator) -> None:
    with pytest.raises(UsageError, match="method 'magic': KIND"):
        method_of("magic", generator)
    with pytest.raises(UsageError, match="names no encoder; encode:FILE names one"):
        method_of("encode", generator)


def test_a_race_notes_every_step(generator, targets, encoder) -> None:
    names = [f"encode:{encoder}", "w+:stylegan2:6", "adam:0.05:6"]
    traces = race(names, generator, targets, perceptual=Pixels())
    assert [len(trace.points) for trace in traces] == [2, 2, 2]
    assert [len(trace.points[0]) for trace in traces] == [1, 7, 7]
    for trace in traces:
        seconds = [point[0] for point in trace.points[1]]
        assert seconds == sorted(seconds) and all(math.isfinite(value) for point in trace.points[1] for value in point)
    rows = shares_to_reach(traces, names[1])
    assert [row["method"] for row in rows] == names and rows[1]["share_to_psnr"] <= 1


def test_edits_and_their_chart() -> None:
    real = load_generator("portraits64").requires_grad_(False)
    targets, _ = held_out_portraits(real, 2)
    edits = edits_for(real, ["smile", "glasses"], 2)
    judge = load_features("portraits-judge")
    rows = compare_methods(["mean", "w+:stylegan2:2", "pivotal"], real, targets, judge=judge, edits=edits, tuning=PivotalTuning(steps=1))
    for row in rows:
        assert row.edit_moved is not None and row.edit_moved > 0.2 and 0 < row.edit_others < 2 and row.edit_distance > 0, row
    drawn = tradeoff_chart(rows)
    assert drawn.startswith("<svg") and drawn.count("<circle") == 3 and "w+:stylegan2:2" in drawn
    with pytest.raises(UsageError, match="give one with --judge"):
        compare_methods(["mean"], real, targets, edits=edits)


def test_curves_over_time_are_medians_of_what_every_picture_had() -> None:
    slow = Trace("slow", [[(1.0, 10.0, 0.5), (10.0, 20.0, 0.2)], [(2.0, 12.0, 0.4), (12.0, 22.0, 0.1)]])
    once = Trace("once", [[(0.1, 15.0, 0.3)], [(0.1, 17.0, 0.3)]])
    line = median_line(slow, 1, [0.5, 1.5, 3.0, 11.0])
    assert line.y == [11.0, 16.0] and line.x == pytest.approx([math.log10(3.0), math.log10(11.0)])
    assert median_line(once, 1, [0.05]).y == [16.0, 16.0]
    charts = race_charts([slow, once])
    assert set(charts) == {"psnr", "distance"} and all("slow" in text and "once" in text for text in charts.values())


def test_shares_are_of_the_baselines_time() -> None:
    slow = Trace("slow", [[(1.0, 10.0, 0.5), (10.0, 20.0, 0.2)]])
    quick = Trace("quick", [[(0.5, 15.0, 0.3), (1.0, 21.0, 0.25), (2.0, 22.0, 0.1)]])
    poor = Trace("poor", [[(0.1, 5.0, 0.9)]])
    rows = {row["method"]: row for row in shares_to_reach([slow, quick, poor], "slow")}
    assert rows["quick"]["share_to_psnr"] == pytest.approx(0.1) and rows["quick"]["share_to_distance"] == pytest.approx(0.2)
    assert rows["slow"]["share_to_psnr"] == pytest.approx(1.0) and rows["poor"]["share_to_psnr"] == math.inf
    json.dumps(rows["quick"])
