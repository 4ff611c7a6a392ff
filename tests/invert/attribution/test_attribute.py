"""From pictures to verdicts with a tiny generator: its own, another's, batches, caches, and a calibration made and used."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

import invert
from invert.attribution.attribute import AttributeOptions, attribute_pictures, known_calibrations, read_picture
from invert.attribution.calibrate import collect_all, fit_calibration, known_rows, one_class, plan_facts
from invert.attribution.calibration import CalibrationError, class_of
from invert.attribution.evidence import GROUPS, NAMES, examine
from invert.attribution.groundwork import Groundwork
from invert.attribution.measures import auc
from invert.attribution.sources import FIRST_SEED, Folder, Kept, Procedural, Samples, own_copies, own_source_of_seed, sample
from stylegan_core.errors import ImageError, UsageError
from stylegan_core.images import save_image

from .conftest import LITTLE, Tiny, spend_little

OPTIONS = AttributeOptions("none", effort=LITTLE)


def own(tiny: Tiny, seeds) -> list:
    return [read_picture(sample(tiny.generator, seed, noise_mode="const" if seed % 2 else "random")) for seed in seeds]


def others(tiny: Tiny, seeds) -> list:
    return [read_picture(sample(tiny.other, seed)) for seed in seeds]


def test_evidence_is_finite_and_tells_own_from_other(tiny) -> None:
    pictures = own(tiny, range(5, 9)) + others(tiny, range(5, 9))
    found = examine(pictures, tiny.bench.ground, None, LITTLE)
    values = torch.tensor([[evidence.values[name] for name in NAMES] for evidence in found])
    assert torch.isfinite(values).all() and set(NAMES) == {name for names in GROUPS.values() for name in names}
    likelihood = values[:, NAMES.index("likelihood")]
    assert likelihood[:4].max() < likelihood[4:].min()
    assert values[[1, 3], NAMES.index("is_const")].sum() >= 0 and values[:4, NAMES.index("is_const")].tolist() == [1, 0, 1, 0]
    assert all(evidence.placement.kind == "whole" and not evidence.placement.is_mirrored for evidence in found[:4])
    assert len(found[0].curve) == LITTLE.search_steps + LITTLE.w_steps + 2 and found[0].curve[-1] < found[0].curve[0]


def test_a_mirrored_own_picture_is_found_to_be_mirrored(tiny) -> None:
    (found,) = examine([read_picture(sample(tiny.generator, 5).flip(3))], tiny.bench.ground, None, LITTLE)
    assert found.placement.is_mirrored


def test_softness_is_told_of_own_pictures_that_were_blurred(tiny) -> None:
    sharp = sample(tiny.generator, 6)
    soft = F.conv2d(F.pad(sharp, (1, 1, 1, 1), mode="replicate"), torch.tensor([0.2, 0.6, 0.2]).outer(torch.tensor([0.2, 0.6, 0.2]))
                    .expand(3, 1, 3, 3), groups=3)  # fmt: skip
    found = examine([read_picture(sharp), read_picture(soft)], tiny.bench.ground, None, LITTLE)
    assert [class_of(evidence, (16, 16)) for evidence in found] == ["clean", "processed"] and found[1].blur > 0


def test_own_samples_are_consistent_and_others_are_none(tiny) -> None:
    pictures = own(tiny, (5, 6, 8)) + others(tiny, (7, 10, 11))
    found = attribute_pictures(pictures, [tiny.bench], OPTIONS)
    assert [one.verdict for one in found] == ["consistent_with"] * 3 + ["none"] * 3
    record = found[0].record()
    assert record["made_by"] == "tiny" and record["candidates"][0]["p_not_generated"] is None
    assert "invert calibrate" in record["candidates"][0]["notes"][0]


def test_a_batch_equals_single_runs_and_two_runs_agree(tiny) -> None:
    pictures = own(tiny, (5, 6)) + others(tiny, (7,))
    together = attribute_pictures(pictures, [tiny.bench], OPTIONS)
    again = attribute_pictures(pictures, [tiny.bench], OPTIONS)
    assert [one.score for one in together] == [one.score for one in again]
    for picture, one in zip(pictures, together):
        (alone,) = attribute_pictures([picture], [tiny.bench], OPTIONS)
        near = 0.02 if one.verdict == "consistent_with" else 0.2  # what does not fit ends in another of many bad places
        assert alone.verdict == one.verdict and alone.score == pytest.approx(one.score, abs=near)


def test_the_null_is_kept_and_goes_on_where_it_was(tiny) -> None:
    told: list[tuple[int, int, str]] = []
    small = one_class(tiny.bench, ["clean"], 19, tell=lambda *words: told.append(words))
    assert len(small.null["clean"]["sampled"]) == 19 and told[-1][0] == 19
    parts = {path.name: path.stat().st_mtime_ns for path in (tiny.bench.folder / "parts").glob("sampled-clean-*.json")}
    larger = one_class(tiny.bench, ["clean"], 25)
    kept = {path.name: path.stat().st_mtime_ns for path in (tiny.bench.folder / "parts").glob("sampled-clean-*.json")}
    assert len(larger.null["clean"]["sampled"]) == 25 and kept["sampled-clean-000000.json"] == parts["sampled-clean-000000.json"]
    assert set(small.null["clean"]["sampled"]) <= set(larger.null["clean"]["sampled"])


def test_the_first_look_is_kept_for_this_model_only(tiny, tmp_path) -> None:
    path = tmp_path / "ground.safetensors"
    tiny.bench.ground.save(path)
    again = Groundwork.kept(tiny.generator, [path])
    assert torch.equal(again.thumbnails, tiny.bench.ground.thumbnails) and torch.equal(again.regression, tiny.bench.ground.regression)
    assert Groundwork._load(tiny.other, path) is None
    path.write_bytes(path.read_bytes()[:1000])
    assert Groundwork._load(tiny.generator, path) is None


@pytest.fixture(scope="module")
def calibrated(tiny, cache):
    """A calibration against another model's samples, and the rows that it came from; everything goes through one chain."""
    bench = replace(tiny.bench, folder=tiny.bench.folder / "whole")
    sources = ([Samples(tiny.child, kind="real", first=500)], [Samples(tiny.child, kind="by other")])  # no tiny world has real ones
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INVERT_CACHE", str(cache))
        rows, warnings = collect_all(bench, own_source_of_seed(tiny.generator, 0), *sources, count=40, chains=("clean",))
    own_source = own_source_of_seed(tiny.generator, 0)
    facts = plan_facts(bench, own_source, *sources, 40, ("clean",), warnings, 0.0)
    return bench, rows, fit_calibration(bench, rows, facts)


