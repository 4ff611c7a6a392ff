"""Bundled generators are there, are what their cards say, and show varied, recognisable portraits to the judge."""

from __future__ import annotations

import pytest
import torch

from stylegan_core import load_discriminator, load_features, load_generator
from stylegan_core.checkpoints.catalog import cards
from stylegan_core.provenance import model_sha256
from stylegan_core.seeds import zs_from_seeds

BUNDLED = [card for card in cards().values() if card.is_bundled]
GENERATORS = [card for card in BUNDLED if card.kind == "generator"]


@pytest.mark.parametrize("card", BUNDLED, ids=lambda card: card.name)
def test_every_file_is_there_and_small(card) -> None:
    named = [cards()[part].location() if part in cards() else card.location().with_name(part) for part in card.parts.values()]
    files = [card.location(), *named]
    assert all(file.is_file() and file.stat().st_size <= 8_000_000 for file in files)


@pytest.mark.parametrize("card", GENERATORS, ids=lambda card: card.name)
def test_generators_have_the_hash_of_their_card(card) -> None:
    generator = load_generator(card.name)
    assert model_sha256(generator) == card.facts["model_sha256"] and generator.img_resolution == card.facts["resolution"]
    w = generator.mapping.to_w(zs_from_seeds(range(4000), generator.z_dim))
    assert (generator.w_avg - w.mean(dim=0)).norm() < 0.1 * w.std(dim=0).norm()
    if "discriminator" in card.parts:
        assert model_sha256(load_discriminator(card.name)) == card.facts["discriminator_sha256"]


@torch.no_grad()
def test_samples_of_portraits64_are_varied_portraits() -> None:
    generator, judge = load_generator("portraits64"), load_features("portraits-judge")
    images = generator(zs_from_seeds(range(64), generator.z_dim)).clamp(-1, 1)
    values = judge.attributes(images)
    assert all(values[name].std() > 0.2 for name in ("yaw", "smile", "mouth_open", "hair_length", "skin_tone", "background"))
    assert all(4 <= int((values[name] > 0.5).sum()) <= 40 for name in ("glasses", "beard", "hat"))
