"""Portraits: the same seed gives the same picture, every attribute shows, and only what is asked for changes."""

from __future__ import annotations

import csv
import time

import numpy as np
import pytest
from PIL import Image

from stylegan_core.data.portrait_person import IDENTITY_TRAITS
from stylegan_core.data.portraits import (
    ATTRIBUTES,
    BINARY_ATTRIBUTES,
    LAWS,
    STYLES,
    portrait_u8,
    render_portrait,
    sample_portrait,
    write_portraits,
)
from stylegan_core.errors import UsageError

CONTINUOUS = tuple(name for name in ATTRIBUTES if name not in BINARY_ATTRIBUTES)
PLAIN = {"yaw": 0.0, "tilt": 0.0, "smile": 0.2, "mouth_open": -0.5, "eyes_open": 0.5, "age": -0.3}
PLAIN |= {"glasses": 0, "beard": 0, "hat": 0, "hair_length": -0.3, "hair_colour": -0.2, "skin_tone": 0.4}


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    error = np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10.0 * np.log10(255.0**2 / error))


def attribute_table(law: str, count: int = 3000) -> dict[str, np.ndarray]:
    drawn = [sample_portrait(5, index, law=law).attributes for index in range(count)]
    return {name: np.array([attributes[name] for attributes in drawn]) for name in ATTRIBUTES}


# Pictures.


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("resolution", [8, 64, 100])
def test_shape_and_dtype(style: str, resolution: int) -> None:
    picture, attributes = portrait_u8(3, 1, resolution, style=style)
    assert picture.shape == (resolution, resolution, 3)
    assert picture.dtype == np.uint8
    assert tuple(attributes) == ATTRIBUTES


