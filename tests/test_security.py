"""Hostile and broken files: refused in one line, fast, in little memory, and nothing of them runs.

The first half reads golden/adversarial as its manifest says. The second makes the hostile checkpoints of which a list was
drawn up when the reader was designed; their numbers stand in the names of the tests (pictures, 18 to 20, are tested with
`images`). Every load runs in a child process whose address space may grow by 512 MB.
"""

from __future__ import annotations

import collections
import io
import json
import pickle
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan_core.checkpoints.contents import open_contents
from stylegan_core.checkpoints.inert_tree import mapping_of
from stylegan_core.checkpoints.registry import load_discriminator, load_generator, read_checkpoint
from stylegan_core.errors import CheckpointError, InversionError, InvertError, UnsafeCheckpointError
from stylegan_core.inversion import Inversion
from tests.parity.rows import GOLDEN

ADVERSARIAL = GOLDEN / "adversarial"
MANIFEST = json.loads((ADVERSARIAL / "manifest.json").read_text())["files"]
MARKERS = [Path(entry["marker"]) for entry in MANIFEST if entry["marker"]]
ARRAYS = [entry for entry in MANIFEST if entry["file"].endswith((".npy", ".npz"))]
SECONDS, MEMORY = 2.0, 512 << 20

CHILD = """
import json, resource, sys, time
import torch
from stylegan_core.checkpoints.registry import load_generator
from stylegan_core.errors import InvertError
from stylegan_core.inversion import Inversion

load_generator(sys.argv[1])  # everything that will be imported is imported
size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + {memory}, size + {memory}))
for line in sys.stdin:
    path = json.loads(line)
    start = time.process_time()
    if path == 'allocate':
        try:
            torch.zeros(1 << 28)
        except (RuntimeError, MemoryError):
            path = 'refused'
        print(json.dumps(path), flush=True)
        continue
    try:
        (Inversion.load if path.endswith(('.npy', '.npz')) else load_generator)(path)
        outcome, message = 'accept', ''
    except InvertError as error:
        outcome, message = type(error).__name__, str(error)
    print(json.dumps([path, outcome, message, time.process_time() - start]), flush=True)
"""


class Child:
    """A process that loads files, with little memory; it is started once and again only after a crash."""

    process: subprocess.Popen | None = None

    @classmethod
    def load(cls, path):
        if cls.process is None:
            command = [sys.executable, "-c", CHILD.format(memory=MEMORY), str(ADVERSARIAL / "valid_minimal.pkl")]
            cls.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        cls.process.stdin.write(json.dumps(str(path)) + "\n")
        cls.process.stdin.flush()
        line = cls.process.stdout.readline()
        if not line:
            code, cls.process = cls.process.wait(), None
            pytest.fail(f"the process that read {path} died with {code}; its words are above")
        return json.loads(line)


@pytest.fixture(scope="module", autouse=True)
def stop_child():
    yield
    if Child.process is not None:
        Child.process.stdin.close()
        Child.process.wait(timeout=60)
        Child.process = None


def load_in_child(paths):
    """[path, 'accept' or the name of our error, message, seconds] per path; a crash or another error fails the test."""
    return [Child.load(path) for path in paths]


def refused(path, message, error=CheckpointError):
    """`path` is refused with this message, in one line that names it, fast, in a child with little memory."""
    ((_, outcome, text, seconds),) = load_in_child([path])
    assert outcome != "accept" and "\n" not in text and path.name in text and seconds < SECONDS, (outcome, text, seconds)
    with pytest.raises(error, match=message):
        load_generator(path)


