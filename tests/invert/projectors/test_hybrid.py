"""An encoder as a start: by itself where the card names one, by name, and errors that say what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from encoders.build import encoder_for
from encoders.native import save_encoder
from invert.projectors import hybrid
from invert.projectors.presets import PRESETS
from invert.projectors.project import PresetProjector
from stylegan_core.checkpoints import catalog
from stylegan_core.errors import UsageError
from stylegan_core.provenance import model_sha256
from tests.tiny import sample_pictures, tiny_generator


@pytest.fixture(scope="module")
def generator():
    return tiny_generator().requires_grad_(False)


@pytest.fixture(scope="module")
def target(generator):
    return sample_pictures(generator, [1000])[0]


def file_of(generator, path, kind: str = "psp") -> str:
    encoder = encoder_for(generator, kind, backbone="tiny").eval()
    with torch.no_grad():
        encoder.w_avg.add_(0.1)  # not the mean, so that its start can be told
    save_encoder(encoder, path)
    return str(path)


@pytest.fixture
def carded(generator, tmp_path, monkeypatch) -> str:
    """A catalogue in which the tiny generator's card names an encoder."""
    path = file_of(generator, tmp_path / "own.safetensors")
    card = catalog.Card("tiny", "invert", "generator", parts={"encoder": path}, facts={"model_sha256": model_sha256(generator)})
    monkeypatch.setattr(hybrid, "cards", lambda: {"tiny": card})
    hybrid._bundled.cache_clear()
    return path


def test_presets_that_want_an_encoder_take_that_of_the_card(generator, target, carded) -> None:
    facts = PresetProjector(preset="hybrid", steps=4, perceptual="none").project(target, generator).facts(0)
    assert facts["preset"] == "hybrid" and facts["effective"]["start"] == "encoder:own.safetensors"
    began = PresetProjector(steps=4, perceptual="none", start="encoder").project(target, generator).facts(0)
    assert began["preset"] == "fast" and began["effective"]["start"] == "encoder:own.safetensors"
    fast = PresetProjector(steps=4, perceptual="none").project(target, generator).facts(0)
    assert fast["effective"]["start"].startswith("nearest") and fast["effective"]["source"] == PRESETS["fast"].source
    chosen = PresetProjector(preset="hybrid", steps=4, perceptual="none", start="mean").project(target, generator)
    assert chosen.facts(0)["effective"]["start"] == "mean"


@pytest.mark.parametrize("space", ["w", "w+", "s"])
@pytest.mark.parametrize("kind", ["psp", "w", "restyle-psp"])
def test_a_named_encoder_starts_in_every_space_below_z(generator, target, tmp_path, space: str, kind: str) -> None:
    path = file_of(generator, tmp_path / f"{kind}.safetensors", kind)
    inversion = PresetProjector(preset="hybrid", space=space, steps=3, perceptual="none", encoder=path).project(target, generator)
    assert inversion.latent.space.value == space and inversion.facts(0)["effective"]["start"] == f"encoder:{kind}.safetensors"


def test_no_steps_would_be_the_encoder_itself(generator, target, tmp_path) -> None:
    path = file_of(generator, tmp_path / "e.safetensors")
    seen = []
    stopped = PresetProjector(preset="in-domain", steps=5, perceptual="none", encoder=path)
    inversion = stopped.project(target, generator, callback=lambda info: seen.append(info) or False)
    average = generator.w_avg + 0.1
    assert len(seen) == 1 and float((inversion.latent.value - average).abs().max()) <= 0.011  # one step of Adam at 0.01
    assert "in-domain" in seen[0].parts


def test_the_regulariser_holds_a_latent_near_the_encoder(generator, target, tmp_path) -> None:
    path = file_of(generator, tmp_path / "e.safetensors")
    free = PRESETS["in-domain"]
    held = replace(free.phases[0], terms={"pixel": 1.0, "in-domain": 1000.0})
    distances = []
    for phases in (free.phases, (held,)):
        PRESETS_ROW = replace(free, phases=phases)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(PRESETS, "in-domain", PRESETS_ROW)  # type: ignore[arg-type]
            inversion = PresetProjector(preset="in-domain", steps=30, perceptual="none", encoder=path).project(target, generator)
        distances.append(float((inversion.latent.value - generator.w_avg - 0.1).square().mean()))
    assert distances[1] < 0.5 * distances[0]


def test_without_an_encoder_the_error_says_what_to_do(generator, target) -> None:
    with pytest.raises(UsageError, match=r"preset 'hybrid' needs an encoder, .* names none; give one with --encoder"):
        PresetProjector(preset="hybrid", perceptual="none").project(target, generator)
    with pytest.raises(UsageError, match="preset 'in-domain' needs an encoder"):
        PresetProjector(preset="in-domain", start="mean", perceptual="none").project(target, generator)


def test_an_encoder_cannot_go_uphill(generator, target, tmp_path) -> None:
    path = file_of(generator, tmp_path / "e.safetensors")
    with pytest.raises(UsageError, match="further down than z"):
        PresetProjector(preset="hybrid", space="z", perceptual="none", encoder=path).project(target, generator)
