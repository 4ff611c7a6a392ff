"""What every finder of directions keeps: a registered finder is tested by being registered."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
import torch

from invert.editing.direction import Direction
from invert.editing.finder import FINDERS, finder, finder_class
from invert.editing.labels import draw
from stylegan_core.errors import UsageError
from stylegan_core.inversion import Inversion
from stylegan_core.latent import LatentSpace
from stylegan_core.provenance import model_sha256
from tests.invert.editing.worlds import TinyClip, scores
from tests.tiny import tiny_generator

GIVEN = {"labels": scores, "attribute": "redness", "num_samples": 300, "num_components": 3, "text": "a bright picture", "clip": TinyClip()}


@pytest.fixture(scope="module")
def generator():
    return tiny_generator().requires_grad_(False)


@pytest.fixture(scope="module")
def found(generator):
    return {name: small(name).find(generator) for name in FINDERS}


def small(name: str):
    """The finder with what it needs, and little of it."""
    known = {field.name for field in fields(finder_class(name))}
    return finder(name, **{key: value for key, value in GIVEN.items() if key in known})


@pytest.mark.parametrize("name", FINDERS)
def test_directions_fit_their_model(generator, found, name):
    assert found[name]
    for direction in found[name]:
        direction.check(generator, model_sha256(generator))
        assert direction.model_sha256 == model_sha256(generator) and direction.unit == "std"
        assert direction.provenance["method"] == name and direction.provenance["figures"]
        json.dumps(direction.provenance, allow_nan=False)
    assert len({direction.name for direction in found[name]}) == len(found[name])


@pytest.mark.parametrize("name", FINDERS)
def test_strength_one_is_one_standard_deviation(generator, found, name):
    for direction in found[name]:
        readings = direction.measure(draw(generator, 3000, seed=99, space=direction.space), generator=generator)
        assert float(readings.std()) == pytest.approx(1, rel=0.2) and abs(float(readings.mean())) < 0.2


@pytest.mark.parametrize("name", FINDERS)
def test_pictures_move_and_arguments_do_not(generator, found, name):
    inversion = Inversion(draw(generator, 2, seed=3, space="w+"))
    before = inversion.latent.value.clone()
    for direction in found[name]:
        moved = direction.apply(inversion, 2, generator=generator)
        assert not torch.allclose(moved.render(generator), inversion.render(generator), atol=1e-3)
    assert torch.equal(inversion.latent.value, before)


@pytest.mark.parametrize("name", FINDERS)
def test_the_same_twice(generator, found, name):
    for one, other in zip(found[name], small(name).find(generator), strict=True):
        assert one.name == other.name and torch.equal(one.vector, other.vector) and one.origin == other.origin


@pytest.mark.parametrize("name", FINDERS)
def test_files_keep_them(found, tmp_path, name):
    for k, direction in enumerate(found[name]):
        direction.save(tmp_path / f"{k}.direction.safetensors")
        again = Direction.load(tmp_path / f"{k}.direction.safetensors")
        assert torch.equal(again.vector, direction.vector) and torch.equal(again.reader, direction.reader)
        assert (again.name, again.space, again.rows, again.origin) == (direction.name, direction.space, direction.rows, direction.origin)


@pytest.mark.parametrize("name", FINDERS)
def test_a_callback_is_told(generator, name):
    seen = []
    small(name).find(generator, callback=lambda done, count: seen.append((done, count)))
    assert all(0 < done <= count for done, count in seen)


def test_labelled_finders_find_what_is_labelled(generator, found):
    for name in ("interfacegan", "regression"):
        for direction in found[name]:
            latent = draw(generator, 64, seed=4, space=LatentSpace.W)
            low, high = (scores(direction.apply(Inversion(latent), s).render(generator))[direction.name] for s in (-2, 2))
            assert float((high > low).float().mean()) > 0.95


def test_unknown_names_and_options():
    with pytest.raises(UsageError, match="did you mean interfacegan"):
        finder("interfacegam")
    with pytest.raises(UsageError, match="no option 'colour'"):
        finder("sefa", colour="red")
