"""Labelled portraits: what a further sitting keeps and changes, what is not visible, what mirroring does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stylegan_core.data.labelled import (
    MIRRORED_ATTRIBUTES,
    MIRRORED_TRAITS,
    SITTING_ATTRIBUTES,
    SITTING_TRAITS,
    draw_labelled,
    mirrored_signs,
    sit_again,
    visible_traits,
)
from stylegan_core.data.portrait_person import IDENTITY_TRAITS
from stylegan_core.data.portraits import ATTRIBUTES, portrait_u8, render_portrait, sample_portrait
from stylegan_core.errors import UsageError


def test_first_sittings_are_the_portraits_themselves():
    data = draw_labelled(4, 16, seed=3, first=2, sittings=2)
    assert data.images_u8.shape == (8, 3, 16, 16) and data.people.tolist() == [2, 2, 3, 3, 4, 4, 5, 5]
    picture, attributes = portrait_u8(3, 3, 16, law="independent")
    assert np.array_equal(data.images_u8[2], picture.transpose(2, 0, 1))
    assert np.allclose(data.attributes[2], [attributes[name] for name in ATTRIBUTES])


def test_a_further_sitting_keeps_the_person():
    person, other = sample_portrait(0, 1), sample_portrait(0, 2)
    again = sit_again(person, other, may_dress=False)
    for name in ATTRIBUTES:
        source = other if name in SITTING_ATTRIBUTES else person
        assert again.attributes[name] == source.attributes[name]
    for name in IDENTITY_TRAITS:
        source = other if name in SITTING_TRAITS else person
        assert again.identity[name] == source.identity[name]
    assert again.detail_seed == other.detail_seed
    dressed = sit_again(person, other, may_dress=True)
    assert dressed.attributes["hat"] == other.attributes["hat"]
    assert dressed.attributes["beard"] == person.attributes["beard"]


def test_traits_of_what_is_not_worn_are_not_visible():
    person = sample_portrait(0, 0).with_attributes(hat=0, glasses=1, beard=0)
    values = dict(zip(IDENTITY_TRAITS, visible_traits(person), strict=True))
    assert np.isnan(values["hat_hue"]) and np.isnan(values["beard_length"])
    assert values["glasses_shape"] == person.identity["glasses_shape"] and not np.isnan(values["eye_size"])


def test_mirroring_the_labels_mirrors_the_picture():
    attribute_signs, trait_signs = mirrored_signs()
    errors = []
    for index in range(6):
        person = sample_portrait(5, index, law="independent")
        person = replace(person, identity={**person.identity, "hair_wave": -1.0, "freckles": -1.0})
        mirrored = replace(
            person,
            attributes={name: v * s for (name, v), s in zip(person.attributes.items(), attribute_signs, strict=True)},
            identity={name: v * s for (name, v), s in zip(person.identity.items(), trait_signs, strict=True)},
        )
        ours, theirs = (render_portrait(each, 32).astype(float) for each in (person, mirrored))
        errors.append(np.abs(ours - theirs[:, ::-1]).mean() / np.abs(ours - theirs).mean())
    assert np.mean(errors) < 0.2  # grain and strands are all that differs
    assert (attribute_signs < 0).sum() == len(MIRRORED_ATTRIBUTES) and (trait_signs < 0).sum() == len(MIRRORED_TRAITS)


def test_a_callback_stops_and_bad_options_are_refused():
    assert len(draw_labelled(5, 16, seed=0, callback=lambda done, count: done < 2)) == 2
    with pytest.raises(UsageError, match="people=0"):
        draw_labelled(0, 16, seed=0)
    with pytest.raises(UsageError, match="law='other'"):
        draw_labelled(1, 16, seed=0, law="other")
