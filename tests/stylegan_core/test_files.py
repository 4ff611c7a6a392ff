from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from stylegan_core.errors import OutputError
from stylegan_core.files import atomic_write, display, write_json


def test_the_file_appears_whole_and_nothing_else_is_left(tmp_path):
    target = tmp_path / "new" / "result.png"
    with atomic_write(target) as temporary:
        assert temporary.parent == target.parent and temporary.suffix == ".png" and not target.exists()
        temporary.write_bytes(b"whole")
    assert target.read_bytes() == b"whole"
    assert os.listdir(target.parent) == ["result.png"]


def test_an_error_in_the_body_keeps_the_old_file(tmp_path):
    target = tmp_path / "result.json"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_full_disk_is_one_line(tmp_path):
    no_space = pytest.raises(OutputError, match=r"cannot write .*out\.bin: there is no space left")
    with no_space as caught, atomic_write(tmp_path / "out.bin"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_an_error_that_is_not_about_writing_passes_through(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "out.bin"):
        (tmp_path / "missing").read_bytes()


def test_a_folder_in_the_way(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="a folder has this name"), atomic_write(tmp_path / "out"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file, not a folder"), atomic_write(tmp_path / "file" / "out"):
        pass


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied"), atomic_write(tmp_path / "out"):
        pass


def test_the_longest_names_and_the_umask(tmp_path):
    target = tmp_path / ("n" * 251 + ".txt")
    with atomic_write(target) as temporary:
        temporary.write_text("x")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


def test_json_is_written_as_text_people_can_read(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Köln", "values": [1, 2.5]})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"name": "Köln", "values": [1, 2.5]}
    assert "Köln" in (tmp_path / "a.json").read_text("utf-8")
    with pytest.raises(ValueError):
        write_json(tmp_path / "b.json", {"value": float("nan")})
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode 写真.png", "plain ünïcode 写真.png"),
        ("a\nb", "a\\x0ab"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("gpj\u202egnp", "gpj\\u202egnp"),
        ("\u2066x\u2028y", "\\u2066x\\u2028y"),
        ("\udcff.png", "\\xff.png"),
        ("tab\tdel\x7fnel\x85", "tab\\x09del\\x7fnel\\x85"),
        (Path("photo.png"), "photo.png"),
    ],
)
def test_display_escapes(text, shown):
    assert display(text) == shown


def test_display_cuts_long_text():
    assert len(display("x" * 10_000)) <= 400
    assert display("a" * 300 + "b" * 300, max_length=21) == "a" * 10 + "…" + "b" * 10