@pytest.fixture(scope="module")
def outcomes():
    for marker in MARKERS:
        assert not marker.exists(), f"{marker} is left from elsewhere; remove it"
    rows = load_in_child([ADVERSARIAL / entry["file"] for entry in MANIFEST])
    return {Path(path).name: (outcome, message, seconds) for path, outcome, message, seconds in rows}


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space of a child")
@pytest.mark.parametrize("entry", MANIFEST, ids=lambda entry: entry["file"])
def test_adversarial_files(entry, outcomes):
    outcome, message, seconds = outcomes[entry["file"]]
    if entry["expect"] == "accept":
        assert outcome == "accept", message
    elif entry["expect"] == "reject":
        assert outcome != "accept"
    assert seconds < SECONDS
    assert "\n" not in message and "\x1b" not in message
    if outcome != "accept":
        assert entry["file"] in message
    if entry["marker"]:
        assert not Path(entry["marker"]).exists()


def test_what_the_manifest_leaves_open_is_decided():
    for name in ("trailing_garbage.pkl", "float64_weight.pkl", "ros_module_prefix.pt", "ros_state_dict_only.pt"):
        assert load_generator(ADVERSARIAL / name) is not None
    assert "70 bytes behind the end" in read_checkpoint(ADVERSARIAL / "trailing_garbage.pkl").provenance["warnings"][0]
    for name in ("nan_weight.pkl", "inf_w_avg.pkl", "ros_nan.pt", "init_kwargs_mismatch.pkl", "zip_path_traversal.pt"):
        with pytest.raises(CheckpointError):
            load_generator(ADVERSARIAL / name)
    assert set(open_contents(ADVERSARIAL / "valid.safetensors").header.views) == {"w"}


def test_markers_do_not_exist():
    assert not [marker for marker in MARKERS if marker.exists()]


# The hostile checkpoints 1 to 17.


class Bomb:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def torch_zip(path, tree_bytes, members=(), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", tree_bytes)
        for name, data in members:
            archive.writestr(name, data)
    return path


def legacy_stream(tree: bytes, keys=(), storages=b"") -> bytes:
    magic, protocol = pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2)
    machine = pickle.dumps({"little_endian": True, "protocol_version": 1001, "type_sizes": {}}, 2)
    return magic + protocol + machine + tree + pickle.dumps(list(keys), 2) + storages


def call(module, name, arguments: bytes) -> bytes:
    """Opcodes of a call: arguments is what builds a tuple."""
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n" + arguments + b"R"


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    raw = value.to_bytes(16, "little", signed=True)
    return b"\x8a\x10" + raw


def tensor(key="0", numel=4, offset=0, size=(4,), stride=(1,)) -> bytes:
    """Opcodes of a tensor over the storage `key`."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(numel) + b"tQ"
    sizes = b"(" + b"".join(map(number, size)) + b"t"
    strides = b"(" + b"".join(map(number, stride)) + b"t"
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + sizes + strides + b"\x89" + hooks + b"tR"


def nested_stream(data: bytes) -> bytes:
    """Opcodes of a storage in a stream of its own, as NVIDIA's pickles have it."""
    return call("torch.storage", "_load_from_bytes", b"B" + struct.pack("<I", len(data)) + data + b"\x85")


def state_of(value: bytes) -> bytes:
    """A pickle of {'g_ema': {'input.input': value}}."""
    return b"\x80\x02}" + text("g_ema") + b"}" + text("input.input") + value + b"ss."


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("code", ["os.system", "builtins.eval", "builtins.exec", "runpy.run_path"])
def test_01_calls_of_functions(tmp_path, protocol, code):
    module, name = code.split(".")
    function = getattr(__import__(module), name)
    marker = tmp_path / "marker"
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"G_ema": Bomb(function, f"open({str(marker)!r}, 'w')")}, protocol))
    with pytest.raises(UnsafeCheckpointError, match=rf"refused (posix|nt|os|builtins|__builtin__|runpy)\.{name}"):
        load_generator(path)
    assert not marker.exists()


@pytest.mark.parametrize(("module", "name"), [("torch", "serialization.os.system"), ("numpy", "f2py.os.system")])
def test_02_dotted_names(tmp_path, module, name):
    stack_global = b"\x80\x04" + text(module) + text(name) + b"\x93" + text("true") + b"\x85R."
    (tmp_path / "a.pkl").write_bytes(stack_global)
    refused(tmp_path / "a.pkl", f"refused {module}.{name}", UnsafeCheckpointError)


