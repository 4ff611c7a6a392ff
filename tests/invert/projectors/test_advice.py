"""The closing advice: what is planted is named, and nothing is complained of where nothing is wrong."""

from __future__ import annotations

import pytest
import torch

from invert.evaluate import held_out_portraits, own_samples
from invert.projectors.advice import SCORES, advise, diagnosis, gallery_of
from invert.projectors.likeness import Gallery, Likeness
from invert.projectors.project import PresetProjector, project_images
from stylegan_core import load_generator
from stylegan_core.latent import LatentSpace
from tests.planted import CAUSES, planted


@pytest.fixture(scope="module")
def portraits64():
    return load_generator("portraits64")


def test_the_planted_cause_is_named_in_most_cases(portraits64) -> None:
    gallery = gallery_of(portraits64)
    cases = list(planted(1003, 8))
    named = [(diagnosis(gallery.likeness(image))[0] or "none") == cause for cause, image in cases]
    by_cause = {cause: [n for n, (c, _) in zip(named, cases) if c == cause] for cause in CAUSES}
    assert sum(named) >= 0.8 * len(named), {cause: sum(values) for cause, values in by_cause.items()}
    assert all(sum(values) >= 5 for values in by_cause.values())


def test_own_samples_are_fine_and_a_portrait_in_w_is_sent_to_a_wider_space(portraits64) -> None:
    sample, portrait = own_samples(portraits64, 1)[0], held_out_portraits(portraits64, 1)[0]
    good = advise(sample, portraits64, LatentSpace.W, 45.0, 38.0)
    poor = advise(portrait, portraits64, LatentSpace.W, 30.0, 24.0)
    assert good.cause is None and good.percentile < 100 and "45.0 dB" in good.text
    assert poor.cause == "w+" and "--space w+" in poor.text and "\n" not in poor.text
    assert advise(portrait, portraits64, LatentSpace.W_PLUS, 30.0, 24.0).cause is None


def test_every_cause_has_a_score_over_the_same_cues() -> None:
    cues = Likeness(0.4, 0.3, (1.0, 0.0, 0.0, 0.0), 0.5, 3.0).cues()
    assert set(SCORES) == set(CAUSES) and {len(row) for row in SCORES.values()} == {len(cues) + 1}


def test_a_moved_picture_is_placed_back() -> None:
    generator = torch.Generator().manual_seed(0)
    blobs = torch.nn.functional.interpolate(torch.randn(64, 3, 4, 4, generator=generator), size=(32, 32), mode="bicubic").clamp(-1, 1)
    gallery = Gallery.of(blobs)
    likeness = gallery.likeness(blobs[5:6].roll(10, dims=3))  # 10 of 32 pixels to the right: 0.6 of half a side
    assert likeness.placed < 0.5 * likeness.distance
    assert gallery.likeness(blobs[5:6]).distance < 1e-4


@pytest.mark.slow
def test_twenty_planted_cases_by_whole_projections(portraits64) -> None:
    """Five of each: misplaced, out of the domain, another model's style, and portraits in W, which need W+."""
    wrong = ("not aligned", "out of domain", "another model")
    cases = [(cause, image, "w+") for cause, image in planted(1004, 5) if cause in wrong]
    cases += [("w+", image[None], "w") for image in held_out_portraits(portraits64, 5)[0]]
    named = []
    for cause, image, space in cases:
        projector = PresetProjector(space=space)
        named.append((cause, project_images(image, portraits64, projector).metadata["advice"]["cause"]))
    print(named)
    assert len(named) == 20 and sum(cause == found for cause, found in named) >= 16, named
