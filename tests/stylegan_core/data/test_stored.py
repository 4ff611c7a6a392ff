"""Folders and zips of pictures: read, checked, labelled."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylegan_core.data import images
from stylegan_core.data.images import cropped, open_images, parse_size, portraits, size_text, with_channels
from stylegan_core.data.stored import StoredPictures, read_labels
from stylegan_core.errors import ImageError, UsageError


def picture(width: int = 16, height: int = 16, value: int = 100) -> Image.Image:
    ramp = np.linspace(0, value, width * height * 3).reshape(height, width, 3)
    return Image.fromarray(ramp.astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("cats/a.png", "cats/b.jpg", "dogs/c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture().save(tmp_path / name)
    return tmp_path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def png() -> bytes:
    buffer = io.BytesIO()
    picture().save(buffer, "PNG")
    return buffer.getvalue()


def test_pictures_of_a_folder(folder: Path) -> None:
    data = open_images(folder, is_checked=True, has_labels=True)
    assert (len(data), data.shape, data.channels, data.c_dim) == (3, (16, 16), 3, 2)
    assert data.images_u8([0, 2]).shape == (2, 3, 16, 16)
    assert data.labels([0, 1, 2]).tolist() == [[1, 0], [1, 0], [0, 1]]
    assert "3 pictures" in data.name


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_and_rectangles(folder: Path, channels: int) -> None:
    data = open_images(folder, resolution=(8, 12), channels=channels)
    assert data.images_u8([0]).shape == (1, channels, 8, 12)
    drawn = portraits(2, (24, 16), channels=channels)
    assert drawn.images_u8([0, 1]).shape == (2, channels, 24, 16) and drawn.shape == (24, 16)


def test_the_middle_is_kept() -> None:
    square = np.arange(36, dtype=np.uint8).reshape(6, 6, 1).repeat(3, axis=2)
    assert np.array_equal(cropped(square, (6, 2))[:, :, 0], square[:, 2:4, 0])
    assert np.array_equal(cropped(square, (2, 6))[:, :, 0], square[2:4, :, 0])
    assert with_channels(square, 4)[..., 3].min() == 255 and with_channels(square, 1).shape == (6, 6, 1)
    with pytest.raises(UsageError, match="1, 3 or 4"):
        with_channels(square, 2)


def test_large_sets_are_read_again_instead_of_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = open_images(folder, resolution=8).images_u8([1, 0])
    monkeypatch.setattr(images, "KEPT_BYTES", 100)
    data = open_images(folder, resolution=8)
    assert np.array_equal(data.images_u8([1, 0]), kept) and not len(data._pictures)


def test_what_is_expected_is_read_ahead(folder: Path) -> None:
    data = open_images(folder, resolution=8)
    data.expect([2, 0])
    assert set(data._coming) == {0, 2}
    assert np.array_equal(data.images_u8([0, 1, 2]), open_images(folder, resolution=8).images_u8([0, 1, 2]))
    data.expect([0, 1])  # kept already
    assert not data._coming
    (folder / "cats" / "a.png").write_bytes(b"gone")
    broken = open_images(folder, resolution=8)
    broken.expect([0])
    with pytest.raises(ImageError, match=r"a\.png"):
        broken.images_u8([0])


def test_portraits_are_labelled_by_what_they_wear() -> None:
    data = portraits(40, 16, has_labels=True)
    labels = data.labels(range(40))
    assert labels.shape == (40, 8) and (labels.sum(axis=1) == 1).all() and (labels.sum(axis=0) > 0).sum() >= 4
    assert portraits(4, 16).labels([0, 1]).shape == (2, 0)


@pytest.mark.parametrize(("name", "spoil"), [
    ("cats/a.png", lambda content: content[:-30]), ("cats/b.jpg", lambda content: content[: len(content) // 2]),
    ("dogs/c.webp", lambda content: b"no picture"), ("cats/a.png", lambda content: content[:60] + b"\0" + content[61:])])
def test_damaged_pictures_are_named_before_the_first_step(folder: Path, name: str, spoil) -> None:
    (folder / name).write_bytes(spoil((folder / name).read_bytes()))
    with pytest.raises(ImageError, match=rf"{name}.* of 3 cannot be read.*invert data pack"):
        open_images(folder, is_checked=True)


def test_mixed_sizes_need_a_resolution(folder: Path) -> None:
    picture(20, 10).save(folder / "cats" / "d.png")
    with pytest.raises(UsageError, match=r"2 sizes, such as 16x16 \(3\), 10x20 \(1\); give --resolution"):
        open_images(folder, is_checked=True)
    assert open_images(folder, is_checked=True, resolution=8).images_u8([2]).shape == (1, 3, 8, 8)


def test_labels_of_a_zip(tmp_path: Path) -> None:
    files = {"a.png": png(), "b.png": png()}
    path = zipped(tmp_path / "x.zip", {**files, "dataset.json": json.dumps({"labels": [["b.png", 2], ["a.png", 0]]}).encode()})
    assert open_images(path, has_labels=True).labels([0, 1]).tolist() == [[1, 0, 0], [0, 0, 1]]
    with pytest.raises(UsageError, match="no labels"):
        open_images(zipped(tmp_path / "y.zip", files), has_labels=True)


@pytest.mark.parametrize(("labels", "words"), [
    ([["a.png", 0]], r"1 of 2 pictures have none in dataset.json, such as b.png"),
    ([["a.png", 0], ["b.png", 1], ["c.png", 1]], "names 1 pictures that are not there, such as c.png"),
    ([["a.png", 0], ["b.png", [0.5, 0.5]]], "mixes classes and vectors"), ([["a.png", [1]], ["b.png", [1, 2]]], "vectors of"),
    ([["a.png", -1], ["b.png", 0]], "from 0 to"), ([["a.png", 10**9], ["b.png", 0]], "from 0 to"),
    ([["a.png", ["x"]], ["b.png", ["y"]]], "finite numbers"), ([["a.png", True], ["b.png", 1]], "mixes"), (None, "holds no labels"),
    ([1, 2], "holds no labels")])
def test_labels_that_do_not_match(labels, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_labels({"labels": labels}, ["a.png", "b.png"])


def test_vectors_as_labels() -> None:
    assert read_labels({"labels": {"a.png": [0.5, 1], "b.png": [0, 2]}}, ["a.png", "b.png"]).tolist() == [[0.5, 1], [0, 2]]


def test_sizes_as_they_are_typed() -> None:
    assert parse_size("64") == (64, 64) and parse_size("48x32") == (48, 32) and parse_size(" 512X384 ") == (512, 384)
    assert size_text((48, 32)) == "48x32" and size_text(64) == "64"
    for wrong in ("", "a", "4x", "-4", "1x2x3", "4.5"):
        with pytest.raises(UsageError, match="--resolution"):
            parse_size(wrong)


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, words in ((tmp_path / "none", "neither a folder nor a zip"), (tmp_path / "empty", "no pictures")):
        with pytest.raises(UsageError, match=words):
            StoredPictures(path)