def test_03_source_text_in_nvidia_files_is_in_the_tests_of_that_dialect():
    from tests.stylegan_core.checkpoints import test_nvlabs

    assert test_nvlabs.test_source_in_the_file_is_not_run and test_nvlabs.test_a_golden_file_with_source_text_put_into_it


def test_04_payloads_inside_of_storages(tmp_path):
    marker = tmp_path / "marker"
    payload = pickle.dumps(Bomb(eval, f"open({str(marker)!r}, 'w')"), 2)
    inner = legacy_stream(payload)
    twice = legacy_stream(b"\x80\x02" + nested_stream(inner) + b".")
    for blob in (inner, twice, payload, b"", b"\x80\x02N."):
        nested = nested_stream(blob)
        value = b"ctorch._utils\n_rebuild_tensor_v2\n(" + nested + b"K\x00K\x04\x85K\x01\x85\x89}tR"
        (tmp_path / "a.pkl").write_bytes(state_of(value))
        refused(tmp_path / "a.pkl", "refused|damaged|truncated|ends in the middle")
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", ["torch.load", "torch.hub.load", "numpy.load", "_codecs.decode", "builtins.getattr", "torch.Tensor", "builtins.bytearray"]
)
def test_05_and_09_names_that_look_harmless(tmp_path, name):
    module, function = name.rsplit(".", 1)
    (tmp_path / "a.pkl").write_bytes(state_of(call(module, function, number(20_000_000_000) + b"\x85")))
    refused(tmp_path / "a.pkl", f"refused {name}", UnsafeCheckpointError)


def test_05_bytes_of_protocol_2_have_one_encoding_only(tmp_path):
    blob = call("_codecs", "encode", text("x") + text("zlib") + b"\x86")
    nested = call("torch.storage", "_load_from_bytes", blob + b"\x85")
    value = b"ctorch._utils\n_rebuild_tensor_v2\n(" + nested + b"K\x00K\x04\x85K\x01\x85\x89}tR"
    (tmp_path / "a.pkl").write_bytes(state_of(value))
    refused(tmp_path / "a.pkl", "refused", UnsafeCheckpointError)


def test_06_deep_keys_and_members(tmp_path):
    deep = b")" + b"\x85" * 300_000
    bodies = [b"}" + deep + b"Ns", b"\x8f(" + deep + b"\x90", deep, b"]" * 300_000 + b"a" * 299_999]
    for index, body in enumerate(bodies):
        (tmp_path / f"{index}.pkl").write_bytes(b"\x80\x04" + body + b".")
        torch_zip(tmp_path / f"{index}.pt", b"\x80\x02" + body + b".")
        nested = legacy_stream(b"\x80\x02" + body + b".")
        value = b"ctorch._utils\n_rebuild_tensor_v2\n(" + nested_stream(nested) + b"K\x00K\x04\x85K\x01\x85\x89}tR"
        (tmp_path / f"{index}.nested.pkl").write_bytes(state_of(value))
    for _, outcome, message, seconds in load_in_child(sorted(tmp_path.iterdir())):
        assert outcome == "UnsafeCheckpointError" and ("nests" in message or "key" in message), message
        assert seconds < SECONDS


def test_07_declared_sizes_are_not_believed(tmp_path):
    for body in (
        b"r\xff\xff\xff\x7f",
        b"\x8e" + struct.pack("<Q", 2**62),
        b"\x95" + struct.pack("<Q", 2**60),
        b"X" + struct.pack("<I", 2**31),
        b"\x8d" + struct.pack("<Q", 2**63),
        b"\x8b" + struct.pack("<I", 2**31 - 1),
        b"\x96" + struct.pack("<Q", 2**40),
    ):
        (tmp_path / "a.pkl").write_bytes(b"\x80\x04N" + body + b".")
        refused(tmp_path / "a.pkl", "declares|truncated|memo number|integer of")


