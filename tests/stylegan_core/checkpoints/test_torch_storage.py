from __future__ import annotations

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch

from stylegan_core.checkpoints.contents import open_contents
from stylegan_core.checkpoints.inert_tree import mapping_of
from stylegan_core.checkpoints.tensor_view import array_view, checked_view, contiguous_strides
from stylegan_core.checkpoints.zip_records import read_records, record_bytes
from stylegan_core.errors import CheckpointError, UnsafeCheckpointError


def tensors_of(path):
    contents = open_contents(path)
    return {name: contents.tensors.view(node) for name, node in mapping_of(contents.tree).items()}


def example():
    torch.manual_seed(0)
    base = torch.randn(6, 7)
    return {
        "plain": base,
        "transposed": base.t(),
        "strided": base[1::2, 2:5],
        "expanded": base[:1].expand(4, 7),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "half": torch.randn(3, 3).half(),
        "bfloat16": torch.randn(5, 2).bfloat16().t(),
        "double": torch.randn(4, dtype=torch.float64),
        "parameter": torch.nn.Parameter(torch.randn(2, 2)),
        "int64": torch.arange(5),
        "int32": torch.arange(5, dtype=torch.int32),
        "uint8": torch.arange(5, dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
    }


@pytest.mark.parametrize("is_zip", [True, False])
def test_tensors_equal_those_of_torch(tmp_path, is_zip):
    path = tmp_path / "file.pt"
    torch.save(example(), path, _use_new_zipfile_serialization=is_zip)
    views = tensors_of(path)
    for name, expected in example().items():
        read = views[name].to_tensor()
        wanted = expected.detach().float() if expected.is_floating_point() else expected
        assert read.dtype == wanted.dtype and read.is_contiguous()
        assert torch.equal(read, wanted), name


def test_views_share_their_storage_until_they_are_copied(tmp_path):
    path = tmp_path / "file.pt"
    torch.save(example(), path)
    views = tensors_of(path)
    assert views["plain"].data.obj is views["strided"].data.obj
    copy = views["plain"].to_tensor()
    copy.zero_()
    assert views["plain"].to_tensor().abs().sum() > 0


def test_a_tensor_inside_a_plain_pickle(tmp_path):
    path = tmp_path / "file.pkl"
    array = np.arange(6.0, dtype="f4").reshape(3, 2).T
    path.write_bytes(pickle.dumps({"a": torch.arange(6.0).reshape(2, 3), "n": array}, 4))
    views = tensors_of(path)
    assert torch.equal(views["a"].to_tensor(), torch.arange(6.0).reshape(2, 3))
    assert torch.equal(views["n"].to_tensor(), torch.arange(6.0).reshape(3, 2).t())


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "u1", "b1"])
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_numpy_arrays(tmp_path, order, dtype, protocol):
    array = np.asarray(np.arange(12).reshape(3, 4) % 2, dtype=dtype, order=order)
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps({"a": array}, protocol))
    assert np.array_equal(tensors_of(path)["a"].to_tensor().numpy(), array)


def test_arrays_of_objects_and_of_another_byte_order_are_refused(tmp_path):
    for array in (np.array([object, None], dtype=object), np.arange(3, dtype=">f4"), np.zeros(2, dtype=[("a", "f4")])):
        path = tmp_path / "file.pkl"
        path.write_bytes(pickle.dumps({"a": array}, 2))
        with pytest.raises(UnsafeCheckpointError):
            tensors_of(path)
    assert array_view("text") is None


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (5,), (1,)),
        (4, (1,), (1,)),
        (0, (2, 2), (3, 1)),
        (0, (10**6, 10**6), (1, 0)),
        (-1, (1,), (1,)),
        (0, (-1,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
        (0, (1,) * 9, (1,) * 9),
        (0, (True,), (1,)),
        (0, (1.0,), (1,)),
        ("0", (1,), (1,)),
        (0, [1], [1]),
    ],
)
def test_views_that_leave_their_storage_are_refused(offset, shape, strides):
    with pytest.raises(CheckpointError):
        checked_view(memoryview(bytes(16)), "float32", offset, shape, strides)


