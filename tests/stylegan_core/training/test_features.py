"""Training of attribute networks: what a step shows, what it learns, what it leaves behind."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from stylegan_core.data.labelled import LabelledImages, draw_labelled
from stylegan_core.data.portraits import ATTRIBUTES, BINARY_ATTRIBUTES
from stylegan_core.errors import TrainingError, UsageError
from stylegan_core.features import load_features
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import AttributeNetworkConfig
from stylegan_core.training.features import (
    DAMAGE,
    PRESETS,
    FeaturesConfig,
    calibrate_distance,
    identity_loss,
    lr_at,
    preset_config,
    shown,
    train_features,
)

NAMES = {"attributes": ATTRIBUTES, "binary": BINARY_ATTRIBUTES}
NETWORK = AttributeNetworkConfig("plain", 16, (6, 8), 12, **NAMES)
JUDGE = AttributeNetworkConfig("residual", 16, (6, 8), 8, 4, **NAMES)
TINY = FeaturesConfig(NETWORK, people=32, held_out=48, steps=6, batch=16)


@pytest.fixture(scope="module")
def data() -> LabelledImages:
    return draw_labelled(32, 16, seed=0)


@pytest.fixture(scope="module")
def pairs() -> LabelledImages:
    return draw_labelled(16, 16, seed=2, sittings=2)


def test_a_run_learns_and_leaves_weights_and_a_card(data, tmp_path):
    losses: list[float] = []
    path = train_features(
        replace(TINY, steps=40, damage="none"), tmp_path, data=data,
        callback=lambda info: losses.append(info.loss.mean().item()) or True, name="mine",
    )  # fmt: skip
    assert len(losses) == 40 and np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    features = load_features(path)
    assert features.attribute_names == ATTRIBUTES and not features.network.config.batch_norm
    card = json.loads((tmp_path / "mine.json").read_text())
    assert card["images_seen"] == 40 * 16 and card["data"] == data.name and "seed=1" in card["held_out"]
    assert set(card["figures"]["attributes"]) == set(ATTRIBUTES)
    assert set(card["figures"]["attributes"]["hat"]) == {"accuracy", "auc"}
    log = [json.loads(line) for line in (tmp_path / "mine.log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == list(range(1, 41))


def test_the_same_run_twice_gives_the_same_weights(data, tmp_path):
    paths = [train_features(TINY, tmp_path / name, data=data) for name in ("a", "b")]
    other = train_features(replace(TINY, seed=1), tmp_path / "c", data=data)
    first, second, third = (load_features(path).network.state_dict() for path in (*paths, other))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["attributes.weight"], third["attributes.weight"])


def test_a_judge_learns_who_is_who(pairs, tmp_path):
    config = FeaturesConfig(JUDGE, people=16, sittings=2, held_out=48, steps=8, batch=8, identity_weight=1.0)
    parts: list[dict] = []
    path = train_features(config, tmp_path, data=pairs, callback=lambda info: parts.append(dict(info.parts)) or info.step < 5)
    assert len(parts) == 5 and set(parts[0]) == {"attributes", "traits", "identity"}
    assert parts[0]["identity"].shape == (8,)
    assert json.loads(path.with_suffix(".json").read_text())["images_seen"] == 5 * 8
    assert load_features(path).embed(torch.zeros(1, 3, 16, 16)).shape == (1, 4)


def test_identity_loss_is_low_where_sittings_are_together():
    people = torch.nn.functional.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    together = people.repeat_interleave(2, dim=0)
    apart = people.repeat(2, 1)
    assert identity_loss(together, 2).mean() < 0.2 < 2 < identity_loss(apart, 2).mean()
    three = people.repeat_interleave(3, dim=0)  # the third sitting is neither partner nor rival
    assert identity_loss(three, 3).max() < 0.3


def test_shown_is_a_function_of_seed_and_step(data, pairs):
    config = replace(TINY, damage="none")
    first, again, later = (shown(data, config, step, "cpu") for step in (3, 3, 4))
    assert torch.equal(first.images, again.images) and not torch.equal(first.images, later.images)
    yaw = ATTRIBUTES.index("yaw")
    whole = [(shown(data, config, step, "cpu")) for step in range(2)]  # 32 people in batches of 16: one epoch
    seen = torch.cat([batch.attributes[:, yaw].abs() for batch in whole]).sort().values
    assert torch.allclose(seen, torch.from_numpy(np.sort(np.abs(data.attributes[:, yaw]))))
    mirrored = torch.cat([batch.attributes[:, yaw] for batch in whole])
    assert (mirrored < 0).sum() != (data.attributes[:, yaw] < 0).sum() or not torch.equal(mirrored, seen)
    sittings = shown(pairs, replace(TINY, sittings=2, damage="none"), 0, "cpu")
    age = sittings.attributes[:, ATTRIBUTES.index("age")]
    assert torch.equal(age[0::2], age[1::2])


@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_damage_leaves_labels_alone(data, damage):
    clean, seen = (shown(data, replace(TINY, damage=name), 0, "cpu") for name in ("none", damage))
    assert torch.equal(clean.attributes, seen.attributes) and torch.isfinite(seen.images).all()
    assert torch.equal(clean.images, seen.images) == (damage == "none")


def test_calibration_puts_unrelated_pictures_one_apart(data):
    network = build(NETWORK)
    images = torch.from_numpy(data.images_u8).float() / 127.5 - 1
    calibrate_distance(network, images)
    maps = network.distance_maps(images)
    parts = [(x - x.roll(1, dims=0)).square().flatten(1).sum(dim=1).mean().item() for x in maps]
    assert parts == pytest.approx([0.5, 0.5], rel=1e-4)


def test_rates_rise_and_fall():
    rates = [lr_at(step, replace(TINY, steps=100)) for step in range(100)]
    assert max(rates) == rates[4] == pytest.approx(TINY.lr) and rates[0] == pytest.approx(TINY.lr / 5)
    assert rates[-1] < 1e-2 * TINY.lr and all(a >= b for a, b in pairwise(rates[5:]))


@pytest.mark.parametrize(
    "change, word",
    [
        ({"batch": 15, "sittings": 2}, "--batch 15"),
        ({"people": 4}, "--batch 16"),
        ({"identity_weight": 1.0}, "sittings"),
        ({"damage": "fire"}, "fire"),
        ({"steps": 0}, "steps"),
    ],
)
def test_numbers_that_cannot_work_together(change, word):
    with pytest.raises(UsageError, match=word):
        replace(TINY, **change).validate()


def test_presets_are_valid_and_apart():
    features, judge = (preset_config(name) for name in ("portraits-features", "portraits-judge"))
    assert features.network.architecture != judge.network.architecture and features.data_seed != judge.data_seed
    assert features.seed != judge.seed and features.damage != judge.damage and judge.network.embed_dim
    assert 1 not in {config.data_seed for config in PRESETS.values()}  # seed 1 is held out
    assert preset_config("portraits-judge", steps=3, lr=None).steps == 3
    with pytest.raises(UsageError, match="portraits-judge"):
        preset_config("judge")


def test_a_stop_while_pictures_are_drawn(tmp_path):
    with pytest.raises(TrainingError, match="3 pictures were drawn"):
        train_features(TINY, tmp_path, drawing=lambda done, count: done < 3)
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_stops_the_run(data, tmp_path):
    broken = replace(data, attributes=np.full_like(data.attributes, np.nan))
    with pytest.raises(TrainingError, match="not finite at step 1"):
        train_features(TINY, tmp_path, data=broken)
    assert not list(tmp_path.glob("*.safetensors"))
