from __future__ import annotations

import hashlib

import torch

from stylegan_core.provenance import file_sha256, model_sha256, version


def test_the_hash_of_a_model_is_that_of_its_names_shapes_and_values():
    state = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(2.0)}
    digest = hashlib.sha256()
    digest.update(b"a\0float32\0()\0" + torch.tensor(2.0).numpy().tobytes())
    digest.update(b"b\0float32\0(2, 3)\0" + torch.arange(6.0).numpy().tobytes())
    assert model_sha256(state) == digest.hexdigest()


def test_order_precision_and_layout_do_not_matter_but_values_shapes_and_names_do():
    weight = torch.arange(6.0).reshape(2, 3)
    reference = model_sha256({"x": weight, "y": weight})
    assert model_sha256({"y": weight.half(), "x": weight.t().contiguous().t()}) == reference
    assert model_sha256({"x": weight, "y": weight + 1}) != reference
    assert model_sha256({"x": weight, "y": weight.reshape(3, 2)}) != reference
    assert model_sha256({"x": weight, "z": weight}) != reference


def test_a_module_is_its_state():
    linear = torch.nn.Linear(3, 2)
    assert model_sha256(linear) == model_sha256(dict(linear.state_dict()))


def test_file_hash_and_version(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    assert file_sha256(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert version() and isinstance(version(), str)
