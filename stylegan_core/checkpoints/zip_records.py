"""The records of an uncompressed zip file as views of its bytes: how torch stores checkpoints since version 1.6.

A reader of its own, because nothing may be extracted, inflated or allocated before it is checked (APPNOTE.TXT 4.3).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from stylegan_core.errors import CheckpointError, UnsafeCheckpointError
from stylegan_core.files import display

MAX_MEMBERS = 20_000
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_CENTRAL, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_ENCRYPTED = 0x1 | 0x40 | 0x2000


@dataclass(frozen=True)
class ZipRecord:
    """One stored file of the archive: its name, where its bytes lie and their checksum."""

    name: str
    start: int
    size: int
    crc: int


def read_records(data: memoryview) -> dict[str, ZipRecord]:
    """Name → record of every file in the archive `data`; nothing is read but the directory.

    Raises UnsafeCheckpointError for compressed or encrypted files, names that leave the archive, names that occur twice
    and files that overlap; CheckpointError for an archive that is damaged or truncated.
    """
    try:
        count, offset, length = _directory(data)
        members = _members(data[offset : offset + length], count)
        records = {}
        end_before = 0
        for local, name, size, crc in sorted(members):
            start = _data_start(data, local, name)
            if local < end_before or start + size > offset:
                raise UnsafeCheckpointError("files of the zip archive overlap; refused")
            end_before = start + size
            records[name] = ZipRecord(name, start, size, crc)
    except (struct.error, IndexError):
        raise CheckpointError("the zip archive is damaged or truncated") from None
    if len(records) != len(members):
        raise UnsafeCheckpointError("the zip archive has two files of one name; refused")
    return records


def record_bytes(data: memoryview, record: ZipRecord) -> memoryview:
    """The bytes of a record as a view, after its checksum was compared."""
    view = data[record.start : record.start + record.size]
    if zlib.crc32(view) != record.crc:
        raise CheckpointError(f"the file {display(record.name)!r} in the archive is damaged (its checksum differs)")
    return view


def _directory(data: memoryview) -> tuple[int, int, int]:
    # Count of members, position and length of the central directory.
    tail_start = max(0, len(data) - 65_557)
    tail = bytes(data[tail_start:])
    position = tail.rfind(_END)
    if position < 0:
        raise CheckpointError("the zip archive has no directory: the file is truncated")
    disk, first_disk, here, count, length, offset, comment = struct.unpack_from("<4H2IH", tail, position + 4)
    end = tail_start + position
    if end + 22 + comment != len(data) or disk != first_disk or here != count:
        raise CheckpointError("the zip archive is damaged, or something was appended to it")
    directory_end = end
    if 0xFFFF in (count,) or 0xFFFFFFFF in (length, offset):
        magic, _, where, _ = struct.unpack_from("<4sIQI", data, end - 20)
        if magic != _LOCATOR64 or where + 56 > end:
            raise CheckpointError("the zip archive is damaged: it has no 64-bit directory")
        magic, _, _, _, _, _, here, count, length, offset = struct.unpack_from("<4sQ2H2I4Q", data, where)
        directory_end = where
        if magic != _END64:
            raise CheckpointError("the zip archive is damaged: it has no 64-bit directory")
    if count > MAX_MEMBERS or length > 512 * MAX_MEMBERS:
        raise UnsafeCheckpointError(f"the zip archive has more than {MAX_MEMBERS} files; refused")
    if offset + length > directory_end:
        raise CheckpointError("the zip archive is damaged: its directory lies outside the file")
    return count, offset, length


def _members(directory: memoryview, count: int) -> list[tuple[int, str, int, int]]:
    # (position of the local header, name, size, checksum) of every member.
    members = []
    position = 0
    for _ in range(count):
        fields = struct.unpack_from("<4s6H3I5H2I", directory, position)
        magic, flags, method, crc, packed, size = fields[0], fields[3], fields[4], fields[7], fields[8], fields[9]
        name_length, extra_length, comment_length, local = fields[10], fields[11], fields[12], fields[16]
        if magic != _CENTRAL:
            raise CheckpointError("the zip archive is damaged: its directory is not one")
        name_end = position + 46 + name_length
        name = bytes(directory[position + 46 : name_end]).decode("utf-8", "backslashreplace")
        extra = bytes(directory[name_end : name_end + extra_length])
        size, packed, local = _wide(extra, size, packed, local)
        shown = display(name, max_length=80)
        if flags & _ENCRYPTED:
            raise UnsafeCheckpointError(f"the file {shown!r} in the zip archive is encrypted; refused")
        if method != 0 or packed != size:
            raise UnsafeCheckpointError(f"the file {shown!r} in the zip archive is compressed, as none is; refused")
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or ":" in parts[0] or "\0" in name:
            raise UnsafeCheckpointError(f"the name {shown!r} in the zip archive leads out of it; refused")
        members.append((local, name, size, crc))
        position = name_end + extra_length + comment_length
    return members


def _wide(extra: bytes, size: int, packed: int, local: int) -> tuple[int, int, int]:
    # The 64-bit values that stand in the extra field where the 32-bit ones are full (APPNOTE.TXT 4.5.3).
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == 1:
            values = iter(struct.unpack_from(f"<{min(length // 8, 3)}Q", extra, position + 4))
            size = next(values, size) if size == 0xFFFFFFFF else size
            packed = next(values, packed) if packed == 0xFFFFFFFF else packed
            local = next(values, local) if local == 0xFFFFFFFF else local
        position += 4 + length
    return size, packed, local


def _data_start(data: memoryview, local: int, name: str) -> int:
    magic, name_length, extra_length = struct.unpack_from("<4s22x2H", data, local)
    start = local + 30
    held = bytes(data[start : start + name_length]).decode("utf-8", "backslashreplace")
    if magic != _LOCAL or held != name:
        raise CheckpointError(f"the zip archive is damaged at {display(name, max_length=80)!r}")
    return start + name_length + extra_length
