"""Files of other people's layouts are candidates without a calibration: the null is made of their own samples and kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from invert.api import loaded_model
from invert.attribution.attribute import AttributeOptions, attribute_pictures, bench_of, read_picture
from invert.attribution.sources import Procedural, sample

from .conftest import LITTLE

GOLDEN = Path(__file__).parents[2] / "golden" / "ckpt"


@pytest.mark.parametrize("name", ["ros_g32.pt", "sg2ada_uncond.pkl"])
def test_a_file_of_another_layout_needs_no_calibration(name: str) -> None:
    loaded = loaded_model(str(GOLDEN / name), "cpu")
    options = replace(AttributeOptions("features"), effort=LITTLE)
    bench = bench_of(loaded, options)
    side = loaded.generator.img_resolution
    pictures = [read_picture(sample(loaded.generator, 6)), read_picture(Procedural("portraits", side).pictures([0])[0])]
    own, other = attribute_pictures(pictures, [bench], options)
    assert own.verdict == "consistent_with" and other.score < own.score and other.verdict in ("none", "consistent_with")
    assert own.record()["candidates"][0]["calibration"] == "one-class"
    assert "invert calibrate" in own.candidates[0].notes[0] and "--null 99 finer" in own.candidates[0].notes[0]
    assert (bench.folder / "parts").is_dir()
    told: list[str] = []
    again, _ = attribute_pictures(pictures, [bench], options, tell=lambda done, total, what: told.append(what))
    assert again.score == own.score