def test_a_calibration_has_heads_nulls_ratios_and_tests(calibrated) -> None:
    bench, rows, calibration = calibrated
    assert {row.kind for row in rows} == {"sampled", "rendered", "real", "by other"} and len(rows) == 160
    assert set(calibration.heads) == {"sampled", "rendered"} and "clean" in calibration.ratios
    assert {kind: len(scores) for kind, scores in calibration.null["clean"].items()}["sampled"] >= 15
    tests = [test for test in calibration.facts["tests"] if test["class"] == "clean"]
    assert {test["against"] for test in tests} == {"real", "by other"} and all(test["auc"][0] > 0.8 for test in tests)
    assert calibration.facts["seeds"]["own samples from"] == FIRST_SEED and json.dumps(calibration.record())
    assert len(known_rows(bench.folder)) == len(rows)


def test_made_by_needs_a_calibration_that_reaches_the_rate(tiny, calibrated) -> None:
    bench, _, calibration = calibrated
    known = {bench.sha256: calibration}
    found = attribute_pictures(own(tiny, (5, 6)) + others(tiny, (5,)), [bench], replace(OPTIONS, fpr=0.1), calibrations=known)
    assert [one.verdict for one in found[:2]] == ["made_by"] * 2 and found[2].verdict in ("none", "cannot_say")
    assert found[0].candidates[0].assessment.log10_ratio > 0 and "at most 10.0%" in found[0].reason
    strict = attribute_pictures(own(tiny, (5,)), [bench], replace(OPTIONS, fpr=0.001), calibrations=known)
    assert strict[0].verdict == "cannot_say"