def test_08_doubling_through_the_memo(tmp_path):
    lists = b"]q\x00" + b"".join(
        b"]q" + bytes([i + 1]) + b"(h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(60)
    )
    whole = b"\x80\x02(" + lists + b"l."
    modules = b"}q\x00" + b"".join(
        b"}q" + bytes([i + 1]) + b"(" + text("a") + b"h" + bytes([i]) + text("b") + b"h" + bytes([i]) + b"u" for i in range(60)
    )
    for index, data in enumerate((whole, b"\x80\x02(" + modules + b"l.", b"\x80\x02}" + text("training_set_kwargs") + b"Ns.")):
        (tmp_path / f"{index}.pkl").write_bytes(data)
    for _, outcome, message, seconds in load_in_child(sorted(tmp_path.iterdir())):
        assert outcome != "accept" and seconds < SECONDS, message


def test_08_modules_that_share_children_are_not_walked_for_ever(tmp_path):
    def module(children: bytes) -> bytes:
        meta = b"}(" + text("type") + text("class") + text("version") + b"K\x06" + text("module_src") + text("")
        meta += text("class_name") + text("Generator") + text("state") + b"}" + text("_modules") + children + b"su"
        return call("torch_utils.persistence", "_reconstruct_persistent_obj", meta + b"\x85")

    data = module(b"}") + b"q\x00"
    for i in range(30):  # each holds the one before it twice
        both = text("a") + b"h" + bytes([i]) + text("b") + b"h" + bytes([i])
        data += module(b"}(" + both + b"u") + b"q" + bytes([i + 1])
    whole = b"\x80\x02(" + data + b"}" + text("G_ema") + b"h\x1es" + b"q\x7f1h\x7f."
    (tmp_path / "a.pkl").write_bytes(whole)
    refused(tmp_path / "a.pkl", "endless or far too many", UnsafeCheckpointError)


def test_09_arrays_that_declare_terabytes(tmp_path):
    dtype = call("numpy", "dtype", text("f4") + b"\x89\x88\x87") + b"(K\x03" + text("<") + b"NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"
    for shape in ((2**43,), (2**21, 2**21), (2**62, 2**62)):
        sizes = b"(" + b"".join(map(number, shape)) + b"t"
        array = call("numpy.core.multiarray", "_reconstruct", b"cnumpy\nndarray\nK\x00\x85C\x01b\x87")
        value = array + b"(K\x01" + sizes + dtype + b"\x89C\x04abcdtb"
        (tmp_path / "a.pkl").write_bytes(state_of(value))
        refused(tmp_path / "a.pkl", "element|bytes|more elements")


def test_10_two_files_in_one(tmp_path):
    good = (ADVERSARIAL / "valid_G_ema_only.pkl").read_bytes()
    evil = pickle.dumps(Bomb(eval, "1"), 2)
    archive = torch_zip(tmp_path / "z.pt", b"\x80\x02N.").read_bytes()
    for tail in (evil, good, archive, b"cos\nsystem\n(S'true'\ntR."):
        (tmp_path / "a.pkl").write_bytes(good + tail)
        refused(tmp_path / "a.pkl", "second file", UnsafeCheckpointError)
    stream = io.BytesIO()
    torch.save({"g_ema": {}}, stream, _use_new_zipfile_serialization=False)
    (tmp_path / "b.pt").write_bytes(stream.getvalue() + evil)
    refused(tmp_path / "b.pt", "second file", UnsafeCheckpointError)
    (tmp_path / "c.pt").write_bytes(archive + b"tail")
    refused(tmp_path / "c.pt", "appended|truncated")


