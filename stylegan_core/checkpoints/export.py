"""Generators for other runtimes: ONNX, TorchScript and torch.export programs, each compared with the network it was made of.

The graph is the plain form of the layers, with the noise maps that the network holds, a truncation that is fixed, and a batch
of any size. Layouts of checkpoints (native, rosinality, nvlabs) are `convert`'s.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_core.checkpoints.convert import LAYOUTS
from stylegan_core.errors import CheckpointError, MissingExtraError, UsageError
from stylegan_core.files import atomic_write, display
from stylegan_core.networks.configs import config_to_dict
from stylegan_core.provenance import model_sha256, version
from stylegan_core.seeds import zs_from_seeds

GRAPHS = ("onnx", "torchscript", "torch-export")
FORMATS = (*LAYOUTS, *GRAPHS)
SUFFIXES = {".onnx": "onnx", ".pt2": "torch-export", ".ts": "torchscript", ".safetensors": "native"}  # when none is named
PARTS = ("full", "mapping", "synthesis")
OPSET = 18
CHECKED_SEEDS = (0, 1, 2)  # a batch of another size than the graph was made with
MADE_WITH = 2              # pictures in the batch that is traced
TOLERANCE = 1e-3           # of the largest difference, relative to the largest value


@dataclass(frozen=True)
class Exported:
    """largest_error: of the file's outputs against the network's, over the largest output; None = nothing here could run it."""

    path: Path
    format: str
    part: str
    largest_error: float | None


class Part(nn.Module):
    """What is exported: full (z, c) → images, mapping (z, c) → ws, synthesis ws → images; c only for a conditional generator."""

    def __init__(self, generator: Any, part: str, truncation_psi: float):
        super().__init__()
        self.generator, self.part, self.truncation_psi = generator, part, truncation_psi
        self.is_conditional = generator.c_dim > 0 and part != "synthesis"

    @property
    def input_names(self) -> list[str]:
        """In the order of `forward`."""
        return ["ws"] if self.part == "synthesis" else ["z", "c"] if self.is_conditional else ["z"]

    def forward(self, latent: Tensor, c: Tensor | None = None) -> Tensor:
        if self.part == "synthesis":
            return self.generator.synthesis(latent, noise_mode="const")
        ws = self.generator.mapping(latent, c, truncation_psi=self.truncation_psi)
        return ws if self.part == "mapping" else self.generator.synthesis(ws, noise_mode="const")

    def inputs(self, seeds: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Inputs of these seeds, on the CPU."""
        z = zs_from_seeds(seeds, self.generator.z_dim)
        c = torch.eye(self.generator.c_dim)[[seed % self.generator.c_dim for seed in seeds]] if self.generator.c_dim else None
        if self.part == "synthesis":
            with torch.no_grad():
                return (self.generator.mapping(z, c),)
        return (z,) if c is None else (z, c)


def export(generator: Any, target: str | os.PathLike[str], format: str, *, part: str = "full", truncation_psi: float = 1.0) -> Exported:
    """Writes a graph of a generator (on the CPU, frozen) and compares it with the network on another batch.

    format: of GRAPHS. part: of PARTS. Raises MissingExtraError for ONNX without its packages, CheckpointError when the file's
    pictures are not the network's; it is removed then.
    """
    if format not in GRAPHS or part not in PARTS:
        raise UsageError(f"export of {part!r} as {format!r}: parts are {', '.join(PARTS)}, formats {', '.join(GRAPHS)}")
    module = Part(generator, part, truncation_psi).eval()
    facts = {
        "invert": version(), "model_sha256": model_sha256(generator), "config": json.dumps(config_to_dict(generator.config)),
        "part": part, "truncation_psi": str(truncation_psi), "noise": "const",
    }  # fmt: skip
    write, run = {"onnx": (write_onnx, run_onnx), "torchscript": (write_torchscript, run_torchscript),
                  "torch-export": (write_program, run_program)}[format]  # fmt: skip
    path = Path(target)
    with atomic_write(path) as temporary:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # exporters warn their developers
            write(module, temporary, facts)
            error = largest_error(module, temporary, run)
        if error is not None and not error <= TOLERANCE:
            raise CheckpointError(f"{display(path)}: the {format} graph differs from the network by {error:.2g} of its range; not written")
    return Exported(path, format, part, error)


def largest_error(module: Part, path: Path, run: Callable[[Path, dict[str, Tensor]], Tensor | None]) -> float | None:
    """Of what the file computes, relative to the largest value; None where nothing here can run it."""
    inputs = module.inputs(CHECKED_SEEDS)
    found = run(path, dict(zip(module.input_names, inputs)))
    if found is None:
        return None
    expected = module(*inputs)
    if found.shape != expected.shape:
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))


def write_onnx(module: Part, path: Path, facts: dict[str, str]) -> None:
    """torch.onnx's exporter; the batch is a dimension of any size."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"ONNX needs the extra 'onnx' ({error.name} is missing): pip install 'invert-gan[onnx]'") from None
    program: Any = torch.onnx.export(
        module, module.inputs(CHECKED_SEEDS[:MADE_WITH]), input_names=module.input_names,
        output_names=["ws" if module.part == "mapping" else "images"], opset_version=OPSET, dynamo=True, verbose=False,
        dynamic_shapes=dynamic_shapes(module), external_data=False,
    )  # fmt: skip
    program.model.metadata_props.update(facts)
    program.save(str(path), external_data=False)


def run_onnx(path: Path, inputs: dict[str, Tensor]) -> Tensor | None:
    """By onnxruntime on the CPU, if it is installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {name: value.numpy() for name, value in inputs.items()})[0])


def write_torchscript(module: Part, path: Path, facts: dict[str, str]) -> None:
    """A trace, with the facts as files in the archive."""
    script: Any = torch.jit.trace(module, module.inputs(CHECKED_SEEDS[:MADE_WITH]), check_trace=False)
    torch.jit.save(script, str(path), _extra_files=facts)


def run_torchscript(path: Path, inputs: dict[str, Tensor]) -> Tensor:
    """The file that was just written."""
    script: Any = torch.jit.load(str(path))
    return script(*inputs.values())  # type: ignore[no-any-return]


def write_program(module: Part, path: Path, facts: dict[str, str]) -> None:
    """torch.export's program (.pt2), which keeps its operators without Python."""
    program = torch.export.export(module, module.inputs(CHECKED_SEEDS[:MADE_WITH]), dynamic_shapes=dynamic_shapes(module), strict=False)
    with open(path, "wb") as file:
        torch.export.save(program, file, extra_files=facts)


def run_program(path: Path, inputs: dict[str, Tensor]) -> Tensor:
    """The file that was just written."""
    with open(path, "rb") as file:
        return torch.export.load(file).module()(*inputs.values())  # type: ignore[no-any-return]


def dynamic_shapes(module: Part) -> tuple[Any, ...]:
    """The first dimension of every input is the batch."""
    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    return tuple({0: batch} for _ in module.input_names)


def format_of(path: Path) -> str:
    """The format that a suffix means. Raises UsageError for one that may mean several."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"-o {display(path)}: say --format, one of {', '.join(FORMATS)}; only {', '.join(SUFFIXES)} speak for themselves")
    return SUFFIXES[path.suffix.lower()]
