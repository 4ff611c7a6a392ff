"""What every preset keeps, in every space."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from invert.projectors.presets import PRESETS
from invert.projectors.project import PresetProjector, project_images
from stylegan_core.inversion import Inversion
from stylegan_core.latent import LatentSpace
from stylegan_core.progress import StepInfo
from tests.tiny import LinearEncoder, sample_pictures, tiny_generator

SPACES = [space.value for space in LatentSpace]


def projector(preset: str, **options) -> PresetProjector:
    """Small enough for a test: few steps, few samples, pixels only."""
    start = "nearest:16" if PRESETS[preset].start == "nearest" else "auto"
    fixed = {"preset": preset, "steps": 12, "perceptual": "none", "start": start, "restarts": 1, "encoder": None}
    if PRESETS[preset].start == "encoder":
        fixed["encoder"] = LinearEncoder(tiny_generator())
        if options.get("space") == "z":  # which lies uphill of what an encoder finds
            fixed["start"] = "nearest:16"
    return PresetProjector(**{**fixed, **options})


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


@pytest.fixture(scope="module")
def targets(generator):
    return sample_pictures(generator, [1000, 1001])[0]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_projection_gets_nearer_and_can_be_saved(generator, targets, tmp_path, preset: str, space: str) -> None:
    seen: list[StepInfo] = []
    inversion = projector(preset, space=space, steps=30).project(targets, generator, callback=seen.append)
    assert inversion.latent.space.value == space and len(inversion) == 2
    assert [info.step for info in seen] == list(range(1, len(seen) + 1)) and seen[-1].num_steps == 30
    assert all(info.loss.shape == (2,) and info.psnr.shape == (2,) for info in seen)
    if preset == "in-domain":  # what it minimises is not the picture alone
        assert bool((seen[-1].loss < seen[0].loss).all())
    else:
        assert bool((seen[-1].psnr > seen[0].psnr - 0.5).all())
    inversion[0].save(tmp_path / "a.safetensors")
    again = Inversion.load(tmp_path / "a.safetensors")
    assert torch.equal(again.render(generator), inversion.render(generator)[:1])
    facts = again.metadata
    assert facts["preset"] == preset and facts["seed"] == 0 and facts["effective"]["steps"] == 30
    assert facts["psnr"] == inversion.facts(0)["psnr"] and len(facts["model_sha256"]) == 64
    json.dumps(facts, allow_nan=False)


@pytest.mark.parametrize("steps", [1, 2, 3, 99])
@pytest.mark.parametrize("preset", PRESETS)
def test_any_number_of_steps_works(generator, targets, preset: str, steps: int) -> None:
    seen: list[StepInfo] = []
    inversion = projector(preset, steps=steps).project(targets[:1], generator, callback=seen.append)
    assert inversion.facts(0)["steps"] == len(seen) <= steps
    assert torch.isfinite(inversion.render(generator)).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_field_of_a_preset_is_pinned(preset: str) -> None:
    fields = PRESETS[preset].fields()
    assert "auto" not in json.dumps(fields) or preset == "fast"
    assert None not in [value for key, value in fields.items() if key != "phases"]
    assert sum(phase["share"] for phase in fields["phases"]) == pytest.approx(1.0)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_generator_is_left_as_it_was(generator, targets, preset: str) -> None:
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    projector(preset).project(targets[:1], generator)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in generator.parameters())


@pytest.mark.parametrize("preset", PRESETS)
def test_a_callback_stops(generator, targets, preset: str) -> None:
    seen = []
    inversion = projector(preset).project(targets[:1], generator, callback=lambda info: seen.append(info) or len(seen) < 3)
    assert len(seen) == 3 and inversion.facts(0)["steps"] == 3


@pytest.mark.parametrize("preset", PRESETS)
def test_same_input_same_result(generator, targets, preset: str) -> None:
    a, b = (projector(preset).project(targets[:1], generator) for _ in range(2))
    assert torch.equal(a.latent.value, b.latent.value)
    assert all(torch.equal(value, b.noise[name]) for name, value in a.noise.items())


@pytest.mark.parametrize("preset", PRESETS)
def test_a_projection_goes_on_from_a_given_inversion(generator, targets, preset: str) -> None:
    first = projector(preset, space="w").project(targets, generator)
    goal = projector(preset, space="w+", steps=20)
    second = project_images(targets, generator, goal, start=first)
    assert second.latent.space is LatentSpace.W_PLUS
    worse = [second.facts(i)["psnr"] < first.facts(i)["psnr"] - 3 for i in range(2)]
    assert not any(worse)


@pytest.mark.parametrize("preset", PRESETS)
def test_options_win_over_the_preset(generator, targets, preset: str) -> None:
    options = replace(projector(preset), start="seed:5", restarts=2, steps=4)
    facts = options.project(targets[:1], generator).facts(0)
    assert facts["effective"]["start"] == "seed:5" and facts["effective"]["restarts"] == 2 and facts["steps"] <= 4