@pytest.mark.parametrize(
    ("record", "numel", "message"),
    [
        (None, 4, "corrupt storage data/0: the archive does not hold it"),
        (b"x" * 12, 4, "corrupt storage data/0: 12 bytes where 16 are declared"),
        (b"x" * 20, 4, "corrupt storage data/0: 20 bytes where 16 are declared"),
        (b"x" * 16, 2**60, "corrupt storage data/0"),
        (b"x" * 16, -4, "corrupt storage"),
    ],
)
def test_11_storages_of_zips(tmp_path, record, numel, message):
    members = [] if record is None else [("archive/data/0", record)]
    path = torch_zip(tmp_path / "a.pt", state_of(tensor(numel=numel)), members)
    refused(path, message)


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(1, (4,), (1,)), (-1, (4,), (1,)), (0, (-4,), (1,)), (0, (4,), (-1,)), (0, (10**6, 10**6), (1, 1)), (2**100, (1,), (1,))],
)
def test_12_views_of_zips(tmp_path, offset, size, stride):
    path = torch_zip(tmp_path / "a.pt", state_of(tensor(offset=offset, size=size, stride=stride)), [("archive/data/0", b"x" * 16)])
    refused(path, "negative|reaches element|integer of")


def test_12_a_view_that_repeats_a_few_bytes_is_not_copied(tmp_path):
    # Each tensor is legal; what they would take together is not, and nothing is copied to find that out.
    original = torch.load(GOLDEN / "ckpt" / "ros_g32.pt", weights_only=True)["g_ema"]
    state = {name: torch.zeros(1).expand(value.shape) for name, value in original.items()}
    state["conv1.conv.weight"] = torch.zeros(1).expand(1, 10**6, 10**6, 3, 3)
    torch.save({"g_ema": state}, tmp_path / "a.pt")
    refused(tmp_path / "a.pt", "GiB|range|allowed|shape|filter", CheckpointError)


def test_13_hostile_zips(tmp_path):
    tree = b"\x80\x02N."
    torch_zip(tmp_path / "bomb.pt", tree, [("archive/data/0", bytes(100_000_000))], zipfile.ZIP_DEFLATED)
    with pytest.warns(UserWarning, match="Duplicate name"):
        torch_zip(tmp_path / "twice.pt", tree, [("archive/data/0", b"1"), ("archive/data/0", b"2")])
    torch_zip(tmp_path / "up.pt", tree, [("archive/../../evil", b"1")])
    torch_zip(tmp_path / "root.pt", tree, [("/etc/evil", b"1")])
    torch_zip(tmp_path / "drive.pt", tree, [("C:\\evil", b"1")])
    torch_zip(tmp_path / "tops.pt", tree, [("other/data/0", b"1")])
    data = bytearray(torch_zip(tmp_path / "locked.pt", tree).read_bytes())
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(magic) + at] |= 1
    (tmp_path / "locked.pt").write_bytes(data)
    data = bytearray(torch_zip(tmp_path / "crc.pt", tree).read_bytes())
    data[data.find(tree)] ^= 1
    (tmp_path / "crc.pt").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "many.pt", "w") as archive:
        for index in range(25_000):
            archive.writestr(f"archive/data/{index}", b"")
    before = {path.name for path in tmp_path.iterdir()}
    for path, outcome, message, seconds in load_in_child(sorted(tmp_path.iterdir())):
        assert outcome in ("UnsafeCheckpointError", "CheckpointError"), (path, message)
        assert seconds < SECONDS and "\n" not in message
    assert {path.name for path in tmp_path.iterdir()} == before and not (tmp_path.parent / "evil").exists()


