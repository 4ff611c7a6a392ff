from __future__ import annotations

import argparse
import pickle
import struct
from collections import OrderedDict
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylegan_core.checkpoints.inert_pickle import Limits, read_pickle
from stylegan_core.checkpoints.inert_tree import (
    CHECKPOINT_NAMES,
    bytes_of,
    mapping_of,
    number_of,
    plain_value,
)
from stylegan_core.errors import CheckpointError, UnsafeCheckpointError

NO_NAMES = frozenset()


def tree_of(data: bytes, allowed=CHECKPOINT_NAMES, **options):
    tree, end = read_pickle(memoryview(data), allowed, **options)
    assert end == len(data)
    return tree


def with_bytes(node):
    """Views as bytes, so that trees compare."""
    if isinstance(node, memoryview):
        return bytes(node)
    if isinstance(node, dict):
        return {key: with_bytes(value) for key, value in node.items()}
    return type(node)(with_bytes(value) for value in node) if isinstance(node, (list, tuple)) else node


numbers = st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False)
scalars = st.none() | numbers | st.text() | st.binary()
keys = st.text() | st.integers(-(2**62), 2**62)
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
    max_leaves=20,
)


@settings(deadline=None, max_examples=150)
@given(value=plain, protocol=st.integers(3, 5))
def test_plain_data_is_read_as_pickle_reads_it(value, protocol):
    assert with_bytes(tree_of(pickle.dumps(value, protocol), NO_NAMES)) == value


def test_shared_and_self_containing_values():
    shared = [1, 2]
    tree = tree_of(pickle.dumps([shared, shared], 2))
    assert tree[0] is tree[1]
    endless: list = []
    endless.append(endless)
    tree = tree_of(pickle.dumps(endless, 4))
    assert tree[0] is tree
    with pytest.raises(UnsafeCheckpointError, match="endless"):
        plain_value(tree)


def test_bytes_are_views_not_copies():
    data = pickle.dumps(b"x" * 1000, 3)
    assert tree_of(data, NO_NAMES).obj is data


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_records_become_plain_values(protocol):
    namespace = argparse.Namespace(size=256, name="x", betas=(0.0, 0.99))
    ordered = OrderedDict(a=1, b=[2, None])
    values = {"args": namespace, "o": ordered, "n": np.float32(0.5), "i": np.int64(7), "s": {"one"}}
    data = pickle.dumps(values, protocol)
    tree = tree_of(data)
    assert plain_value(tree) == {
        "args": {"size": 256, "name": "x", "betas": [0.0, 0.99]},
        "o": {"a": 1, "b": [2, None]},
        "n": 0.5,
        "i": 7,
        "s": ["one"],
    }
    assert mapping_of(tree["o"]) == {"a": 1, "b": [2, None]}
    assert number_of(tree["n"]) == 0.5 and number_of("7") is None


