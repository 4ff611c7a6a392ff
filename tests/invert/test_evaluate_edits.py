"""Figures of edits, on a world in which they can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from invert.edit_methods import METHODS, best_components, directions_by
from invert.editing.direction import Direction
from invert.editing.effects import effects
from invert.editing.ganspace import GANSpace
from invert.editing.labels import Labelled, draw
from invert.editing.units import with_unit
from invert.evaluate_edits import (
    Law,
    Subjects,
    evaluate_direction,
    evaluate_edits,
    law_of_portraits,
    mixing_table,
    mixing_transfer,
    records,
    subjects_of,
    table,
)
from stylegan_core.data.portraits import ATTRIBUTES, render_portrait, sample_portrait
from stylegan_core.errors import UsageError
from stylegan_core.inversion import Inversion
from stylegan_core.latent import LatentSpace
from tests.invert.editing.worlds import scores
from tests.tiny import tiny_generator

COUNT = 6


class Judge:
    """yaw is brightness, glasses is whether there is more red than blue, age is a tenth of brightness; nothing else is seen."""

    def attributes(self, images):
        bright, red = images.mean(dim=(1, 2, 3)), (images[:, 0] - images[:, 2]).mean(dim=(1, 2))
        zero = torch.zeros_like(bright)
        seen = {"yaw": bright, "glasses": (red > 0).float(), "age": 0.1 * bright}
        return {name: seen.get(name, zero) for name in ATTRIBUTES}

    def distance(self, a, b):
        return (a - b).square().mean(dim=(1, 2, 3))


@pytest.fixture(scope="module")
def generator():
    return tiny_generator().requires_grad_(False)


@pytest.fixture(scope="module")
def subjects(generator):
    portraits = [sample_portrait(1000, i) for i in range(COUNT)]
    images = torch.from_numpy(np.stack([render_portrait(one, 16) for one in portraits])).permute(0, 3, 1, 2).float() / 127.5 - 1
    return Subjects(Inversion(draw(generator, COUNT, space="w")), portraits, images, "by hand")


def test_the_figures_of_a_direction(generator, subjects):
    law = Law(
        dict.fromkeys(ATTRIBUTES, 0.5), {name: frozenset({"age"} - {name}) for name in ATTRIBUTES}, frozenset({"glasses", "hat", "beard"})
    )
    direction = with_unit(Direction("yaw", LatentSpace.W, torch.ones(16)), generator)
    (row,) = evaluate_edits(generator, {"by hand": [direction]}, Judge(), subjects, law=law)

    def seen(strength: float):
        return direction.apply(subjects.inversion, strength).render(generator).clamp(-1, 1)

    bright = {s: seen(s).mean(dim=(1, 2, 3)) for s in (-2, 0, 2)}
    assert row.moved == pytest.approx(float((bright[2] - bright[0]).mean()) / 0.5, rel=1e-4)
    assert row.moved_range == pytest.approx(float((bright[2] - bright[-2]).mean()) / 0.5, rel=1e-4)
    change = torch.stack([(bright[s] - bright[0]).abs() for s in (-2, 2)]).mean()
    assert row.others_correlated == pytest.approx(0.1 * float(change) / 0.5, rel=1e-3)
    red = {s: ((seen(s)[:, 0] - seen(s)[:, 2]).mean(dim=(1, 2)) > 0).float() for s in (-2, 0, 2)}
    flips = torch.stack([(red[s] - red[0]).abs() for s in (-2, 2)]).mean()
    assert row.others == pytest.approx(float(flips) / 0.5 / 12, abs=1e-5)
    assert row.has_plus is None and row.count == COUNT
    assert row.psnr is not None and 0 < row.psnr < 60 and row.unedited_distance > 0
    row = evaluate_direction(
        generator, replace(direction, name="glasses"), Judge(), subjects, law, (seen(0), Judge().attributes(seen(0))), "x"
    )
    assert (
        row.moved is None and row.has_plus == pytest.approx(float(red[2].mean())) and row.has_minus == pytest.approx(float(red[-2].mean()))
    )
    text = table([row])
    assert text.count("\n") == 2 and "glasses" in text and records([row])[0]["method"] == "x"
    with pytest.raises(UsageError, match="no attribute of portraits"):
        evaluate_edits(generator, {"x": [replace(direction, name="nose")]}, Judge(), subjects, law=law)


def test_a_perfect_edit_has_the_truth(generator, subjects):
    """When the edited pictures are the counterfactuals themselves, the distance is 0: shown by handing them in as the truth."""
    from invert.evaluate_edits import _against_truth

    law = law_of_portraits(count=300)
    direction = Direction("yaw", LatentSpace.W, torch.ones(16))
    drawn = {}
    for s in (-2.0, 2.0):
        goals = [float(np.clip(one.attributes["yaw"] + s * law.spread["yaw"], -1, 1)) for one in subjects.portraits]
        pictures = np.stack([render_portrait(one.with_attributes(yaw=goal), 16) for one, goal in zip(subjects.portraits, goals)])
        drawn[s] = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    figures = _against_truth(generator, direction, Judge(), subjects, law, subjects.images, drawn, {})
    psnr, distance, unedited_psnr, unedited_distance = figures
    assert psnr > 60 and distance == pytest.approx(0, abs=1e-9) and unedited_psnr < 40 and unedited_distance > 0


def test_the_law_knows_what_the_data_correlate():
    law = law_of_portraits(count=1500)
    assert "hair_colour" in law.correlated["age"] and "glasses" in law.correlated["age"] and "mouth_open" in law.correlated["smile"]
    assert "yaw" not in law.correlated["smile"] and law.binary == {"glasses", "beard", "hat"}
    assert law.spread["yaw"] == pytest.approx(0.48, abs=0.03)


def test_own_numbers_need_a_model_that_knows_them(generator):
    with pytest.raises(UsageError, match="own"):
        subjects_of(generator, 2)
    with pytest.raises(UsageError, match="at least 2"):
        subjects_of(generator, 1)
    wide = tiny_generator(z_dim=64).requires_grad_(False)
    own = subjects_of(wide, 3)
    assert own.inversion.latent.space is LatentSpace.W and len(own.portraits) == len(own.images) == 3


def test_mixing_everything_transfers_everything(generator):
    wide = tiny_generator(img_resolution=64, channel_base=128, channel_max=8).requires_grad_(False)
    transfer = mixing_transfer(wide, Judge(), count=24)
    assert set(transfer) == {"coarse", "middle", "fine"}
    assert 0.3 < sum(part["yaw"] for part in transfer.values()) < 2
    assert mixing_table(transfer).count("\n") == 1 + len(ATTRIBUTES)


def test_the_best_component_of_each_attribute(generator):
    latent = draw(generator, 500, space="w")
    found = GANSpace(num_components=4, num_samples=2000).find(generator)
    data = Labelled(latent, {"one": found[2].measure(latent), "two": -found[0].measure(latent)}, frozenset(), "planted")
    one, two = best_components(found, data)
    assert (one.name, two.name) == ("one", "two")
    assert torch.equal(one.vector, found[2].vector) and torch.equal(two.vector, -found[0].vector)


def test_methods_by_name(generator):
    latent = draw(generator, 400, space="w")
    data = Labelled(latent, {"one": latent.value[:, 0], "two": latent.value[:, 1]}, frozenset(), "planted")
    for name in METHODS:
        if name == "bundled":
            with pytest.raises(UsageError, match="come with the package"):
                directions_by(name, generator, data)
        else:
            assert [direction.name for direction in directions_by(name, generator, data)] == ["one", "two"]
    with pytest.raises(UsageError, match="interfacegan"):
        directions_by("magic", generator, data)


def test_effects_are_per_unit(generator):
    direction = with_unit(Direction("x", LatentSpace.W, torch.ones(16)), generator)
    one, two = effects(direction, generator, scores), effects(direction.scaled(0.5), generator, scores)
    assert set(one) == {"brightness", "redness"}
    assert two["brightness"] == pytest.approx(one["brightness"] / 2, rel=0.1, abs=0.02)
