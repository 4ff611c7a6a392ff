"""Pivotal tuning: nearer, small, the same pixels again; locality, early stop, several images, relatives."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from invert.projectors.pivotal import PivotalTuning
from stylegan_core.errors import LatentError, UsageError
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.noise import Noise
from tests.tiny import sample_pictures, tiny_generator

QUICK = PivotalTuning(steps=12, lr=3e-3, measure="none")


@pytest.fixture(scope="module")
def generator():
    return tiny_generator().requires_grad_(False)


@pytest.fixture(scope="module")
def targets(generator):
    return sample_pictures(generator, [1000, 1001])[0]


def pivots(generator, count: int = 2) -> Inversion:
    """The average, with noise of its own."""
    value = generator.w_avg[None].expand(count, -1)
    return Inversion(Latent(value.clone(), LatentSpace.W), Noise.random(generator, range(count)).maps)


@pytest.mark.parametrize("pack", ["int8", "low-rank:4", "none"])
def test_tuning_comes_nearer_and_renders_again(generator, targets, tmp_path, pack: str) -> None:
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    seen = []
    inversion = replace(QUICK, pack=pack).project(targets, generator, start=pivots(generator), callback=seen.append)
    assert len(inversion) == 2 and [info.step for info in seen] == [*range(1, 13)] * 2
    for i in range(2):
        facts = inversion.facts(i)
        assert facts["psnr"] > facts["psnr_pivot"] + 0.5 and facts["preset"] == "pivotal" and facts["effective"]["measure"] == "none"
        inversion[i].save(tmp_path / "a.safetensors")
        again = Inversion.load(tmp_path / "a.safetensors")
        assert torch.equal(again.render(generator), inversion[i].render(generator))
        if pack != "none":
            whole = sum(value.numel() for name, value in generator.named_parameters() if name.startswith("synthesis")) * 4
            assert facts["delta_bytes"] < 0.6 * whole
    assert torch.equal(inversion.latent.value, pivots(generator).latent.value)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert not any(parameter.requires_grad for parameter in generator.parameters())


def test_a_batch_equals_its_single_runs(generator, targets) -> None:
    batch = QUICK.project(targets, generator, start=pivots(generator))
    single = QUICK.project(targets[1:], generator, start=pivots(generator)[1])
    assert torch.equal(batch[1].render(generator), single.render(generator))


def test_several_images_share_one_change(generator, targets) -> None:
    shared = replace(QUICK, is_shared=True).project(targets, generator, start=pivots(generator))
    for name, delta in shared.weight_deltas.items():
        assert torch.equal(delta[:1].dense(), delta[1:].dense()), name
    assert all(shared.facts(i)["psnr"] > shared.facts(i)["psnr_pivot"] for i in range(2))


def test_locality_holds_what_is_near(generator, targets) -> None:
    probe = Latent.sample(generator, [7]).lower(generator, to="w")
    near = Latent(generator.w_avg.lerp(probe.value, 0.3), probe.space)
    moved = []
    for weight in (0.0, 30.0):
        tuned = replace(QUICK, locality=weight, steps=25, radius=0.5).project(targets[:1], generator, start=pivots(generator, 1))
        change = Inversion(near, weight_deltas=tuned.weight_deltas).render(generator) - near.render(generator)
        moved.append(float(change.square().mean()))
    assert moved[1] < 0.7 * moved[0]


def test_it_stops_when_near_enough_and_when_told(generator, targets) -> None:
    start = pivots(generator, 1)
    first = []
    QUICK.project(targets[:1], generator, start=start, callback=first.append)
    limit = float(first[5].parts["perceptual"]) * 1.0001
    stopped = replace(QUICK, stop_below=limit).project(targets[:1], generator, start=start)
    assert 4 <= stopped.facts(0)["steps"] <= 7
    told = QUICK.project(targets[:1], generator, start=start, callback=lambda info: info.step < 3)
    assert told.facts(0)["steps"] == 3


def test_without_a_pivot_it_projects_into_w(generator, targets) -> None:
    inversion = replace(QUICK, steps=3).project(targets[:1], generator)
    assert inversion.latent.space.value == "w" and inversion.facts(0)["effective"]["pivot"] == "fast"


def test_a_change_suits_a_fine_tuned_relative(generator, targets) -> None:
    tuned = QUICK.project(targets[:1], generator, start=pivots(generator, 1))
    child = tiny_generator().requires_grad_(False)
    with torch.no_grad():
        child.synthesis.b16.torgb.bias.add_(0.2)
    assert torch.allclose(tuned.render(child), tuned.render(generator) + 0.2, atol=1e-5)


@pytest.mark.parametrize("space", ["z", "w+", "s"])
def test_a_pivot_of_any_space(generator, targets, space: str) -> None:
    latent = Latent.sample(generator, [5])
    start = Inversion(latent if space == "z" else latent.lower(generator, to=space))
    inversion = replace(QUICK, steps=4).project(targets[:1], generator, start=start)
    assert inversion.latent.space.value == space and inversion.facts(0)["psnr"] > inversion.facts(0)["psnr_pivot"]


def test_what_cannot_be_is_named(generator, targets) -> None:
    with pytest.raises(UsageError, match="parts 'some': one of all, convolutions"):
        replace(QUICK, parts="some").validate()
    with pytest.raises(UsageError, match="packing 'zip'"):
        replace(QUICK, pack="zip").validate()
    with pytest.raises(LatentError, match="one pivot for each"):
        QUICK.project(targets, generator, start=pivots(generator, 1))
    tuned = replace(QUICK, steps=2).project(targets[:1], generator, start=pivots(generator, 1))
    with pytest.raises(UsageError, match="changes the generator's weights already"):
        QUICK.project(targets[:1], generator, start=tuned)
