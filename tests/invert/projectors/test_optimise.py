from __future__ import annotations

import pytest
import torch

from invert.projectors.base import Candidates, Problem, Progress, best_rows
from invert.projectors.coordinates import COORDINATES, Coordinates
from invert.projectors.measures import Pixels
from invert.projectors.optimise import Adam, Momenta, Patience
from invert.projectors.samples import WSamples
from invert.projectors.schedules import Jitter, Ramp
from invert.projectors.start import Start, start_candidates
from stylegan_core.errors import UsageError
from stylegan_core.latent import Latent, LatentSpace
from tests.tiny import sample_pictures, tiny_generator


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


@pytest.fixture(scope="module")
def problem(generator):
    targets, _ = sample_pictures(generator, [1000, 1001, 1002])
    return Problem(generator, targets, None, Pixels(), WSamples.of(generator), seed=0)


def begin(problem: Problem, space: LatentSpace = LatentSpace.W, restarts: int = 1) -> Candidates:
    return start_candidates(Start("mean"), problem, None, space, restarts)


def test_momenta_are_those_of_torch() -> None:
    rng = torch.Generator().manual_seed(0)
    ours = {"a": torch.randn(3, 4, generator=rng)}
    theirs = ours["a"].clone().requires_grad_()
    optimiser = torch.optim.Adam([theirs], betas=(0.9, 0.999), lr=0.1)
    momenta = Momenta.of(ours)
    for step in range(20):
        gradient = torch.randn(3, 4, generator=rng)
        optimiser.param_groups[0]["lr"] = 0.1 / (step + 1)
        theirs.grad = gradient.clone()
        optimiser.step()
        momenta = momenta.step(ours, [gradient], {"a": 0.1 / (step + 1)})
    assert torch.allclose(ours["a"], theirs, atol=1e-6)


def test_finished_images_leave_and_the_others_do_not_notice() -> None:
    generator = tiny_generator(dtype=torch.float64)
    targets, _ = sample_pictures(generator, [1000, 1001, 1002])
    problem = Problem(generator, targets, None, Pixels(), WSamples.of(generator), seed=0)
    patient = Adam(1.0, "w", {"pixel": 1.0}, Ramp(0.1, 0.0, 0.0), Jitter(0.02), patience=Patience(8, 0.2))
    seen: list[Candidates] = []

    class Seen(Progress):
        def report(self, candidates, loss, parts, images) -> None:
            seen.append(candidates)
            super().report(candidates, loss, parts, images)

    together = Seen(problem, 60)
    batch = patient.run(problem, begin(problem), 60, together)
    sizes = [len(candidates) for candidates in seen]
    assert sizes[0] == 3 and sizes[-1] < 3 and sizes == sorted(sizes, reverse=True)
    assert len(set(together.steps_of.tolist())) > 1
    for i in range(3):
        single = Problem(problem.generator, problem.target[i : i + 1], None, problem.measure, problem.samples, 0)
        alone = Progress(single, 60)
        value = patient.run(single, begin(single), 60, alone).latent.value
        assert torch.allclose(value, batch.latent.value[i : i + 1], atol=1e-6)
        assert int(alone.steps_of) == int(together.steps_of[i])


def test_renormalised_noise_is_white_per_image(problem) -> None:
    adam = Adam(1.0, "w", {"pixel": 1.0, "noise-correlation": 1.0}, noise="optimise")
    moved = adam.run(problem, begin(problem), 5, Progress(problem, 5))
    for value in moved.noise.values():
        assert torch.allclose(value.mean(dim=(1, 2, 3)), torch.zeros(3), atol=1e-5)
        assert torch.allclose(value.square().mean(dim=(1, 2, 3)), torch.ones(3), atol=1e-4)


def test_noise_that_is_kept_stays_and_a_latent_that_is_not_named_stays(problem) -> None:
    start = begin(problem)
    moved = Adam(1.0, "w", {"pixel": 1.0}).run(problem, start, 3, Progress(problem, 3))
    assert all(torch.equal(value, start.noise[name]) for name, value in moved.noise.items())
    assert not torch.equal(moved.latent.value, start.latent.value)
    moved = Adam(1.0, None, {"pixel": 1.0}, noise="free").run(problem, start, 3, Progress(problem, 3))
    assert torch.equal(moved.latent.value, start.latent.value)
    assert not torch.equal(moved.noise["b16.conv1.noise_const"], start.noise["b16.conv1.noise_const"])


def test_jitter_is_the_same_for_every_image_of_a_restart(problem) -> None:
    adam = Adam(1.0, "w", {"pixel": 1.0}, Ramp(0.0, 0.0, 0.0), Jitter(0.5))
    images = []

    class Seen(Progress):
        def report(self, candidates, loss, parts, pictures) -> None:
            images.append(pictures.detach())
            super().report(candidates, loss, parts, pictures)

    start = begin(problem, restarts=2)
    same = Candidates(
        Latent(start.latent.value[:1].repeat(6, 1), LatentSpace.W),
        {n: v[:1].repeat(6, 1, 1, 1) for n, v in start.noise.items()},
        start.image,
        start.restart,
    )
    adam.run(problem, same, 1, Seen(problem, 1))
    assert torch.allclose(images[0][0], images[0][2], atol=1e-6) and not torch.allclose(images[0][0], images[0][1], atol=1e-3)


@pytest.mark.parametrize("space", list(LatentSpace))
@pytest.mark.parametrize("kind", COORDINATES)
def test_coordinates_come_back(problem, kind: str, space: LatentSpace) -> None:
    value = Latent(problem.samples.z[:2], LatentSpace.Z).lower(problem.generator, to=space).value.detach()
    coordinates = Coordinates.of(kind, space, problem)
    back = coordinates.decode(coordinates.encode(value))
    if space is LatentSpace.Z:
        value = value * value.square().mean(dim=1, keepdim=True).rsqrt()
    assert torch.allclose(back, value, atol=1e-3)
    with pytest.raises(UsageError, match="coordinates"):
        Coordinates.of("polar", space, problem)


def test_the_best_row_of_every_image() -> None:
    image, loss = torch.tensor([0, 0, 1, 1]), torch.tensor([2.0, 1.0, float("nan"), 5.0])
    assert best_rows(image, loss).tolist() == [1, 3]


def test_progress_tells_the_best_restart(problem) -> None:
    seen = []
    progress = Progress(problem, 2, seen.append)
    start = begin(problem, restarts=2)
    images = problem.target.repeat_interleave(2, dim=0) * torch.tensor([1.0, 0.5] * 3)[:, None, None, None]
    progress.report(start, torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), {"pixel": torch.arange(6.0)}, images)
    assert seen[0].loss.tolist() == [1, 3, 5] and seen[0].parts["pixel"].tolist() == [0, 2, 4]
    assert torch.equal(seen[0].psnr, torch.full((3,), 100.0, dtype=torch.float64))
