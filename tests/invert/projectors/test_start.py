from __future__ import annotations

import pytest
import torch

from invert.projectors.base import Problem
from invert.projectors.measures import Pixels
from invert.projectors.samples import WSamples
from invert.projectors.start import Start, nearest, start_candidates
from stylegan_core.errors import UsageError
from stylegan_core.latent import Latent, LatentSpace
from tests.tiny import sample_pictures, tiny_generator


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


def problem_of(generator, target: torch.Tensor) -> Problem:
    return Problem(generator, target, None, Pixels(), WSamples.of(generator), seed=0)


def test_starts_are_parsed_and_named() -> None:
    for text in ("mean", "nearest", "nearest:500", "seed", "seed:7"):
        assert str(Start.parse(text)) == text
    for text in ("", "mean:3", "nearest:x", "nearest:99999", "auto2"):
        with pytest.raises(UsageError, match="start"):
            Start.parse(text)


def test_fewer_samples_of_larger_pictures() -> None:
    counts = [Start.parse("nearest").resolved(tiny_generator(img_resolution=side)).number for side in (16, 64, 128)]
    assert counts == [2000, 2000, 500]


def test_the_nearest_sample_of_a_sample_is_itself(generator) -> None:
    samples = WSamples.of(generator)
    rows = [3, 40]
    target = Latent(samples.w[rows], LatentSpace.W).render(generator, noise_mode="none").clamp(-1, 1).detach()
    problem = problem_of(generator, target)
    for i, row in enumerate(rows):
        assert torch.equal(nearest(problem, i, None, LatentSpace.W, 1, 100).value[0], samples.w[row])
        assert torch.equal(nearest(problem, i, None, LatentSpace.Z, 1, 100).value[0], samples.z[row])


def test_samples_are_drawn_once_per_model_and_process(generator) -> None:
    other = tiny_generator(seed=5)
    assert WSamples.of(generator) is WSamples.of(generator) is not WSamples.of(other)
    assert torch.equal(WSamples.of(generator).thumbnails(None, 10), WSamples.of(generator).thumbnails(None, 20)[:10])


def test_mean_and_spread_are_those_of_the_official_projector(generator) -> None:
    samples = WSamples.of(generator)
    centred = samples.w - samples.w.mean(dim=0)
    assert samples.spread == pytest.approx(float((centred.square().sum() / len(samples.w)).sqrt()), rel=1e-5)


@pytest.mark.parametrize("kind", ["mean", "seed:7", "nearest:32"])
@pytest.mark.parametrize("space", list(LatentSpace))
def test_candidates_do_not_depend_on_their_batch(generator, kind: str, space: LatentSpace) -> None:
    targets, _ = sample_pictures(generator, [0, 1])
    batch = start_candidates(Start.parse(kind), problem_of(generator, targets), None, space, 3)
    single = start_candidates(Start.parse(kind), problem_of(generator, targets[1:]), None, space, 3)
    assert batch.latent.space is space and batch.image.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.allclose(batch.latent.value[3:], single.latent.value, atol=1e-6)
    assert all(torch.equal(value[3:], single.noise[name]) for name, value in batch.noise.items())


def test_restarts_are_different_and_the_first_of_the_mean_is_the_mean(generator) -> None:
    targets, _ = sample_pictures(generator, [0])
    samples = WSamples.of(generator)
    for kind in ("mean", "seed", "nearest:32"):
        values = start_candidates(Start.parse(kind), problem_of(generator, targets), None, LatentSpace.W, 3).latent.value
        assert len({tuple(row.tolist()) for row in values}) == 3
    first = start_candidates(Start.parse("mean"), problem_of(generator, targets), None, LatentSpace.W, 1).latent.value
    assert torch.allclose(first[0], samples.mean, atol=1e-6)


def test_seeds_are_those_of_the_official_scripts(generator) -> None:
    targets, _ = sample_pictures(generator, [0])
    start = start_candidates(Start.parse("seed:7"), problem_of(generator, targets), None, LatentSpace.Z, 2).latent
    assert torch.equal(start.value, Latent.sample(generator, [7, 8]).value)
