"""Files appear whole or not at all, and text from outside is made harmless before a terminal shows it."""

from __future__ import annotations

import errno
import json
import os
import secrets
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stylegan_core.errors import OutputError

_WRITE_PROBLEMS = {
    errno.ENOSPC: "there is no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "the operation is not permitted",
    errno.EROFS: "the file system is read-only",
    errno.EFBIG: "the file is larger than this file system allows",
    errno.EIO: "the disk reports an input/output error",
    errno.EISDIR: "a folder has this name",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "the path is a loop of links",
}


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path in the folder of `path` (made if missing); on success it is renamed to `path`.

    The temporary file exists, is empty and has the suffix of `path`. When the body raises, it is removed and `path`
    stays as it was. Raises OutputError, in one line, for a full disk, a missing permission and their kind.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder")
        temporary = _create_beside(target)
        yield temporary
        _flush_to_disk(temporary)
        os.replace(temporary, target)
        temporary = None
        _flush_to_disk(target.parent)
    except OSError as error:
        if error.errno not in _WRITE_PROBLEMS:
            raise
        raise OutputError(f"cannot write {display(target)}: {_WRITE_PROBLEMS[error.errno]}") from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` as indented UTF-8 JSON, whole or not at all. NaN and infinity are a ValueError."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def display(text: object, *, max_length: int = 400) -> str:
    """Text that is safe to print: control characters, line breaks, escape sequences, marks of writing direction and
    undecodable bytes appear as \\x1b or \\u202e; what is longer than `max_length` is cut in the middle."""
    escaped = "".join(character if _is_plain(character) else _escape(character) for character in str(text))
    if len(escaped) > max_length:
        half = (max_length - 1) // 2
        escaped = f"{escaped[:half]}…{escaped[-half:]}"
    return escaped


def _is_plain(character: str) -> bool:
    # Cc control, Cf format (directions, joiners), Cs surrogate, Co private, Cn unassigned, Zl Zp separators of lines.
    return character == " " or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, as Python keeps it in file names
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _create_beside(target: Path) -> Path:
    # The name is new and short, so that a target of 255 bytes works; the mode follows the umask, as for any new file.
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp{target.suffix[:16]}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return temporary


def _flush_to_disk(path: Path) -> None:
    is_folder = path.is_dir()
    try:
        descriptor = os.open(path, os.O_RDONLY if is_folder or os.name == "posix" else os.O_RDWR)
    except OSError:
        if is_folder:  # some systems do not open folders
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not is_folder and error.errno != errno.EINVAL:  # EINVAL: this file system has no fsync
            raise
    finally:
        os.close(descriptor)