def test_views_at_the_edge():
    data = memoryview(np.arange(4, dtype="f4").tobytes())
    assert checked_view(data, "float32", 3, (1,), (10**30,)).to_tensor().tolist() == [3]
    assert checked_view(data, "float32", 0, (2, 2), (2, 1)).to_tensor().tolist() == [[0, 1], [2, 3]]
    assert checked_view(data, "float32", 1, (3, 2), (1, 0)).to_tensor().tolist() == [[1, 1], [2, 2], [3, 3]]
    assert checked_view(data, "float32", 10**40, (0, 5), (1, 1)).numel == 0
    with pytest.raises(UnsafeCheckpointError):
        checked_view(data, "float32", 0, (0, 2**40, 2**40), (0, 0, 0))
    assert contiguous_strides((2, 3, 4)) == (12, 4, 1) and contiguous_strides((2, 3), is_fortran=True) == (1, 2)


def test_zip_records_equal_those_of_zipfile(tmp_path):
    path = tmp_path / "file.pt"
    torch.save(example(), path)
    data = memoryview(path.read_bytes())
    records = read_records(data)
    with zipfile.ZipFile(path) as archive:
        assert set(records) == set(archive.namelist())
        for name in records:
            assert bytes(record_bytes(data, records[name])) == archive.read(name)


def test_a_zip_with_64_bit_local_sizes_and_a_comment():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = b"PK" * 1000
        with archive.open("x/a", "w", force_zip64=True) as file:
            file.write(b"hello")
    data = memoryview(buffer.getvalue())
    assert bytes(record_bytes(data, read_records(data)["x/a"])) == b"hello"


def as_64_bit(data: bytes) -> bytes:
    """The same archive with its sizes and positions in the 64-bit fields, as torch writes files beyond 4 GiB."""
    end = data.rfind(b"PK\x05\x06")
    count, _, offset = struct.unpack_from("<HII", data, end + 10)
    directory = bytearray()
    position = offset
    for _ in range(count):
        header = bytearray(data[position : position + 46])
        packed, size, name_length, extra_length = struct.unpack_from("<IIHH", header, 20)
        local = struct.unpack_from("<I", header, 42)[0]
        name = data[position + 46 : position + 46 + name_length]
        extra = struct.pack("<HHQQQ", 1, 24, size, packed, local)
        struct.pack_into("<IIHH", header, 20, 0xFFFFFFFF, 0xFFFFFFFF, name_length, len(extra))
        struct.pack_into("<I", header, 42, 0xFFFFFFFF)
        directory += header + name + extra
        position += 46 + name_length + extra_length
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(directory), offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, offset + len(directory), 1)
    plain_end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:offset] + bytes(directory) + end64 + locator + plain_end


def test_a_zip_of_64_bit_fields_is_the_same_file(tmp_path):
    torch.save(example(), tmp_path / "file.pt")
    (tmp_path / "wide.pt").write_bytes(as_64_bit((tmp_path / "file.pt").read_bytes()))
    assert zipfile.is_zipfile(tmp_path / "wide.pt")
    narrow, wide = tensors_of(tmp_path / "file.pt"), tensors_of(tmp_path / "wide.pt")
    assert all(torch.equal(narrow[name].to_tensor(), wide[name].to_tensor()) for name in example())


def damaged_zip(change):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("x/a", b"hello world")
        archive.writestr("x/b", b"second")
    data = bytearray(buffer.getvalue())
    change(data)
    return memoryview(bytes(data))


def test_damaged_zips_are_refused():
    def overlap(data):
        position = data.rfind(b"PK\x01\x02")
        struct.pack_into("<I", data, position + 42, 0)  # the second file begins where the first does

    def wrong_crc(data):
        data[data.find(b"hello")] ^= 1

    def appended(data):
        data += b"x"

    def no_local_header(data):
        data[:4] = b"XXXX"

    for change in (overlap, appended, no_local_header):
        with pytest.raises(CheckpointError):
            read_records(damaged_zip(change))
    data = damaged_zip(wrong_crc)
    with pytest.raises(CheckpointError, match="checksum"):
        record_bytes(data, read_records(data)["x/a"])
    whole = damaged_zip(lambda data: None)
    for length in range(len(whole)):
        with pytest.raises(CheckpointError):
            read_records(whole[:length])
