"""A generator that is quicker and a little less exact, for the steps of an optimisation: bfloat16, torch.compile.

What is shown, saved or reported is rendered by the generator itself, in float32.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.generator import RNG, Generator, place_of

PRECISIONS = ("fp32", "bf16", "auto")


def accelerate(generator: Generator, *, precision: str = "fp32", compile: bool = False) -> Any:
    """The same generator, with the same weights, whose `synthesis` runs as asked; pictures stay float32.

    precision: 'bf16' = autocast; 'auto' = bf16 where the device multiplies it fast. compile: torch.compile, which takes a minute for
    every batch size that it meets. Raises UsageError for another precision, and where nothing is there to compile with.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r}: one of {', '.join(PRECISIONS)} is allowed")
    device = place_of(generator)[0]
    if precision == "auto":
        precision = "bf16" if has_fast_bf16(device) else "fp32"
    if compile:
        check_compiler(device)
    if precision == "fp32" and not compile:
        return generator
    return _AcceleratedGenerator(generator, _AcceleratedSynthesis(generator.synthesis, device, precision == "bf16", compile))


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16 products; elsewhere they are emulated, and slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type == "cpu":
        probes = [getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")]
        return any(probe() for probe in probes if probe is not None)
    return False


class _AcceleratedGenerator:
    """Everything but `synthesis` is the original's."""

    def __init__(self, generator: Any, synthesis: _AcceleratedSynthesis):
        self._generator, self.synthesis = generator, synthesis

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)

    def __call__(self, z: Tensor, c: Tensor | None = None, truncation_psi: float = 1.0, truncation_cutoff: int | None = None,
                 **options: Any) -> Tensor:
        ws = self._generator.mapping(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
        return self.synthesis(ws, **options)


class _AcceleratedSynthesis:
    """The calls of a synthesis network; styles are computed as ever, since they are few."""

    def __init__(self, synthesis: Any, device: torch.device, is_bf16: bool, is_compiled: bool):
        self._synthesis, self._device, self._is_bf16 = synthesis, device, is_bf16
        self._render: Callable[..., Tensor] = torch.compile(synthesis.render, dynamic=False) if is_compiled else synthesis.render

    def __getattr__(self, name: str) -> Any:
        return getattr(self._synthesis, name)

    def __call__(self, ws: Tensor, noise_mode: str = "const", noise: Mapping[str, Tensor] | None = None, rng: RNG = None,
                 force_fp32: bool | None = None) -> Tensor:
        return self.render(self._synthesis.affine(ws), noise_mode=noise_mode, noise=noise, rng=rng)

    def render(self, styles: Tensor, noise_mode: str = "const", noise: Mapping[str, Tensor] | None = None, rng: RNG = None) -> Tensor:
        """As the original's; random noise is drawn outside of what is compiled."""
        maps = self._synthesis.noise_maps(styles, noise_mode, noise, rng)
        with torch.autocast(self._device.type, torch.bfloat16) if self._is_bf16 else nullcontext():
            return self._render(styles, noise_mode="const" if maps else "none", noise=maps).float()


def check_compiler(device: torch.device) -> None:
    """Raises UsageError where torch.compile has nothing to compile with."""
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise UsageError("torch.compile needs the package triton on CUDA, which is not installed; leave compile off")
    elif not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++", "cl")):
        raise UsageError("torch.compile needs a C++ compiler, and neither g++ nor clang++ is on the path; install one or leave compile off")