def test_renders_of_w_plus_codes_are_told_from_samples(calibrated) -> None:
    _, rows, calibration = calibrated
    parts = [(row.kind, calibration.score(row.values, row.laundering_class)[1]) for row in rows if row.is_own]
    gaps = {kind: [p["sampled"] - p["rendered"] for k, p in parts if k == kind] for kind in ("sampled", "rendered")}
    assert auc(gaps["sampled"], gaps["rendered"])[0] > 0.9


def test_a_calibration_of_another_model_is_refused(tiny, calibrated, tmp_path) -> None:
    bench, _, calibration = calibrated
    path = tmp_path / "calibration.json"
    replace(calibration, model_sha256="f" * 64).save(path)
    with pytest.raises(CalibrationError, match="none of the candidates"):
        known_calibrations([bench], [str(path)])
    calibration.save(path)
    assert known_calibrations([bench], [str(path)])[bench.sha256].sha256 == calibration.sha256
    assert known_calibrations([bench], []) == {}


def test_own_samples_among_real_pictures_are_noticed(tiny, tmp_path) -> None:
    save_image(sample(tiny.generator, 7, noise_mode="const"), tmp_path / "copy.png")
    save_image(Procedural("portraits", 16).pictures([0])[0], tmp_path / "real.png")
    save_image(Procedural("portraits", 16).pictures([1])[0], tmp_path / "told.png",
               metadata={"invert": json.dumps({"model_sha256": tiny.bench.sha256})})  # fmt: skip
    found = own_copies(Folder.of(tmp_path, tiny.generator).paths, tiny.generator, tiny.bench.sha256)
    reasons = {path.name: reason for path, reason in found.items()}
    assert reasons == {"copy.png": "equal to seed 7", "told.png": "its metadata names this model"}


def test_unreadable_real_pictures_are_left_out_with_a_warning(tiny, tmp_path) -> None:
    from invert.attribution.calibrate import Collector

    save_image(Procedural("portraits", 16).pictures([0])[0], tmp_path / "real.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    collector = Collector(replace(tiny.bench, folder=tmp_path / "work"))
    rows = collector.collect(Folder.of(tmp_path, tiny.generator), "clean", 5)
    assert len(rows) == 1 and "broken.png" in collector.warnings[0]


def test_the_python_door(tiny, tmp_path, monkeypatch) -> None:
    spend_little(monkeypatch)
    save_image(sample(tiny.generator, 5), tmp_path / "own.png")
    found = invert.attribute(tmp_path / "own.png", models=[tiny.generator, tiny.other], perceptual="none")
    assert found.verdict == "consistent_with" and len(found.candidates) == 2 and found.candidates[1].verdict == "none"
    assert found.candidates[0].model_sha256 == tiny.bench.sha256
    with pytest.raises(UsageError, match="no model was given"):
        invert.attribute(tmp_path / "own.png", models=[])
    with pytest.raises(ImageError):
        invert.attribute(tmp_path / "absent.png", models=tiny.generator, perceptual="none")


@pytest.mark.parametrize(
    "options, words", [({"fpr": 0.0}, "--fpr"), ({"fpr": 1.5}, "--fpr"), ({"null": 5}, "19 tell 5 %"), ({"seed": -1}, "--seed")]
)
def test_options_that_can_never_be_right(options, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        AttributeOptions(**options).validate()


def test_kept_pictures_have_their_files(tmp_path) -> None:
    assert Kept(tmp_path).path(12).name == "000012.png"
