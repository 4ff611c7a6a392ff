"""The directions that come with portraits64 do what they say, on portraits that neither model nor directions ever saw."""

from __future__ import annotations

import pytest
import torch

from invert.editing.arithmetic import orthogonalise
from invert.editing.library import bundled_directions, find_direction
from invert.evaluate_edits import evaluate_edits, law_of_portraits, subjects_of
from stylegan_core.checkpoints.catalog import cards
from stylegan_core.checkpoints.registry import load_generator
from stylegan_core.data.portraits import ATTRIBUTES, BINARY_ATTRIBUTES
from stylegan_core.features import load_features

COUNT = 16


@pytest.fixture(scope="module")
def rows():
    subjects = subjects_of(load_generator("portraits64"), COUNT)
    found = evaluate_edits(load_generator("portraits64"), {"bundled": bundled_directions()}, load_features("portraits-judge"), subjects)
    return {row.direction: row for row in found}


def test_there_is_one_for_every_attribute():
    assert [direction.name for direction in bundled_directions()] == sorted(ATTRIBUTES)
    for direction in bundled_directions():
        assert direction.model == "portraits64" and direction.model_sha256 == cards()["portraits64"].facts["model_sha256"]
        assert direction.licence == "MIT" and direction.limits is not None
        assert direction.provenance["figures"]["accuracy"] >= 0.95 and set(direction.provenance["moves"]) == set(ATTRIBUTES)
        least = 0.1 if direction.name in BINARY_ATTRIBUTES else 0.4  # what is worn is gained in one jump, by few at strength 1
        assert direction.provenance["moves"][direction.name] > least


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_the_named_thing_changes_and_the_rest_stays(rows, name):
    row = rows[name]
    if row.moved is None:
        assert row.has_plus >= 0.9 and row.has_minus <= 0.1
    else:
        assert row.moved >= 0.9 and row.moved_range >= 1.8  # of 16 subjects; the table has 200
    assert row.others < 0.25
    assert row.psnr > row.unedited_psnr and row.distance < row.unedited_distance


def test_held_conditions_leave_a_bundled_direction_as_it_works():
    """They hold all others already, so `--hold` must not take the direction away."""
    known = {direction.name: direction for direction in bundled_directions()}
    held = orthogonalise(known["glasses"], [known["age"], known["smile"]])
    assert torch.allclose(held.vector, known["glasses"].vector, atol=1e-3 * float(known["glasses"].vector.norm()))


def test_the_law_is_that_of_the_data():
    assert set(law_of_portraits(count=200).spread) == set(ATTRIBUTES)


def test_they_are_found_by_name():
    generator = load_generator("portraits64")
    sha256 = cards()["portraits64"].facts["model_sha256"]
    assert torch.equal(find_direction("smile", generator, sha256).vector, next(d.vector for d in bundled_directions() if d.name == "smile"))
    from stylegan_core.errors import DirectionError, UsageError

    with pytest.raises(UsageError, match="did you mean smile"):
        find_direction("smiel", generator, sha256)
    child = load_generator("portraits64-ink")
    with pytest.raises(DirectionError, match="was found in portraits64"):
        find_direction("smile", child, cards()["portraits64-ink"].facts["model_sha256"])
    assert find_direction("smile", child, cards()["portraits64-ink"].facts["model_sha256"], is_related=True).model_sha256 != sha256
