"""A model as commands use it: the network on its device, with the name and the hashes that records need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stylegan_core.errors import UnknownCheckpointError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from stylegan_core.generator import Generator


@dataclass(frozen=True)
class LoadedModel:
    """name: as typed. sha256: of the network's state. file_sha256: of its file; None where there is no single file."""

    name: str
    generator: Generator
    sha256: str
    file_sha256: str | None
    warnings: tuple[str, ...] = ()


def load_model(name: str, device: torch.device | str = "cpu", *, progress: Callable[[int, int | None], None] | None = None) -> LoadedModel:
    """Loads a generator by short name or path; progress: of a download. Raises the errors of `load_generator`."""
    from stylegan_core.checkpoints.registry import load_generator
    from stylegan_core.provenance import model_sha256

    try:
        generator = load_generator(name, progress=progress)
    except UnknownCheckpointError as error:
        if "encoders.load_encoder" not in str(error):
            raise
        generator = _decoder_of(name)
    sha256 = model_sha256(generator)
    provenance: Mapping[str, Any] = generator.provenance
    return LoadedModel(name, generator.to(device), sha256, provenance.get("model_file_sha256"), tuple(provenance.get("warnings", ())))


def _decoder_of(name: str) -> Any:
    """The generator inside a published encoder file."""
    from encoders.checkpoints import load_encoder
    from stylegan_core.provenance import file_sha256

    generator = load_encoder(name).generator
    object.__setattr__(generator, "provenance", {**generator.provenance, "model_file_sha256": file_sha256(name)})
    return generator


def class_label(generator: Generator, index: int | None) -> Tensor | None:
    """The label c [1, c_dim] of a class, on the generator's device; None for an unconditional generator.

    Raises UsageError for a missing class of a conditional generator, a class of an unconditional one, an unknown class.
    """
    import torch

    if generator.c_dim == 0:
        if index is not None:
            raise UsageError(f"--class {index}: this model has no classes (it is unconditional); leave --class out")
        return None
    if index is None:
        raise UsageError(f"this model has {generator.c_dim} classes; choose one with --class 0 … {generator.c_dim - 1}")
    if not 0 <= index < generator.c_dim:
        raise UsageError(f"--class {index}: this model has the classes 0 to {generator.c_dim - 1}")
    c = torch.zeros(1, generator.c_dim, device=generator.w_avg.device)
    c[0, index] = 1
    return c