def test_bytes_as_protocol_2_spells_them():
    assert bytes(bytes_of(tree_of(pickle.dumps(bytes(range(256)), 2)))) == bytes(range(256))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_name_that_no_checkpoint_needs_is_refused_by_name(protocol):
    with pytest.raises(UnsafeCheckpointError, match=r"refused builtins\.eval|refused __builtin__\.eval"):
        tree_of(pickle.dumps(eval, protocol))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends in the middle"),
        (b"\x80\x02", "ends in the middle"),
        (b"\x80\x02.", "more or less than one value"),
        (b"\x80\x02NN.", "more or less than one value"),
        (b"\x80\x02(N.", "more or less than one value"),
        (b"\x80\x09N.", "protocol 9"),
        (b"\x80\x02K", "declares 1 bytes where 0"),
        (b"\x80\x02X\x04\x00\x00\x00ab", "declares 4 bytes where 2"),
        (b"\x80\x02X\x01\x00\x00\x00\xff.", "not UTF-8"),
        (b"\x80\x02h\x05.", "memo number 5"),
        (b"\x80\x02e.", "too little"),
        (b"\x80\x02\x86.", "too few"),
        (b"\x80\x02]K\x01K\x02s.", "not a dictionary"),
        (b"\x80\x02}K\x01a.", "not a list"),
        (b"\x80\x02}(K\x01u.", "not a dictionary"),
        (b"\x80\x02cos", "no end"),
        (b"\x80\x02ccollections\nOrderedDict\nNR.", "not a tuple"),
        (b"\x80\x02NN\x93.", "not text"),
    ],
)
def test_damaged_pickles_say_what_is_wrong(data, message):
    with pytest.raises(CheckpointError, match=message):
        read_pickle(memoryview(data), CHECKPOINT_NAMES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x02K\x01)R.", "not a plain name"),
        (b"\x80\x02}}b.", "not an object"),
        (b"\x80\x02ccollections\nOrderedDict\n)R}b}b.", "twice"),
        (b"\x80\x02})Ns.", "not text or a number"),
        (b"\x80\x02}G\x00\x00\x00\x00\x00\x00\x00\x00Ns.", "not text or a number"),
        (b"\x80\x02}\x8a\x0f" + b"\x01" * 15 + b"Ns.", "not text or a number"),
        (b"\x80\x02}K\x01NsK\x01Ns.", "twice"),
        (b"\x80\x02}q\x00r\xff\xff\xff\x7f.", "memo number"),
        (b"\x80\x02\x8b\x00\x00\x00\x40.", "integer of"),
        (b"\x80\x02U\x01aQ.", "outside data"),
        (b"\x80\x02Pabc\n.", "opcode 'P'"),
        (b"\x80\x02\x82\x01.", "opcode"),
        (b"\x80\x02cos\nsystem\n.", r"refused os\.system"),
        (b"\x80\x04\x8c\x05torch\x8c\x17serialization.os.system\x93.", r"refused torch\.serialization\.os\.system"),
        (b"\x80\x02(ios\nsystem\n.", r"refused os\.system"),
        (b"\x80\x02(icollections\nOrderedDict\n.", "opcode 'i'"),
    ],
)
def test_what_no_checkpoint_does_is_refused(data, message):
    with pytest.raises(UnsafeCheckpointError, match=message):
        read_pickle(memoryview(data), CHECKPOINT_NAMES)


def test_limits_hold():
    assert tree_of(b"\x80\x02" + b"(l" * 3 + b"a" * 2 + b".") == [[[]]]
    for data, limits in (
        (b"N0" * 60 + b"N.", Limits(opcodes=100)),
        (b")" + b"\x85" * 50 + b".", Limits(depth=40)),
        (b"]" * 50 + b"a" * 49 + b".", Limits(depth=40)),
        (pickle.dumps(["x" * 600, "y" * 600], 4), Limits(text_bytes=1000)),
    ):
        with pytest.raises(UnsafeCheckpointError):
            read_pickle(memoryview(data), NO_NAMES, limits=limits)


def test_an_overwritten_dictionary_is_refused():
    data = b"\x80\x02ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsK\x01sb."
    with pytest.raises(UnsafeCheckpointError, match="overwrites"):
        mapping_of(tree_of(data))
    data = b"\x80\x02ccollections\nOrderedDict\n)R}X\x09\x00\x00\x00_metadata}sb."
    assert mapping_of(tree_of(data)) == {}


def test_truncation_at_every_byte_is_an_error_of_ours():
    data = pickle.dumps({"a": [1, 2.5, "text", b"bytes", (None, True)], "o": OrderedDict(x=1)}, 4)
    for length in range(len(data)):
        with pytest.raises(CheckpointError):
            read_pickle(memoryview(data)[:length], CHECKPOINT_NAMES)


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=60), position=st.integers(0, 400), value=st.integers(0, 255))
def test_noise_never_raises_anything_else(data, position, value):
    valid = bytearray(pickle.dumps({"a": [1, 2.5, "text"], "o": OrderedDict(x=np.float32(1))}, 4))
    valid[position % len(valid)] = value
    for candidate in (data, bytes(valid), b"\x80\x02" + data, struct.pack("<B", value) + data):
        with suppress(CheckpointError):
            plain_value(read_pickle(memoryview(candidate), CHECKPOINT_NAMES, persistent=[])[0])
