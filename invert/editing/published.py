"""Directions as other projects publish them: boundaries, PCA components, vectors in w, w+ and s, in .npy, .npz and .pt files.

Layouts (facts of the formats): an InterFaceGAN boundary is one unit normal [1, D]; e4e and its kin keep directions as one
tensor [1, D] or [num_ws, D], anycost-gan as a dictionary name → tensor; a GANSpace file holds lat_comp [K, 1, D], lat_mean,
lat_stdev [K]; the PCA files of e4e hold comp [K, 1, D], mean, std [K]; StyleCLIP moves styles, with or without those of torgb.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invert.editing.arrays import WHOLE, read_arrays
from invert.editing.direction import Direction
from invert.editing.layers import is_torgb, style_slices
from invert.editing.units import with_unit
from stylegan_core.errors import DirectionError
from stylegan_core.files import display
from stylegan_core.generator import Generator
from stylegan_core.latent import LatentSpace
from stylegan_core.provenance import file_sha256, model_sha256

COMPONENTS = {"lat_comp": ("lat_mean", "lat_stdev"), "comp": ("mean", "std")}  # GANSpace's own files; those of e4e


def import_directions(
    path: str | os.PathLike[str],
    generator: Generator,
    *,
    space: LatentSpace | str | None = None,
    name: str | None = None,
    model: str | None = None,
    licence: str = "",
) -> list[Direction]:
    """Reads a published file for this generator; one direction for a vector, K for K components.

    space: None = told by the shape ([…, D] is w, [num_ws, D] w+, the width of all styles s); a boundary in z has to be named.
    name: None = that of the file. licence: that of the file's project. Strength 1 is made one standard deviation: of a
    vector's own projection over samples of this generator, of a component as the file says. Raises DirectionError.
    """
    arrays = read_arrays(path)
    stem = name or Path(path).name.split(".")[0]
    source = {"method": "imported", "file": display(Path(path).name), "file_sha256": file_sha256(path)}
    common: dict[str, Any] = {"licence": licence, "model": model, "model_sha256": model_sha256(generator)}  # type: ignore[arg-type]
    for key, (mean, std) in COMPONENTS.items():
        if key in arrays:
            missing = [other for other in (mean, std) if other not in arrays]
            if missing:
                raise DirectionError(f"{display(Path(path))} has {key} but no {missing[0]}: it is no PCA file of GANSpace or e4e")
            chosen = LatentSpace.W if space is None else LatentSpace.parse(space)
            return _components(stem, arrays[key], arrays[mean], arrays[std], chosen, generator, source, common)
    directions = []
    for key, array in arrays.items():
        title = stem if key == WHOLE else f"{stem}-{key}" if name else key
        directions.append(_vector(title, array, space, generator, source, common, display(Path(path))))
    return directions


def _components(
    stem: str, comp: np.ndarray, mean: np.ndarray, std: np.ndarray, space: LatentSpace, generator: Generator,
    source: dict[str, Any], common: dict[str, Any],
) -> list[Direction]:  # fmt: skip
    """w + strength · std_k · comp_k, and where a latent stands is (w - mean) · comp_k / std_k."""
    rows = torch.from_numpy(comp.reshape(len(comp), -1)).float()
    centre, spread = torch.from_numpy(mean.reshape(-1)).float(), torch.from_numpy(std.reshape(-1)).float()
    if rows.shape[1] != space.shape(generator)[-1] or len(spread) != len(rows) or centre.shape != rows[0].shape:
        raise DirectionError(
            f"{source['file']}: components of {rows.shape[1]} numbers, mean of {len(centre)}, {len(spread)} standard deviations; "
            f"this model takes {space.shape(generator)[-1]} in {space.value}"
        )
    found = []
    for k, (row, sigma) in enumerate(zip(rows, spread.tolist())):
        if sigma > 0:
            normal = row / (row.square().sum() * sigma)
            found.append(Direction(f"{stem}-{k}", space, row * sigma, normal, float(normal @ centre),
                                   provenance={**source, "component": k, "std": sigma}, **common))  # fmt: skip
    return found


def _vector(
    name: str, array: np.ndarray, space: LatentSpace | str | None, generator: Generator,
    source: dict[str, Any], common: dict[str, Any], file: str,
) -> Direction:  # fmt: skip
    value = torch.from_numpy(np.ascontiguousarray(array)).float()
    value = value.reshape(value.shape[-2:]) if value.ndim > 2 and value.numel() == value.shape[-1] * value.shape[-2] else value
    if value.ndim == 2 and value.shape[0] == 1:
        value = value[0]
    chosen = _space_of(tuple(value.shape), generator) if space is None else LatentSpace.parse(space)
    if chosen is LatentSpace.S and value.ndim == 1:
        value = _with_torgb(value, generator)
    if chosen is None or tuple(value.shape) != chosen.shape(generator):
        known = ", ".join(f"{one.value} {one.shape(generator)}" for one in LatentSpace)
        raise DirectionError(f"{file}: an array of the shape {tuple(array.shape)} is no direction of this model, whose spaces are {known}")
    return with_unit(Direction(name, chosen, value, provenance=source, **common), generator)


def _space_of(shape: tuple[int, ...], generator: Generator) -> LatentSpace | None:
    for space in (LatentSpace.W, LatentSpace.W_PLUS, LatentSpace.S):
        if shape == space.shape(generator):
            return space
    return LatentSpace.S if shape == (_width_without_torgb(generator),) else None


def _width_without_torgb(generator: Generator) -> int:
    return sum(width for layer, width in generator.style_dims.items() if not is_torgb(layer))


def _with_torgb(value: Tensor, generator: Generator) -> Tensor:
    """Styles of the convolutions alone → all styles, zeros for torgb."""
    total = sum(generator.style_dims.values())
    if len(value) == total or len(value) != _width_without_torgb(generator):
        return value
    whole, taken = torch.zeros(total), 0
    for layer, part in style_slices(generator).items():
        if not is_torgb(layer):
            width = part.stop - part.start
            whole[part] = value[taken : taken + width]
            taken += width
    return whole
