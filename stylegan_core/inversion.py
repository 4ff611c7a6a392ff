"""The common currency: what encoders, projectors, tuning and edits return, render and save; one image per file."""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from stylegan_core.errors import InversionError, LatentError
from stylegan_core.files import atomic_write, display
from stylegan_core.generator import Generator, place_of
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.noise import Noise, check_noise
from stylegan_core.packed_delta import PackedDelta, cat_deltas, packed_header, unpacked_header
from stylegan_core.weight_deltas import call_with, check_deltas

FORMAT = "invert-inversion"
FORMAT_VERSION = 1
PACKED = "packed."  # what the names of the parts of packed weight changes begin with
MAX_NPZ_BYTES = 32 << 20
IMAGES = "images"  # in the metadata of a batch: what differs from image to image, a list of N dicts


@dataclass(frozen=True)
class Inversion:
    """N images as latents, with all that is needed to render the same pixels again.

    noise: buffer name → [N, 1, H, W]; a buffer that is absent is the stored one. weight_deltas: parameter → its change,
    [N, *shape] or packed. geometry: how the picture was fitted. metadata: how it was made. For N > 1 both hold what all
    images share and, under "images", a list of what differs; `facts(i)` gives those of one image.
    """

    latent: Latent
    noise: dict[str, Tensor] = field(default_factory=dict)
    weight_deltas: dict[str, Tensor | PackedDelta] = field(default_factory=dict)
    geometry: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.latent)

    def __getitem__(self, index: int) -> Inversion:
        """Image `index` as an inversion of one image."""
        latent = self.latent[index]
        rows = slice(index % len(self), index % len(self) + 1)
        return Inversion(
            latent,
            {name: value[rows] for name, value in self.noise.items()},
            {name: value[rows] for name, value in self.weight_deltas.items()},
            facts_of(self.geometry, index),
            facts_of(self.metadata, index),
        )

    @classmethod
    def cat(cls, inversions: Sequence[Inversion]) -> Inversion:
        """One batch. Raises LatentError when spaces, noise inputs or changed weights differ."""
        if not inversions:
            raise InversionError("there is no inversion to put into a batch")
        singles = [inversion[i] for inversion in inversions for i in range(len(inversion))]
        names = set(singles[0].weight_deltas)
        if any(set(single.weight_deltas) != names for single in singles):
            raise LatentError("inversions that change different weights cannot form one batch; keep them apart")
        deltas = {
            name: cat_deltas([single.weight_deltas[name] for single in singles]) for name in singles[0].weight_deltas
        }
        noise = Noise.cat([Noise(single.noise) for single in singles]).maps
        return cls(
            Latent.cat([single.latent for single in singles]),
            noise,
            deltas,
            merged([single.geometry for single in singles]),
            merged([single.metadata for single in singles]),
        )

    def facts(self, index: int) -> dict[str, Any]:
        """The metadata of one image."""
        return facts_of(self.metadata, index)

    def to(self, *where: Any) -> Inversion:
        """device, dtype as Tensor.to takes them."""
        return replace(
            self,
            latent=self.latent.to(*where),
            noise={k: v.to(*where) for k, v in self.noise.items()},
            weight_deltas={k: v.to(*where) for k, v in self.weight_deltas.items()},
        )

    def check(self, generator: Generator) -> None:
        """Raises LatentError when latent, noise or deltas do not fit this generator."""
        self.latent.check(generator)
        check_noise(self.noise, generator, len(self))
        check_deltas(self.weight_deltas, generator, len(self))

    @torch.no_grad()
    def render(self, generator: Generator) -> Tensor:
        """→ images [N, C, H, W], not clamped; one at a time, so that a batch has the pixels of its single renders."""
        self.check(generator)
        images = []
        for i in range(len(self)):
            one = self[i].to(*place_of(generator))
            deltas = {name: value[0] if isinstance(value, Tensor) else value for name, value in one.weight_deltas.items()}
            images.append(call_with(generator, deltas, one._render_tuned))
        return torch.cat(images)

    def _render_tuned(self, generator: Generator) -> Tensor:
        return self.latent.render(generator, noise=self.noise)

    def save(self, path: str | os.PathLike[str]) -> None:
        """One image into one file, whole or not at all. Raises InversionError for a batch, OutputError."""
        if len(self) != 1:
            raise InversionError(
                f"a file holds one image, this inversion has {len(self)}; save inversion[0], inversion[1], … apart"
            )
        tensors = {"latent": self.latent.value}
        if self.latent.c is not None:
            tensors["c"] = self.latent.c
        tensors.update({f"noise.{name}": value for name, value in self.noise.items()})
        packed = {name: value for name, value in self.weight_deltas.items() if isinstance(value, PackedDelta)}
        tensors.update({f"delta.{name}": value for name, value in self.weight_deltas.items() if isinstance(value, Tensor)})
        for name, delta in packed.items():
            tensors.update({f"{PACKED}{name}.{part}": value for part, value in delta.parts.items()})
        header = {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION),
            "space": self.latent.space.value,
            "geometry": _to_json(self.geometry),
            "metadata": _to_json(self.metadata),
            "packed": _to_json(packed_header(packed)),
        }
        with atomic_write(path) as temporary:
            save_file(
                {name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary, metadata=header
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Inversion:
        """A file of `save`, or the projected_w.npz of official scripts (w without noise). Raises InversionError."""
        source = Path(path)
        try:
            with open(source, "rb") as file:
                is_zip = file.read(2) == b"PK"
        except OSError as error:
            raise InversionError(f"cannot read {display(source)}: {error.strerror or type(error).__name__}") from None
        return _read_npz(source) if is_zip else _read_safetensors(source)


def merged(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all share, and under "images" what differs; one image's facts stay flat."""
    if len(facts) == 1:
        return dict(facts[0])
    first = facts[0]
    shared = {
        key: value for key, value in first.items() if all(key in other and other[key] == value for other in facts[1:])
    }
    each = [{key: value for key, value in one.items() if key not in shared} for one in facts]
    return {**shared, IMAGES: each} if any(each) else shared


def facts_of(facts: Mapping[str, Any], index: int) -> dict[str, Any]:
    """The flat facts of one image of a batch."""
    each = facts.get(IMAGES)
    shared = {key: value for key, value in facts.items() if key != IMAGES}
    return {**shared, **each[index]} if isinstance(each, list) else shared


def _to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)


def _read_safetensors(source: Path) -> Inversion:
    name = display(source)
    try:
        with safe_open(source, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise InversionError(
                    f"{name} is not an inversion file (`invert project` and `invert encode` write them)"
                )
            if header.get("format_version") != str(FORMAT_VERSION):
                raise InversionError(
                    f"{name} has the format version {display(header.get('format_version'))}; this release reads "
                    f"{FORMAT_VERSION}; update invert-gan"
                )
            tensors = {key: file.get_tensor(key) for key in list(file.keys())}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InversionError(
            f"{name} is damaged or not a safetensors file ({display(error, max_length=120)})"
        ) from None
    if "latent" not in tensors:
        raise InversionError(f"{name} holds no tensor named latent")
    for key, value in tensors.items():
        is_number = value.is_floating_point() or key.startswith(PACKED)
        if not is_number or value.ndim < 1 or value.shape[0] != 1:
            raise InversionError(
                f"{name}: {display(key)} has the type {value.dtype} and the shape {tuple(value.shape)}; "
                "floating-point numbers of one image are needed"
            )
    try:
        space = LatentSpace(header.get("space"))
    except ValueError:
        raise InversionError(f"{name}: unknown space {display(header.get('space'))}") from None
    return Inversion(
        Latent(tensors["latent"], space, tensors.get("c")),
        _with_prefix(tensors, "noise."),
        {**_with_prefix(tensors, "delta."), **unpacked_header(_from_json(header.get("packed", "{}"), name), tensors, PACKED)},
        _from_json(header.get("geometry", "{}"), name),
        _from_json(header.get("metadata", "{}"), name),
    )


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}


def _from_json(text: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise InversionError(f"{name}: its metadata is not JSON") from None
    if not isinstance(value, dict):
        raise InversionError(f"{name}: its metadata is not a JSON object")
    return value


def _read_npz(source: Path) -> Inversion:
    """The official scripts save w as 'w' [1, num_ws, w_dim] and no noise, so their picture may differ."""
    name = display(source)
    try:
        with zipfile.ZipFile(source) as archive, archive.open("w.npy") as member:
            data = member.read(MAX_NPZ_BYTES + 1)
        w = _read_npy(data)
    except KeyError:
        raise InversionError(f"{name} holds no array named w; projected_w.npz of the official scripts does") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        problem = display(error, max_length=120)
        raise InversionError(f"{name} cannot be read as projected_w.npz ({problem})") from None
    if w.ndim not in (2, 3) or w.shape[0] != 1 or not np.isfinite(w).all():
        raise InversionError(f"{name}: w {w.shape}: finite numbers of the shape [1, num_ws, w_dim] are needed")
    space = LatentSpace.W if w.ndim == 2 else LatentSpace.W_PLUS
    return Inversion(Latent(torch.from_numpy(w), space))


def _read_npy(data: bytes) -> np.ndarray:
    """A .npy file in memory as float32; its claims are checked against its length before anything is allocated."""
    if len(data) > MAX_NPZ_BYTES:
        raise ValueError(f"w is larger than {MAX_NPZ_BYTES} bytes")
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"npy version {version} is not (1, 0)")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind != "f" or is_fortran:
        raise ValueError(f"w has the type {dtype}; floating-point numbers in C order are needed")
    if math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"w claims the shape {shape}, its length says otherwise")
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape).astype(np.float32)
