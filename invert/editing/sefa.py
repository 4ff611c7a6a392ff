"""SeFa: directions of w in which the styles change most, from the weights alone (Shen and Zhou 2021, Eq. 4 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from invert.editing.direction import Direction
from invert.editing.labels import Counting, draw
from invert.editing.layers import affine_of_rows, describe_rows, is_torgb, parse_rows, row_of_layer
from invert.editing.units import UNIT_SAMPLES, unit_direction
from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator
from stylegan_core.provenance import model_sha256


@dataclass(frozen=True)
class SeFa:
    """rows: whose layers count, and on which the directions act; None = all. num_components: how many.

    is_normalised: scale the weights of every style channel to length 1 first, as the authors' published code does.
    """

    rows: str | tuple[int, ...] | None = None
    num_components: int = 10
    is_normalised: bool = False
    seed: int = 0

    def find(self, generator: Generator, *, callback: Counting | None = None) -> list[Direction]:
        """sefa-0, sefa-1, …: the one that changes styles most first."""
        if self.num_components < 1:
            raise UsageError(f"num_components {self.num_components}: a whole number from 1 is allowed")
        rows = parse_rows(self.rows, generator)
        weights = style_weights(generator, rows)
        if self.is_normalised:
            weights = weights / weights.norm(dim=1, keepdim=True).clamp_min(1e-12)
        values, vectors = principal_directions(weights)
        latent = draw(generator, UNIT_SAMPLES, seed=self.seed, space="w")
        shares = values.square() / values.square().sum()
        facts: dict[str, Any] = {"model_sha256": model_sha256(generator), "rows": rows}  # type: ignore[arg-type]
        found = []
        for k in range(min(self.num_components, len(vectors))):
            notes = {"method": "sefa", "rows": describe_rows(rows), "component": k, "is_normalised": self.is_normalised,
                     "figures": {"singular_value": float(values[k]), "share": float(shares[k])}}  # fmt: skip
            found.append(unit_direction(f"sefa-{k}", vectors[k], latent, provenance=notes, **facts))
        return found


def style_weights(generator: Generator, rows: Sequence[int] | None = None) -> Tensor:
    """[styles, w_dim] float64: what maps w to the styles of the convolutions that read these rows; None = all rows.

    Layers of torgb are left out, as in the paper, unless nothing else reads the rows.
    """
    weights, row_of = affine_of_rows(generator), row_of_layer(generator)
    chosen = [name for name in weights if rows is None or row_of[name] in rows]
    kept = [name for name in chosen if not is_torgb(name)] or chosen
    if not kept:
        raise UsageError(f"rows {describe_rows(rows)}: no layer of this model reads them")
    return torch.cat([weights[name] for name in kept]).double().cpu()


def principal_directions(weights: Tensor) -> tuple[Tensor, Tensor]:
    """weights: [M, D] → (singular values [D], right singular vectors [D, D] as rows), largest first, of fixed sign.

    The largest entry of a vector is positive, so that the same weights give the same direction on every machine.
    """
    _, values, vectors = torch.linalg.svd(weights, full_matrices=False)
    peak = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    return values, vectors * torch.where(peak < 0, -1.0, 1.0)
