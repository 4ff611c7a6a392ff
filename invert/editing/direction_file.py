"""The file of a direction: safetensors with `vector` and perhaps `normal`, everything else as JSON in its metadata."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from safetensors.torch import save

from invert.editing.direction import UNITS, Direction
from stylegan_core.checkpoints.contents import open_contents
from stylegan_core.checkpoints.safetensors_header import strict_json
from stylegan_core.errors import CheckpointError, DirectionError, UsageError
from stylegan_core.files import atomic_write, display
from stylegan_core.latent import LatentSpace
from stylegan_core.provenance import version

FORMAT = "invert-direction"
FORMAT_VERSION = 1
SUFFIX = ".direction.safetensors"
MAX_FACTS_CHARACTERS = 1 << 20


def save_direction(direction: Direction, path: str | os.PathLike[str]) -> None:
    """Writes float32, whole or not at all. Raises OutputError."""
    tensors = {"vector": direction.vector.detach().cpu().float().contiguous().clone()}
    if direction.normal is not None:
        tensors["normal"] = direction.normal.detach().cpu().float().contiguous().clone()
    facts = {
        "name": direction.name,
        "space": direction.space.value,
        "rows": None if direction.rows is None else list(direction.rows),
        "limits": None if direction.limits is None else list(direction.limits),
        "unit": direction.unit,
        "origin": direction.origin,
        "model": direction.model,
        "model_sha256": direction.model_sha256,
        "licence": direction.licence,
        "provenance": {"written_by": version(), **direction.provenance},
    }
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False, sort_keys=True)
    header = {"format": FORMAT, "format_version": str(FORMAT_VERSION), "direction": text}
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(tensors, header))


def is_direction_file(path: Path) -> bool:
    """A file of a folder that is a direction by its name."""
    return path.name.endswith(SUFFIX)


def load_direction(path: str | os.PathLike[str]) -> Direction:
    """Reads a direction; nothing in the file is executed. Raises DirectionError in one line that names the file."""
    name = display(Path(path))
    try:
        header = open_contents(path).header
        if header is None or header.metadata.get("format") != FORMAT:
            raise DirectionError(
                f"{name} is not a direction file (`invert directions find` writes them, `invert directions import` reads published ones)"
            )
        if header.metadata.get("format_version") != str(FORMAT_VERSION):
            found = display(header.metadata.get("format_version"), max_length=20)
            raise DirectionError(f"{name} has the format version {found}; this release reads {FORMAT_VERSION}; update invert-gan")
        text = header.metadata.get("direction", "{}")
        if len(text) > MAX_FACTS_CHARACTERS:
            raise DirectionError(f"{name}: its description is longer than {MAX_FACTS_CHARACTERS} characters")
        facts = strict_json(text)
        tensors = {key: view.to_tensor() for key, view in header.views.items() if key in ("vector", "normal")}
    except CheckpointError as error:
        message = str(error)
        raise DirectionError(message if message.startswith(name) else f"{name}: {message}") from None
    if not isinstance(facts, dict) or "vector" not in tensors:
        raise DirectionError(f"{name} holds no vector, or its description is no JSON object")
    try:
        return Direction(vector=tensors["vector"], normal=tensors.get("normal"), **_checked(facts))
    except (DirectionError, UsageError) as error:
        raise DirectionError(f"{name}: {display(error)}") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _checked(facts: dict[str, Any]) -> dict[str, Any]:
    """The fields of a direction. Raises DirectionError for one of another type than `save_direction` writes."""
    rows, origin = facts.get("rows"), facts.get("origin", 0.0)
    is_row = isinstance(rows, list) and all(type(row) is int and 0 <= row < 1024 for row in rows)
    if rows is not None and not is_row:
        raise DirectionError("rows are whole numbers from 0, or null")
    limits = facts.get("limits")
    if not _is_number(origin) or not (limits is None or (isinstance(limits, list) and len(limits) == 2 and all(map(_is_number, limits)))):
        raise DirectionError("the origin is no finite number, or the limits are not two")
    texts = {key: facts.get(key) for key in ("name", "space", "unit", "model", "model_sha256", "licence")}
    if any(value is not None and not isinstance(value, str) for value in texts.values()):
        raise DirectionError("name, space, unit, model, model_sha256 and licence are texts")
    if not texts["name"] or texts["unit"] not in UNITS:
        raise DirectionError(f"it has no name, or its unit is not one of {', '.join(UNITS)}")
    provenance = facts.get("provenance", {})
    if not isinstance(provenance, dict):
        raise DirectionError("its provenance is no JSON object")
    return {
        **texts,
        "licence": texts["licence"] or "",
        "space": LatentSpace.parse(texts["space"] or ""),
        "rows": None if rows is None else tuple(sorted(set(rows))),
        "limits": None if limits is None else (float(limits[0]), float(limits[1])),
        "origin": float(origin),
        "provenance": provenance,
    }