def test_13_a_directory_of_a_million_entries_is_not_read(tmp_path):
    path = torch_zip(tmp_path / "a.pt", b"\x80\x02N.")
    data = bytearray(path.read_bytes())
    end = data.rfind(b"PK\x05\x06")
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    wide = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 10**6, 10**6, 10**8, 0)
    struct.pack_into("<4H2I", data, end + 4, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    path.write_bytes(bytes(data[:end]) + wide + locator + bytes(data[end:]))
    refused(path, "more than 20000 files", UnsafeCheckpointError)


def test_14_state_dictionaries(tmp_path):
    overwritten = b"ccollections\nOrderedDict\n)R}" + text("items") + b"K\x01sb"
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02}" + text("g_ema") + overwritten + b"s.")
    refused(tmp_path / "a.pkl", "overwrites attributes", UnsafeCheckpointError)
    good = torch.load(GOLDEN / "ckpt" / "ros_g32.pt", weights_only=True)["g_ema"]
    for index, change in enumerate((
        lambda state: state.update({7: torch.zeros(1)}),
        lambda state: state.update({"module.input.input": torch.zeros(1)}),
        lambda state: state.update({"\x1b[2J\nname": torch.zeros(1)}),
        lambda state: state.pop("input.input"),
        lambda state: state.update({"input.input": torch.zeros(1, 24, 4, 5)}),
        lambda state: state.update({"input.input": torch.zeros(1, 24, 4, 4, dtype=torch.uint8)}),
    )):  # fmt: skip
        state = collections.OrderedDict(good)
        change(state)
        torch.save({"g_ema": state}, tmp_path / f"{index}.pt")
        refused(tmp_path / f"{index}.pt", "is not a tensor|does not belong|is missing|shape|uint8")


def test_15_values_and_sizes_that_no_network_has_are_in_the_tests_of_the_native_files():
    from tests.stylegan_core.checkpoints import test_native

    assert test_native.test_files_that_were_tampered_with_are_refused


