"""A row of the parity table and how to read the golden files."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

GOLDEN = Path(__file__).parent.parent / "golden"


@dataclass(frozen=True)
class Row:
    """error: the largest |ours - theirs| over what tolerance allows per element; at most 1 passes."""

    fixture: str
    peer: str
    values: int
    largest_error: float
    tolerance: str
    ratio: float


def compare(fixture: str, peer: str, ours: Any, theirs: Any, *, absolute: float, relative: float = 0.0, tolerance: str = "") -> Row:
    """Elementwise |ours - theirs| <= absolute + relative·|theirs|."""
    ours, theirs = np.asarray(_array(ours), dtype=np.float64), np.asarray(_array(theirs), dtype=np.float64)
    assert ours.shape == theirs.shape, f"{fixture}: shape {ours.shape}, golden {theirs.shape}"
    error = np.abs(ours - theirs)
    error = np.where(np.isfinite(error), error, np.inf)
    ratio = float((error / (absolute + relative * np.abs(theirs))).max(initial=0.0))
    text = tolerance or (f"{absolute:g}" + (f" + {relative:g} rel" if relative else ""))
    return Row(fixture, peer, int(ours.size), float(error.max(initial=0.0)), text, ratio)


def compare_images(fixture: str, peer: str, ours: Any, theirs: Any) -> Row:
    """The tolerance of pictures and logits: 1e-4 · max(1, std of the reference)."""
    std = max(1.0, float(np.asarray(_array(theirs), dtype=np.float64).std()))
    return compare(fixture, peer, ours, theirs, absolute=1e-4 * std, tolerance="1e-4·max(1, std)")


def arrays(name: str) -> dict[str, np.ndarray]:
    """The arrays of golden/<name>.npz."""
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def table(name: str) -> Any:
    """The contents of golden/<name>.json."""
    return json.loads((GOLDEN / f"{name}.json").read_text())


def recipe() -> Any:
    """The module that fills weights from their names (golden/fill.py)."""
    spec = importlib.util.spec_from_file_location("golden_fill", GOLDEN / "fill.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def filled(keys_file: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """(constructor arguments, state) of golden/<keys_file>.keys.json, filled by the recipe; architecture-defined keys are absent."""
    info = table(f"{keys_file}.keys")
    shapes = {key: tuple(entry["shape"]) for key, entry in info["keys"].items()}
    values = recipe().fill(shapes, info["family"], info["prefix"])
    return info["config"], {key: torch.from_numpy(np.array(value)) for key, value in values.items()}


def _array(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
