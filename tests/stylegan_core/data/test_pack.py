"""Zips for trainers from folders, zips and data bases: order, sizes, labels, channels, and what becomes of bad pictures."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylegan_core.data.images import open_images
from stylegan_core.data.pack import pack_folder
from stylegan_core.data.sources import open_source
from stylegan_core.errors import ImageError, MissingExtraError, UsageError


def picture(index: int, size: tuple[int, int] = (20, 16), mode: str = "RGB", kind: str = "PNG") -> bytes:
    """size: (W, H)."""
    rng = np.random.default_rng(index)
    channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    small = rng.integers(0, 256, (4, 5, channels), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small.squeeze()).resize(size, Image.Resampling.BICUBIC).save(buffer, kind)
    return buffer.getvalue()


def folder_of(place: Path, names: list[str]) -> Path:
    for index, name in enumerate(names):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(picture(index))
    return place


def contents(path: Path) -> tuple[list[np.ndarray], dict | None]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        labels = json.loads(archive.read("dataset.json")) if "dataset.json" in names else None
        return [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names if name.endswith(".png")], labels


def test_a_zip_and_the_folder_that_it_was_made_of_pack_alike(tmp_path):
    folder = folder_of(tmp_path / "photos", ["b/1.png", "a.png", "b/0.png"])
    (folder / "notes.txt").write_text("no picture")
    with zipfile.ZipFile(tmp_path / "photos_in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(folder))
    one = pack_folder(folder, tmp_path / "one.zip", resolution=8)
    other = pack_folder(tmp_path / "photos_in.zip", tmp_path / "other.zip", resolution=8)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()
    assert one.num_packed == other.num_packed == 3 and one.size == (8, 8) and one.classes == {} and one.enlarged == 0
    assert [name.name for name in open_source(folder).pictures()] == ["a.png", "b/0.png", "b/1.png"]
    assert len(open_images(tmp_path / "one.zip")) == 3


def test_an_lmdb_data_base(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    base = lmdb.open(str(tmp_path / "church_lmdb"), map_size=1 << 20)
    with base.begin(write=True) as transaction:
        for index in range(4):
            data = b"damaged" if index == 2 else picture(index, kind="WEBP")
            transaction.put(f"{index:08x}".encode(), data)
    base.close()
    for place in (tmp_path / "church_lmdb", tmp_path / "church_lmdb" / "data.mdb"):
        result = pack_folder(place, tmp_path / "church.zip", resolution=16, limit=3)
        assert result.num_packed == 3 and len(result.failures) == 1 and "00000002" in result.failures[0][1]
    limited = pack_folder(tmp_path / "church_lmdb", tmp_path / "two.zip", resolution=16, limit=2)
    assert limited.num_packed == 2 and not limited.failures


def test_without_lmdb_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "data.mdb").write_bytes(b"x")
    monkeypatch.setitem(__import__("sys").modules, "lmdb", None)
    with pytest.raises(MissingExtraError, match="lsun"):
        open_source(tmp_path)


def test_sizes(tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for index, size in enumerate([(30, 20), (8, 8), (16, 40)]):
        (folder / f"{index}.png").write_bytes(picture(index, size))
    square = pack_folder(folder, tmp_path / "a.zip")
    assert square.size == (20, 20) and square.enlarged == 2  # the side of the first; two are narrower
    wide = pack_folder(folder, tmp_path / "b.zip", resolution=(12, 16))
    assert wide.size == (12, 16) and {each.shape for each in contents(tmp_path / "b.zip")[0]} == {(12, 16, 3)}


@pytest.mark.parametrize("channels, shape", [(1, (8, 8)), (3, (8, 8, 3)), (4, (8, 8, 4))])
def test_channels(tmp_path, channels, shape):
    folder = tmp_path / "kinds"
    folder.mkdir()
    for index, mode in enumerate(["L", "RGB", "RGBA"]):
        (folder / f"{index}.png").write_bytes(picture(index, (8, 8), mode))
    pack_folder(folder, tmp_path / "o.zip", channels=channels)
    pictures, _ = contents(tmp_path / "o.zip")
    assert all(each.shape == shape for each in pictures)
    if channels == 4:
        expected = np.asarray(Image.open(io.BytesIO(picture(2, (8, 8), "RGBA"))))
        assert np.abs(pictures[2].astype(int) - expected).max() <= 1 and (pictures[1][..., 3] == 255).all()


def test_labels_of_the_source_travel_in_the_order_of_the_pictures(tmp_path):
    folder = folder_of(tmp_path / "labelled", ["b.png", "a.png", "sub/c.png"])
    labels = [["sub/c.png", 2], ["a.png", 0], ["b.png", 2]]
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    result = pack_folder(folder, tmp_path / "o.zip", resolution=8)
    expected = {"labels": [["img00000000.png", 0], ["img00000001.png", 2], ["img00000002.png", 2]]}
    assert contents(tmp_path / "o.zip")[1] == expected and result.classes == {0: 1, 2: 2}
    pack_folder(tmp_path / "o.zip", tmp_path / "again.zip", resolution=8)
    assert contents(tmp_path / "again.zip")[1] == expected
    assert pack_folder(folder, tmp_path / "none.zip", labels={}).classes == {} and contents(tmp_path / "none.zip")[1] is None
    (folder / "b.png").write_bytes(b"damaged")
    pack_folder(folder, tmp_path / "p.zip", resolution=8)
    assert contents(tmp_path / "p.zip")[1] == {"labels": [["img00000000.png", 0], ["img00000001.png", 2]]}


@pytest.mark.parametrize("text, message", [
    ('{"labels": [["a.png", 1]]}', "1 picture.*b.png.*--no-labels"),
    ('{"labels": [["a.png", 1], ["b.png", [0.5, 1]]]}', "different kinds"),
    ('{"labels": [["a.png", -1], ["b.png", 0]]}', r"not \[name, class\]"),
    ('{"labels": [["a.png", true], ["b.png", 0]]}', r"not \[name, class\]"),
    ('{"tags": []}', "labels"),
    ("nonsense", "labels"),
])  # fmt: skip
def test_labels_that_do_not_match(tmp_path, text, message):
    folder = folder_of(tmp_path / "photos", ["a.png", "b.png"])
    (folder / "dataset.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        pack_folder(folder, tmp_path / "o.zip")
    assert not (tmp_path / "o.zip").exists()


def test_bad_pictures_are_left_out_and_named(tmp_path):
    folder = folder_of(tmp_path / "photos", ["a.png", "c.png"])
    whole = picture(1, (200, 200))
    bad = {"b.png": b"", "d.jpg": b"<html>", "e.png": whole[: len(whole) // 2], "f.gif": b"GIF89a"}
    bad["g.png"] = b"\x89PNG\r\n\x1a\n" + b"0" * 40
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    result = pack_folder(folder, tmp_path / "o.zip", resolution=8)
    assert result.num_packed == 2 and [path.name for path, _ in result.failures] == sorted(bad)
    assert all("\n" not in reason and name in reason for (path, reason) in result.failures for name in [path.name])
    for path in folder.glob("[ac].png"):
        path.unlink()
    with pytest.raises(ImageError, match="no picture"):
        pack_folder(folder, tmp_path / "p.zip")
    assert not (tmp_path / "p.zip").exists()


def test_one_picture_is_a_data_set_and_nothing_is_not(tmp_path):
    assert pack_folder(folder_of(tmp_path / "one", ["a.png"]), tmp_path / "o.zip").num_packed == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no pictures"):
        pack_folder(tmp_path / "empty", tmp_path / "p.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(UsageError, match="no pictures"):
        pack_folder(tmp_path / "empty.zip", tmp_path / "p.zip")
    for wrong in (tmp_path / "missing", tmp_path / "one" / "a.png"):
        with pytest.raises(UsageError, match="neither a folder"):
            pack_folder(wrong, tmp_path / "p.zip")
    with pytest.raises(UsageError, match="source itself"):
        pack_folder(tmp_path / "o.zip", tmp_path / "o.zip")
    with pytest.raises(UsageError, match="stopped"):
        pack_folder(tmp_path / "one", tmp_path / "q.zip", callback=lambda *_: False)
    assert not (tmp_path / "q.zip").exists()