@pytest.mark.parametrize("style", STYLES)
def test_same_seed_same_picture(style: str) -> None:
    first, second = (portrait_u8(3, 7, 64, style=style) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert first[1] == second[1]


def test_index_and_seed_choose_the_person() -> None:
    pictures = [portrait_u8(seed, index, 32)[0] for seed in (0, 1) for index in (0, 1)]
    assert all(psnr(pictures[i], pictures[j]) < 25 for i in range(4) for j in range(i))


def test_styles_and_laws_draw_the_same_person() -> None:
    colour, ink = (sample_portrait(2, 5, style=style) for style in STYLES)
    assert (colour.attributes, colour.identity, colour.detail_seed) == (ink.attributes, ink.identity, ink.detail_seed)
    assert sample_portrait(2, 5, law="independent").identity == colour.identity


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("index", range(6))
def test_composition_does_not_depend_on_resolution(style: str, index: int) -> None:
    portrait = sample_portrait(11, index, style=style)
    small = render_portrait(portrait, 64)
    large = render_portrait(portrait, 256).reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert psnr(small, large) > 27
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.98


def test_edges_are_anti_aliased() -> None:
    """Moving the head by a tenth of a pixel changes the picture by little everywhere: no pixel flips."""
    portrait = sample_portrait(4, 4)
    moved = portrait.with_attributes(yaw=portrait.attributes["yaw"] + 0.004)
    difference = np.abs(render_portrait(portrait, 64).astype(int) - render_portrait(moved, 64).astype(int))
    assert 0 < difference.max() < 40


def test_speed_at_64_px() -> None:
    """5 ms on one slow core; the limit leaves room for a busy machine."""
    seconds = []
    for index in range(40):
        start = time.thread_time()
        portrait_u8(0, index, 64)
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 0.015


def test_portraits_differ_from_each_other() -> None:
    train = np.stack([portrait_u8(0, index, 64)[0] for index in range(250)]).reshape(250, -1).astype(np.float64)
    held_out = np.stack([portrait_u8(1000, index, 64)[0] for index in range(40)]).reshape(40, -1).astype(np.float64)
    nearest = [np.min(np.mean((train - picture) ** 2, 1)) for picture in held_out]
    assert np.mean(10 * np.log10(255.0**2 / np.array(nearest)) < 20) >= 0.9


# Attributes.


@pytest.mark.parametrize("law", LAWS)
def test_ranges(law: str) -> None:
    for name, values in attribute_table(law).items():
        assert values.min() >= -1 and values.max() <= 1
        if name in BINARY_ATTRIBUTES:
            assert set(values) == {0.0, 1.0}
            assert 0.15 < values.mean() < 0.4
        else:
            assert values.std() > 0.35
            assert values.min() < -0.85 and values.max() > 0.85


def test_correlated_law() -> None:
    table = attribute_table("correlated")
    assert not np.any((table["beard"] == 1) & (table["hair_length"] > 0.3))
    assert np.any(table["hair_length"] > 0.9)
    for first, second in (("age", "glasses"), ("age", "hair_colour"), ("skin_tone", "hair_colour")):
        assert np.corrcoef(table[first], table[second])[0, 1] > 0.2


def test_independent_law() -> None:
    table = attribute_table("independent")
    assert np.any((table["beard"] == 1) & (table["hair_length"] > 0.3))
    correlation = np.corrcoef(np.stack(list(table.values())))
    assert np.abs(correlation - np.eye(len(ATTRIBUTES))).max() < 0.09


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_shows(name: str, style: str) -> None:
    low = 0 if name in BINARY_ATTRIBUTES else -1
    for index in range(3):
        portrait = sample_portrait(21, index, style=style).with_attributes(**PLAIN)
        high = 0 if name == "background" else 1  # the path of backgrounds begins and ends in dark blues
        ends = [render_portrait(portrait.with_attributes(**{name: value}), 64) for value in (low, high)]
        assert psnr(*ends) < 35


@pytest.mark.parametrize("name", CONTINUOUS)
def test_attributes_change_the_picture_steadily(name: str) -> None:
    """Every step of an attribute changes the picture, and none makes it jump."""
    portrait = sample_portrait(21, 1).with_attributes(**PLAIN)
    steps = [render_portrait(portrait.with_attributes(**{name: v}), 64).astype(float) for v in np.linspace(-1, 1, 9)]
    distances = [np.sqrt(np.mean((steps[i + 1] - steps[i]) ** 2)) for i in range(8)]
    assert max(distances) < 4.5 * np.mean(distances)
    assert min(distances) > 0.05 * np.mean(distances)


def test_smile_changes_only_the_mouth() -> None:
    portrait = sample_portrait(8, 2).with_attributes(**PLAIN)
    difference = render_portrait(portrait, 128) != render_portrait(portrait.with_attributes(smile=0.9), 128)
    rows, columns = np.nonzero(difference.any(2))
    assert len(rows) > 50
    assert rows.min() > 64 and rows.max() < 112
    assert columns.min() > 28 and columns.max() < 100


def test_background_leaves_the_person_alone() -> None:
    portrait = sample_portrait(8, 2).with_attributes(**PLAIN)
    same = render_portrait(portrait, 64) == render_portrait(portrait.with_attributes(background=-0.9), 64)
    assert same[20:45, 24:40].all()
    assert not same[:6, :6].any()


def test_light_comes_from_its_side() -> None:
    portrait = sample_portrait(8, 3).with_attributes(**PLAIN)
    left, right = (render_portrait(portrait.with_attributes(light=v), 64).astype(int) for v in (-1, 1))
    difference = (left - right)[24:50].mean((0, 2))
    assert difference[18:26].mean() > 10 > -10 > difference[38:46].mean()


def test_with_attributes_leaves_the_original() -> None:
    portrait = sample_portrait(0, 0)
    before = dict(portrait.attributes)
    changed = portrait.with_attributes(smile=0.8, hat=1)
    assert portrait.attributes == before
    assert changed.attributes == before | {"smile": 0.8, "hat": 1.0}
    assert changed.identity is portrait.identity and changed.detail_seed == portrait.detail_seed
    assert set(portrait.identity) == set(IDENTITY_TRAITS)


# Stochastic detail.


@pytest.mark.parametrize("style", STYLES)
def test_detail_changes_little_but_something(style: str) -> None:
    values = []
    for index in range(12):
        portrait = sample_portrait(6, index, style=style)
        other = portrait.with_detail(portrait.detail_seed + 1)
        values.append(psnr(render_portrait(portrait, 64), render_portrait(other, 64)))
    assert min(values) > 26 and np.median(values) > 28
    assert max(values) < 60


def test_detail_of_cloth_does_not_depend_on_what_is_worn() -> None:
    portrait = sample_portrait(6, 1).with_attributes(**PLAIN)
    hat = portrait.with_attributes(hat=1, glasses=1)
    assert np.array_equal(render_portrait(portrait, 64)[-6:], render_portrait(hat, 64)[-6:])


# Files.


def test_write_portraits(tmp_path) -> None:
    calls = []
    output = write_portraits(
        tmp_path / "set", count=3, resolution=32, seed=4, callback=lambda done, count: calls.append((done, count))
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert sorted(path.name for path in (output / "images").iterdir()) == ["000000.png", "000001.png", "000002.png"]
    with open(output / "labels.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == ("file", *ATTRIBUTES)
    for index, row in enumerate(rows):
        picture, attributes = portrait_u8(4, index, 32)
        assert np.array_equal(np.asarray(Image.open(output / "images" / row["file"])), picture)
        assert all(abs(float(row[name]) - value) < 1e-5 for name, value in attributes.items())


def test_writing_resumes(tmp_path) -> None:
    write_portraits(tmp_path, count=4, resolution=16, seed=4, callback=lambda done, count: done < 2)
    images = tmp_path / "images"
    assert len(list(images.iterdir())) == 2
    kept = (images / "000000.png").stat().st_mtime_ns
    damaged = images / "000001.png"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    write_portraits(tmp_path, count=4, resolution=16, seed=4)
    assert (images / "000000.png").stat().st_mtime_ns == kept
    assert np.array_equal(np.asarray(Image.open(damaged)), portrait_u8(4, 1, 16)[0])
    assert len((tmp_path / "labels.csv").read_text().splitlines()) == 5


def test_another_recipe_is_drawn_anew(tmp_path) -> None:
    write_portraits(tmp_path, count=1, resolution=16, seed=4)
    write_portraits(tmp_path, count=1, resolution=16, seed=4, style="ink")
    expected, _ = portrait_u8(4, 0, 16, style="ink")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "images" / "000000.png")), expected)


# Bad arguments.


@pytest.mark.parametrize(
    "changes",
    [{"beauty": 1.0}, {"smile": 1.2}, {"smile": float("nan")}, {"hat": 0.5}, {"smile": "0.2"}, {"age": None}],
)
def test_bad_attributes(changes: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        sample_portrait(0, 0).with_attributes(**changes)


def test_bad_arguments(tmp_path) -> None:
    portrait = sample_portrait(0, 0)
    with pytest.raises(UsageError, match="resolution=4"):
        render_portrait(portrait, 4)
    with pytest.raises(UsageError, match="seed -1"):
        sample_portrait(-1, 0)
    with pytest.raises(UsageError, match="index -2"):
        sample_portrait(0, -2)
    with pytest.raises(UsageError, match="law='free'"):
        sample_portrait(0, 0, law="free")
    with pytest.raises(UsageError, match="style='oil'"):
        sample_portrait(0, 0, style="oil")
    with pytest.raises(UsageError, match="detail seed"):
        portrait.with_detail(-1)
    with pytest.raises(UsageError, match="count=0"):
        write_portraits(tmp_path, count=0, resolution=64, seed=0)
    assert not list(tmp_path.iterdir())
