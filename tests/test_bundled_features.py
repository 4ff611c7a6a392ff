"""The bundled attribute networks do what their cards say, on portraits that nothing was trained on."""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np
import pytest
import torch

from stylegan_core.checkpoints.catalog import card
from stylegan_core.data.labelled import LabelledImages, draw_labelled
from stylegan_core.data.portraits import ATTRIBUTES, BINARY_ATTRIBUTES
from stylegan_core.features import Features, load_features
from stylegan_core.metrics.prediction import measure_features
from stylegan_core.metrics.ranking import LADDERS
from stylegan_core.provenance import model_sha256
from stylegan_core.training.features import PRESETS

NAMES = ("portraits-features", "portraits-judge")
MAX_BYTES = 2_000_000
LOWEST_R2, LOWEST_AUC = 0.8, 0.97
SEED = 1004  # of held-out portraits


@lru_cache(maxsize=2)
def loaded(name: str) -> Features:
    return load_features(name)


@pytest.fixture(scope="module")
def held_out() -> LabelledImages:
    return draw_labelled(192, 64, seed=SEED)


@pytest.fixture(scope="module")
def pairs() -> LabelledImages:
    return draw_labelled(48, 64, seed=SEED, first=192, sittings=2)


@pytest.fixture(scope="module")
def measured(held_out, pairs) -> dict[str, dict]:
    return {name: measure_features(loaded(name), held_out, pairs, ranked=12) for name in NAMES}


def as_images(images_u8: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images_u8).float() / 127.5 - 1


@pytest.mark.parametrize("name", NAMES)
def test_the_card_describes_the_file(name):
    entry = card(name)
    assert entry.location().stat().st_size < MAX_BYTES
    features = loaded(name)
    assert model_sha256(features.network) == entry.facts["model_sha256"]
    assert features.attribute_names == ATTRIBUTES and features.binary_names == BINARY_ATTRIBUTES
    figures = entry.facts["figures"]
    assert set(figures["attributes"]) == set(ATTRIBUTES) and figures["rank_correlation"]["mean"] >= 0.9
    assert f"--preset {name} " in entry.facts["command"] and entry.facts["images_seen"] > 0
    preset = PRESETS[name]
    assert entry.facts["images_seen"] == preset.steps * preset.batch
    assert f"seed={preset.data_seed}," in entry.facts["data"] and f"people={preset.people}," in entry.facts["data"]
    assert features.network.config == preset.network


@pytest.mark.parametrize("name", NAMES)
def test_figures_hold_on_other_portraits(name, measured):
    figures = measured[name]
    on_card = card(name).facts["figures"]
    for attribute, row in figures["attributes"].items():
        promised = on_card["attributes"][attribute]
        if attribute in BINARY_ATTRIBUTES:
            assert row["auc"] >= LOWEST_AUC and row["accuracy"] >= promised["accuracy"] - 0.05, (attribute, row)
        else:
            assert row["r2"] >= LOWEST_R2 and row["r2"] >= promised["r2"] - 0.05, (attribute, row)
    assert all(figures["rank_correlation"][ladder] >= 0.9 for ladder in (*LADDERS, "mean"))
    assert figures["identity"]["auc"] >= on_card["identity"]["auc"] - 0.05


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [128, 96, 256])
def test_the_same_portraits_at_other_sizes(name, size):
    features = loaded(name)
    small, large = (draw_labelled(12, resolution, seed=SEED) for resolution in (64, size))
    with torch.no_grad():
        ours, theirs = (features.attributes(as_images(data.images_u8)) for data in (small, large))
        far = features.distance(as_images(small.images_u8), as_images(small.images_u8).roll(1, 0))
    for attribute in ATTRIBUTES:
        assert (ours[attribute] - theirs[attribute]).abs().median() < 0.1, attribute
    assert 0.6 < far.mean() < 1.5  # unrelated portraits are about 1 apart


def test_the_judge_knows_who_is_who_better_than_the_features(measured):
    features, judge = (measured[name]["identity"] for name in NAMES)
    assert judge["auc"] >= 0.97 and judge["auc"] > features["auc"] and judge["same"] > judge["other"] + 0.3


def test_the_two_networks_have_nothing_in_common():
    files = {name: card(name).location().read_bytes() for name in NAMES}
    features, judge = (loaded(name).network for name in NAMES)
    assert features.config.architecture != judge.config.architecture
    assert set(features.state_dict()) != set(judge.state_dict())
    for name, data in files.items():
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size])["__metadata__"]
        training = json.loads(metadata["provenance"])["training"]
        assert training["data_seed"] == PRESETS[name].data_seed and training["seed"] == PRESETS[name].seed