def safetensors_file(header: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + body


def entry(dtype="F32", shape=(1,), offsets=(0, 4)) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


HEADERS = {
    "length 2^63": safetensors_file(b"{}", length=2**63),
    "length 100 MB + 1": safetensors_file(b"{}", length=100_000_001),
    "overlap": safetensors_file(json.dumps({"a": entry(), "b": entry()}).encode(), b"1234"),
    "hole": safetensors_file(json.dumps({"a": entry(), "b": entry(offsets=(8, 12))}).encode(), b"1" * 12),
    "out of range": safetensors_file(json.dumps({"a": entry(offsets=(4, 8))}).encode(), b"1234"),
    "shape": safetensors_file(json.dumps({"a": entry(shape=(9,))}).encode(), b"1234"),
    "shape 2^80": safetensors_file(json.dumps({"a": entry(shape=(2**80,))}).encode(), b"1234"),
    "shape that wraps around": safetensors_file(json.dumps({"a": entry(shape=(2**62, 4, 0, 1))}).encode(), b"1234"),
    "trailing bytes": safetensors_file(json.dumps({"a": entry()}).encode(), b"12345"),
    "bad UTF-8": safetensors_file(b'{"\xff": 1}'),
    "deep JSON": safetensors_file(b'{"a":' * 100_000),
    "truncated": safetensors_file(json.dumps({"a": entry()}).encode(), b"12"),
    "negative": safetensors_file(json.dumps({"a": entry(offsets=(-4, 0))}).encode(), b"1234"),
    "bad dtype": safetensors_file(json.dumps({"a": entry("OBJ")}).encode(), b"1234"),
    "metadata that are not text": safetensors_file(b'{"__metadata__": {"format": 1}}'),
    "reversed offsets": safetensors_file(json.dumps({"a": entry(offsets=(4, 0))}).encode(), b"1234"),
    "not JSON": safetensors_file(b"{not json}"),
    "a name twice": safetensors_file(b'{"a": 1, ' + json.dumps({"a": entry()}).encode()[1:], b"1234"),
    "50 MB of metadata": safetensors_file(json.dumps({"__metadata__": {"config": "x" * 50_000_000}}).encode()),
    "a number beyond all": safetensors_file(b'{"a": {"dtype": "F32", "shape": [1e400], "data_offsets": [0, 4]}}', b"1234"),
    "not a number": safetensors_file(b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}}', b"1234"),
    "offsets that are not numbers": safetensors_file(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": ["0", 4]}}', b"1234"),
}  # fmt: skip


def test_16_safetensors_headers(tmp_path):
    for index, data in enumerate(HEADERS.values()):
        (tmp_path / f"{index:02d}.safetensors").write_bytes(data)
    rows = load_in_child(sorted(tmp_path.iterdir()))
    for name, (_, outcome, message, seconds) in zip(HEADERS, rows, strict=True):
        assert outcome in ("CheckpointError", "UnsafeCheckpointError"), (name, message)
        assert "\n" not in message and seconds < SECONDS, name


@pytest.mark.parametrize("suffix", [".safetensors", ".SAFETENSORS", ".pt", ""])
def test_16_the_suffix_is_not_believed(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps(Bomb(eval, "1"), 2))
    refused(path, r"refused builtins\.eval|refused __builtin__\.eval", UnsafeCheckpointError)
    path.write_bytes((ADVERSARIAL / "valid_G_ema_only.pkl").read_bytes())
    assert load_generator(path).provenance["dialect"] == "nvlabs"


def test_17_arrays_are_never_unpickled(tmp_path):
    marker = tmp_path / "marker"
    np.save(tmp_path / "a.npy", np.array([Bomb(eval, f"open({str(marker)!r}, 'w')")], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", w=np.array([Bomb(eval, f"open({str(marker)!r}, 'w')")], dtype=object))
    np.savez(tmp_path / "nan.npz", w=np.full((1, 14, 8), np.nan, dtype="f4"))
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
    header += b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000,), }".ljust(117) + b"\n"
    (tmp_path / "huge.npy").write_bytes(header + b"1234")
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("w.npy", header + b"1234")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", header.replace(b"1000000000000000", b"15000000        ") + bytes(60_000_000))
    for path, outcome, message, seconds in load_in_child(sorted(tmp_path.iterdir())):
        assert outcome != "accept" and "\n" not in message, (path, message)
        assert seconds < SECONDS
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(CheckpointError):
            load_generator(path)
        with pytest.raises(InversionError):
            Inversion.load(path)
    assert not marker.exists()


# Files that are not files.


def test_paths_that_are_not_files(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "folder").mkdir()
    for path, message in (
        (tmp_path / "missing.pkl", "no such file"),
        (tmp_path / "pipe", "a device or a pipe"),
        (tmp_path / "loop", "cannot be opened|neither a file"),
        (tmp_path / "folder", "is a folder"),
        (Path("/dev/zero"), "a device or a pipe"),
        (tmp_path / "x\n\x1b[2J\u202e.pkl", r"x\\x0a\\x1b\[2J\\u202e\.pkl: no such file"),
    ):
        start = time.monotonic()
        with pytest.raises(InvertError, match=message) as caught:
            read_checkpoint(path)
        assert time.monotonic() - start < SECONDS and "\n" not in str(caught.value)


def test_a_reference_to_a_storage_is_read_in_no_plain_pickle(tmp_path):
    (tmp_path / "a.pkl").write_bytes(state_of(tensor()))
    refused(tmp_path / "a.pkl", "outside data", UnsafeCheckpointError)


def test_checksums_of_storages_are_compared(tmp_path):
    path = torch_zip(tmp_path / "a.pt", state_of(tensor()), [("archive/data/0", b"0123456789abcdef")])
    contents = open_contents(path)
    view = contents.tensors.view(mapping_of(mapping_of(contents.tree)["g_ema"])["input.input"])
    assert zlib.crc32(view.data) == zlib.crc32(b"0123456789abcdef")
    path.write_bytes(path.read_bytes().replace(b"0123456789abcdef", b"0123456789abcdeX"))
    refused(path, "checksum")


def test_the_limit_of_the_child_is_real():
    assert Child.load("allocate") == "refused"


def test_discriminators_are_read_by_the_same_reader():
    with pytest.raises(CheckpointError):
        load_discriminator(ADVERSARIAL / "reduce_os_system.pkl")
