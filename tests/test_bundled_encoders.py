"""Bundled encoders are there, are what their cards say, and beat their start on portraits that nothing was trained on."""

from __future__ import annotations

import pytest
import torch

from encoders import load_encoder
from invert.evaluate import held_out_portraits
from invert.projectors.hybrid import known_encoder
from stylegan_core import load_generator
from stylegan_core.checkpoints.catalog import card, cards
from stylegan_core.images import to_u8
from stylegan_core.metrics.reconstruction import psnr
from stylegan_core.provenance import model_sha256

NAMES = [name for name, entry in cards().items() if entry.kind == "encoder" and entry.is_bundled]
COUNT = 32
LEAST_GAIN = 2.0  # dB over the average picture


@pytest.fixture(scope="module")
def generator():
    return load_generator("portraits64").requires_grad_(False)


@pytest.fixture(scope="module")
def portraits(generator):
    return held_out_portraits(generator, COUNT)[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_card_describes_the_file(name: str, generator) -> None:
    entry = card(name)
    assert entry.location().stat().st_size <= 8_000_000
    encoder = load_encoder(name)
    assert model_sha256(encoder.generator) == model_sha256(generator)  # found by the hash that the file holds
    assert encoder.provenance["images_seen"] == entry.facts["images_seen"] and f"--kind {entry.facts['method']} " in entry.facts["command"]
    assert entry.facts["figures"]["psnr"] >= entry.facts["figures"]["psnr_start"] + LEAST_GAIN and entry.facts["figures"]["count"] >= 200


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_it_beats_the_average_picture(name: str, generator, portraits) -> None:
    encoder = load_encoder(name, generator=generator)
    found = psnr(to_u8(encoder.encode(portraits).render(generator)), to_u8(portraits)).double()
    average = generator.synthesis(generator.w_avg.expand(1, generator.num_ws, -1)).expand_as(portraits)
    start = psnr(to_u8(average), to_u8(portraits)).double()
    assert found.median() >= start.median() + LEAST_GAIN
    assert found.median() == pytest.approx(card(name).facts["figures"]["psnr"], abs=1.0)
    assert (found > start).float().mean() > 0.95


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_batch_equals_its_single_runs_and_repeats(name: str, generator, portraits) -> None:
    encoder = load_encoder(name, generator=generator)
    both = encoder.encode(portraits[:4]).latent.value
    assert torch.equal(both, encoder.encode(portraits[:4]).latent.value)
    single = torch.cat([encoder.encode(portraits[i : i + 1]).latent.value for i in range(4)])
    assert torch.allclose(both, single, atol=1e-4 * float(both.abs().max()))


def test_the_generators_card_names_its_encoder(generator) -> None:
    known = known_encoder(generator)
    assert known is not None and known.name == card("portraits64").parts["encoder"] and known.name in NAMES
