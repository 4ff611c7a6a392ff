"""Graphs for other runtimes draw what the network draws, in batches of another size than they were made with."""

from __future__ import annotations

import json

import pytest
import torch

from stylegan_core.checkpoints import export as exporting
from stylegan_core.checkpoints.export import export, format_of
from stylegan_core.errors import CheckpointError, MissingExtraError, UsageError
from stylegan_core.provenance import model_sha256
from tests.tiny import tiny_generator

CASES = [("full", {}), ("synthesis", {"architecture": "resnet", "conv_clamp": 256}), ("mapping", {}), ("full", {"c_dim": 3})]


def frozen(**config):
    return tiny_generator(**config).requires_grad_(False).eval()


@pytest.mark.parametrize("part, config", CASES)
def test_torchscript(tmp_path, part, config):
    generator = frozen(**config)
    result = export(generator, tmp_path / "g.ts", "torchscript", part=part, truncation_psi=0.7)
    assert result.largest_error < 1e-5
    facts = {"model_sha256": "", "truncation_psi": "", "part": ""}
    script = torch.jit.load(str(tmp_path / "g.ts"), _extra_files=facts)
    assert facts["model_sha256"].decode() == model_sha256(generator) and facts["truncation_psi"] == b"0.7"
    if (part, config) == ("full", {}):
        z = torch.randn(5, 16, generator=torch.Generator().manual_seed(3))
        assert torch.allclose(script(z), generator(z, truncation_psi=0.7), atol=1e-5)


@pytest.mark.parametrize("part, config", CASES[:2])
def test_torch_export(tmp_path, part, config):
    generator = frozen(**config)
    assert export(generator, tmp_path / "g.pt2", "torch-export", part=part).largest_error < 1e-5
    program = torch.export.load(str(tmp_path / "g.pt2")).module()
    z = torch.randn(1, 16, generator=torch.Generator().manual_seed(3))
    inputs = z if part == "full" else generator.mapping(z)
    assert torch.allclose(program(inputs), generator(z), atol=1e-5)


@pytest.mark.parametrize("part, config", CASES)
def test_onnx(tmp_path, part, config):
    pytest.importorskip("onnxscript")
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    generator = frozen(**config)
    result = export(generator, tmp_path / "g.onnx", "onnx", part=part, truncation_psi=0.7)
    assert result.largest_error < 1e-4
    model = onnx.load(str(tmp_path / "g.onnx"))
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["model_sha256"] == model_sha256(generator) and json.loads(facts["config"])["img_resolution"] == 16
    names = {"full": ["z", "c"][: 1 + bool(config)], "synthesis": ["ws"], "mapping": ["z"]}
    assert [tensor.name for tensor in model.graph.input] == names[part]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param  # any batch


def test_without_onnx_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"invert-gan\[onnx\]"):
        export(frozen(), tmp_path / "g.onnx", "onnx")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_draws_something_else_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "run_torchscript", lambda path, inputs: torch.zeros(3, 3, 16, 16))
    with pytest.raises(CheckpointError, match="differs from the network"):
        export(frozen(), tmp_path / "g.ts", "torchscript")
    assert not list(tmp_path.iterdir())


def test_formats_by_suffix_and_what_cannot_be(tmp_path):
    assert [format_of(tmp_path / name) for name in ("a.onnx", "a.PT2", "a.ts", "a.safetensors")] == [
        "onnx", "torch-export", "torchscript", "native"]  # fmt: skip
    with pytest.raises(UsageError, match="--format"):
        format_of(tmp_path / "a.pt")
    for wrong in ({"format": "coreml"}, {"format": "onnx", "part": "half"}):
        with pytest.raises(UsageError, match="parts are full"):
            export(frozen(), tmp_path / "g", **wrong)
