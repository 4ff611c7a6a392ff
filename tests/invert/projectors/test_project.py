from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from invert.projectors.presets import PRESETS
from invert.projectors.project import PresetProjector, project_images
from stylegan_core.errors import ImageError, LatentError, UsageError
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent
from tests.tiny import sample_pictures, tiny_generator

FEW = PresetProjector(steps=40, perceptual="none", start="nearest:64")


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


@pytest.fixture(scope="module")
def double():
    return tiny_generator(dtype=torch.float64)


def assert_same(a: Inversion, b: Inversion, tolerance: float) -> None:
    assert torch.allclose(a.latent.value, b.latent.value, rtol=0, atol=tolerance)
    assert all(torch.allclose(value, b.noise[name], rtol=0, atol=tolerance) for name, value in a.noise.items())


@pytest.mark.parametrize("preset", [name for name, preset in PRESETS.items() if preset.start != "encoder"])
def test_a_batch_equals_its_single_runs_in_any_order(double, preset: str) -> None:
    targets, _ = sample_pictures(double, [1000, 1001, 1002])
    projector = replace(FEW, preset=preset, restarts=2 if preset == "careful" else 1, start="auto" if preset == "stylegan2" else FEW.start)
    batch = project_images(targets, double, projector)
    turned = project_images(targets.flip(0), double, projector)
    for i in range(3):
        assert_same(batch[i], project_images(targets[i : i + 1], double, projector), 1e-6)
        assert_same(batch[i], turned[2 - i], 1e-6)


def test_in_single_precision_a_batch_gives_the_same_pictures(generator) -> None:
    targets, _ = sample_pictures(generator, [1000, 1001, 1002])
    batch = project_images(targets, generator, FEW)
    for i in range(3):
        single = project_images(targets[i : i + 1], generator, FEW)
        assert abs(batch.facts(i)["psnr"] - single.facts(0)["psnr"]) < 0.05
        difference = (batch[i].render(generator) - single.render(generator)).abs() * 127.5
        assert float((difference <= 1).float().mean()) >= 0.999


def test_the_seed_decides(generator) -> None:
    targets, _ = sample_pictures(generator, [1000])
    projector = replace(FEW, preset="stylegan2", start="auto", steps=5)
    a, b = (project_images(targets, generator, replace(projector, seed=seed)) for seed in (1, 2))
    assert not torch.allclose(a.latent.value, b.latent.value)


def test_several_restarts_are_never_worse_than_the_first(generator) -> None:
    targets, _ = sample_pictures(generator, [1000, 1001])
    one, four = (project_images(targets, generator, replace(FEW, space="w", start="mean", restarts=restarts)) for restarts in (1, 4))
    for i in range(2):
        assert four.facts(i)["psnr_noise_const"] > one.facts(i)["psnr_noise_const"] - 0.5
    assert {four.facts(i)["restart"] for i in range(2)} <= {0, 1, 2, 3}


def test_only_what_the_mask_shows_counts(double) -> None:
    targets, _ = sample_pictures(double, [1000])
    mask = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    mask[..., 8:] = 1
    damaged = targets * mask - (1 - mask)
    for preset in ("fast", "stylegan2"):
        projector = replace(FEW, preset=preset)
        clean, other = (project_images(x, double, projector, mask=mask) for x in (targets, damaged))
        assert_same(clean, other, 1e-6)
    assert clean.facts(0)["psnr"] == pytest.approx(other.facts(0)["psnr"], abs=1e-6)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("preset", ["fast", "stylegan2"])
def test_grey_and_rgba_models(channels: int, preset: str) -> None:
    generator = tiny_generator(img_channels=channels)
    targets, _ = sample_pictures(generator, [1000, 1001])
    inversion = project_images(targets, generator, replace(FEW, preset=preset))
    assert inversion.render(generator).shape == targets.shape
    assert min(inversion.facts(i)["psnr"] for i in range(2)) > 15


