"""Scenes: the same seed gives the same picture at every resolution, and scenes differ from each other."""

from __future__ import annotations

import time

import numpy as np
import pytest

from stylegan_core.data.portrait_shapes import polygon
from stylegan_core.data.scenes import SCENE_TRAITS, render_scene, sample_scene, scene_u8
from stylegan_core.errors import UsageError


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    error = np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10.0 * np.log10(255.0**2 / error))


@pytest.mark.parametrize("resolution", [8, 64, 100])
def test_shape_and_dtype(resolution: int) -> None:
    picture = scene_u8(3, 1, resolution)
    assert picture.shape == (resolution, resolution, 3)
    assert picture.dtype == np.uint8
    assert set(sample_scene(3, 1).traits) == set(SCENE_TRAITS)


def test_same_seed_same_picture() -> None:
    assert np.array_equal(scene_u8(3, 7), scene_u8(3, 7))
    assert not np.array_equal(scene_u8(3, 7), scene_u8(4, 7))


@pytest.mark.parametrize("index", range(12))
def test_composition_does_not_depend_on_resolution(index: int) -> None:
    scene = sample_scene(11, index)
    large = render_scene(scene, 256).reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert psnr(render_scene(scene, 64), large) > 27


def test_scenes_vary() -> None:
    pictures = np.stack([scene_u8(0, index) for index in range(120)]).reshape(120, -1).astype(np.float64)
    errors = [np.mean((pictures - picture) ** 2, 1) for picture in pictures]
    nearest = np.array([np.sort(error)[1] for error in errors])
    assert np.mean(10 * np.log10(255.0**2 / nearest) < 20) > 0.9


def test_detail_changes_little_but_something() -> None:
    for index in range(6):
        scene = sample_scene(6, index)
        value = psnr(render_scene(scene, 64), render_scene(scene.with_detail(scene.detail_seed + 1), 64))
        assert 28 < value < 60


def test_speed_at_64_px() -> None:
    seconds = []
    for index in range(30):
        start = time.thread_time()
        scene_u8(0, index)
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 0.015


def test_polygon_measures_distance_for_both_senses() -> None:
    corners = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]
    x, y = np.array([0.0, 0.7, 0.0], np.float32), np.array([0.0, 0.0, -0.4], np.float32)
    for order in (corners, corners[::-1]):
        assert np.allclose(polygon(x, y, order), [-0.5, 0.2, -0.1], atol=1e-6)


def test_bad_arguments() -> None:
    with pytest.raises(UsageError, match="seed -1"):
        sample_scene(-1, 0)
    with pytest.raises(UsageError, match="index -3"):
        sample_scene(0, -3)
    with pytest.raises(UsageError, match="resolution=5000"):
        render_scene(sample_scene(0, 0), 5000)
    with pytest.raises(UsageError, match="detail seed"):
        sample_scene(0, 0).with_detail(-1)
