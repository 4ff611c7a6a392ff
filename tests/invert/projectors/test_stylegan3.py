"""Projection into a StyleGAN3: no noise maps, own samples recovered, the motion of the input as one more variable."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from invert.projectors.base import Candidates, Problem, Progress, rendered
from invert.projectors.gauss_newton import GaussNewton
from invert.projectors.measures import Pixels
from invert.projectors.optimise import Adam
from invert.projectors.pose import distances, grid, thumbnails_of, with_pose
from invert.projectors.presets import PRESETS
from invert.projectors.project import PresetProjector
from invert.projectors.samples import WSamples
from invert.projectors.start import Start, start_candidates
from stylegan_core.checkpoints.registry import load_generator
from stylegan_core.errors import UsageError
from stylegan_core.input_transform import BUFFER
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace
from tests.parity.rows import GOLDEN
from tests.tiny import sample_pictures, tiny_generator, tiny_stylegan3

pytestmark = pytest.mark.slow  # second-order steps through every filter

QUICK = PresetProjector(preset="fast", perceptual="none", start="nearest:64", restarts=1, steps=60)
POSE = torch.tensor([[0.35, 0.12, -0.08]])


@pytest.fixture(scope="module")
def generator():
    return tiny_stylegan3().requires_grad_(False)


@pytest.fixture(scope="module")
def targets(generator):
    return sample_pictures(generator, [1000, 1001])[0]


def moved_sample(generator, seed: int = 1000) -> tuple[torch.Tensor, torch.Tensor]:
    w = Latent.sample(generator, [seed]).lower(generator, to="w")
    with torch.no_grad():
        return rendered(generator, w, {}, POSE).clamp(-1, 1), w.value


@pytest.mark.parametrize("name", ["sg3t_16", "sg3r_32_cond"])
def test_files_of_the_official_code_are_projected_into(name: str) -> None:
    generator = load_generator(GOLDEN / "ckpt" / f"{name}.pkl")
    target, _ = sample_pictures(generator, [1000])
    inversion = replace(QUICK, class_index=0 if generator.c_dim else None).project(target, generator)
    assert inversion.facts(0)["psnr"] > 30


@pytest.mark.parametrize("preset", [name for name, preset in PRESETS.items() if preset.start != "encoder"])
def test_every_preset_runs_without_noise_inputs(generator, targets, preset: str, tmp_path) -> None:
    start = "nearest:16" if PRESETS[preset].start == "nearest" else "auto"
    inversion = replace(QUICK, preset=preset, start=start, steps=4).project(targets, generator)
    assert inversion.noise == {} and len(inversion) == 2
    inversion[0].save(tmp_path / "a.safetensors")
    assert torch.equal(Inversion.load(tmp_path / "a.safetensors").render(generator), inversion.render(generator)[:1])


def test_a_motion_is_refused_where_there_is_no_input() -> None:
    generator = tiny_generator()
    target, _ = sample_pictures(generator, [1000])
    with pytest.raises(UsageError, match="only StyleGAN3 has one"):
        replace(QUICK, transform=True).project(target, generator)


def test_a_batch_is_its_single_runs() -> None:
    generator = tiny_stylegan3(dtype=torch.float64).requires_grad_(False)
    targets, _ = sample_pictures(generator, [1000, 1001])
    projector = replace(QUICK, transform=True, steps=30, start="nearest:32")
    batch = projector.project(targets, generator)
    for i in range(2):
        single = projector.project(targets[i : i + 1], generator)
        assert torch.allclose(single.latent.value, batch[i].latent.value, atol=1e-5)
        assert torch.allclose(single.weight_deltas[BUFFER], batch[i].weight_deltas[BUFFER], atol=1e-5)


def problem_of(generator, target) -> Problem:
    return Problem(generator, target, None, Pixels(), WSamples.of(generator), seed=0)


def test_the_search_of_a_start_tells_moved_samples_apart(generator) -> None:
    target, w = moved_sample(generator)
    problem = problem_of(generator, target)
    with torch.no_grad():
        own = thumbnails_of(Latent(torch.cat([w, problem.samples.w[:20]]), LatentSpace.W).render(generator))
    values = distances(problem, 0, own, grid(own))
    pose, sample = divmod(int(values.argmin()), len(own))
    assert sample == 0 and (grid(own)[pose] - POSE).abs().max() < 0.11
    start = Start.parse("mean")
    candidates = start_candidates(start, problem, None, LatentSpace.W, 2)
    posed = with_pose(problem, candidates, start)
    assert posed.pose is not None and posed.pose.shape == (2, 3) and torch.equal(posed.latent.value, candidates.latent.value)


NEAR = {"multi-scale": 10.0}


@pytest.mark.parametrize("phase", [Adam(1.0, "w", NEAR, coordinates="white"), GaussNewton(1.0, "w", NEAR)])
def test_both_ways_to_move_find_a_small_motion(generator, phase) -> None:
    """From the sample's own w: only the motion is to be found."""
    w = Latent.sample(generator, [1000]).lower(generator, to="w")
    pose = torch.tensor([[0.06, 0.02, -0.03]])
    with torch.no_grad():
        target = rendered(generator, w, {}, pose).clamp(-1, 1)
    zero = torch.zeros(1, dtype=torch.long)
    problem = problem_of(generator, target)
    steps = 60 if isinstance(phase, Adam) else 6
    before = Candidates(w, {}, zero, zero, torch.zeros(1, 3))
    after = phase.run(problem, before, steps, Progress(problem, steps))
    assert after.pose is not None
    losses = [float(problem.distances(each, NEAR)) for each in (before, after)]
    assert losses[1] < 0.02 * losses[0]