@pytest.mark.parametrize("space", ["z", "w", "w+", "s"])
@pytest.mark.parametrize("preset", ["fast", "stylegan2"])
def test_conditional_models_by_class_and_by_search(space: str, preset: str) -> None:
    generator = tiny_generator(c_dim=3)
    latent = Latent.sample(generator, [1000], c=torch.eye(3)[1:2])
    target = latent.render(generator).clamp(-1, 1).detach()
    projector = replace(FEW, space=space, preset=preset, class_index=1, steps=20)
    start = "auto" if preset == "stylegan2" else FEW.start
    for class_index in (1, "search"):
        inversion = project_images(target, generator, replace(projector, class_index=class_index, start=start))
        assert inversion.facts(0)["psnr"] > 10
        assert inversion.latent.c is not None and inversion.latent.c.shape == (1, 3)
    for wrong in (None, 3, -1, "cat"):
        with pytest.raises(UsageError, match="class"):
            project_images(target, generator, replace(projector, class_index=wrong))


def test_search_finds_the_class_of_a_sample() -> None:
    generator = tiny_generator(c_dim=3)
    latent = Latent.sample(generator, [1000, 1000, 1000], c=torch.eye(3))
    targets = latent.render(generator).clamp(-1, 1).detach()
    found = project_images(
        targets, generator, PresetProjector(steps=1, perceptual="none", start="nearest:600", class_index="search", space="z")
    )
    assert found.latent.c is not None and int((found.latent.c.argmax(dim=1) == torch.arange(3)).sum()) >= 2


def test_a_class_for_a_model_without_classes_is_an_error(generator) -> None:
    with pytest.raises(UsageError, match="no classes"):
        project_images(sample_pictures(generator, [0])[0], generator, replace(FEW, class_index=1))


def test_generators_without_noise_and_of_other_architectures() -> None:
    for config in ({"use_noise": False}, {"architecture": "resnet"}, {"architecture": "orig"}):
        generator = tiny_generator(**config)
        targets, _ = sample_pictures(generator, [1000])
        inversion = project_images(targets, generator, FEW)
        assert set(inversion.noise) == set(generator.noise_shapes) and inversion.facts(0)["psnr"] > 15


@pytest.mark.parametrize(
    "change, message",
    [
        ({"space": "x"}, "space 'x'"),
        ({"preset": "slow"}, "preset 'slow': one of stylegan2, fast"),
        ({"steps": 0}, "steps 0"),
        ({"restarts": 0}, "restarts 0"),
        ({"start": "middle"}, "start 'middle'"),
        ({"start": "nearest:0"}, "nearest takes"),
        ({"perceptual": "lpips"}, "perceptual 'lpips'"),
    ],
)
def test_options_that_can_never_work(generator, change: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        project_images(sample_pictures(generator, [0])[0], generator, replace(FEW, **change))


def test_targets_that_do_not_fit(generator) -> None:
    with pytest.raises(ImageError, match=r"this model takes \(3, 16, 16\)"):
        project_images(torch.zeros(1, 3, 32, 32), generator, FEW)
    with pytest.raises(ImageError, match="8 bits"):
        project_images(torch.full((1, 3, 16, 16), 255.0), generator, FEW)
    with pytest.raises(ImageError, match="0 everywhere"):
        project_images(torch.zeros(1, 3, 16, 16), generator, FEW, mask=torch.zeros(1, 1, 16, 16))


def test_a_start_from_further_down_is_an_error(generator) -> None:
    targets, _ = sample_pictures(generator, [0])
    ws = project_images(targets, generator, replace(FEW, steps=2))
    with pytest.raises(LatentError, match=r"use space=w\+"):
        project_images(targets, generator, replace(FEW, space="w"), start=ws)


def test_a_start_may_be_a_file(generator, tmp_path) -> None:
    targets, _ = sample_pictures(generator, [0])
    first = project_images(targets, generator, replace(FEW, steps=20))
    first.save(tmp_path / "a.inversion.safetensors")
    second = project_images(targets, generator, replace(FEW, steps=20, start=str(tmp_path / "a.inversion.safetensors")))
    assert second.facts(0)["psnr"] > first.facts(0)["psnr"] - 0.5


def test_the_last_step_is_in_the_result(generator) -> None:
    """A peer saved the latent of step 1050 and rendered that of step 1000."""
    targets, _ = sample_pictures(generator, [0])
    for steps in (1, 7, 99, 105):
        seen = []
        inversion = project_images(targets, generator, replace(FEW, preset="stylegan2", start="auto", steps=steps), callback=seen.append)
        assert len(seen) == steps == inversion.facts(0)["steps"]
