"""Style mixing: rows of ws of one picture, the others of another (SG Sec. 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from invert.editing.layers import describe_rows, parse_rows
from invert.editing.notes import noted
from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator
from stylegan_core.inversion import Inversion
from stylegan_core.latent import LatentSpace


def mix(
    inversion: Inversion, other: Inversion, rows: str | Sequence[int] | None = "fine", *, generator: Generator, amount: float = 1.0
) -> Inversion:
    """The inversion with some rows of `other`; noise, weights and geometry stay its own. Arguments stay as they are.

    other: one image, or as many as the inversion has. rows: 'coarse' (pose, shape), 'middle' (features), 'fine' (colours), '4-7',
    'from 4' (a crossover), a sequence. amount: 1 = take them over, 0.5 = half of the way. Raises UsageError.
    """
    if len(other) not in (1, len(inversion)):
        raise UsageError(f"mixing {len(inversion)} image(s) with {len(other)}; give one, or one for each")
    chosen = parse_rows(crossover(rows, generator), generator)
    place = generator.w_avg.device, generator.w_avg.dtype
    if LatentSpace.S in (inversion.latent.space, other.latent.space):
        raise UsageError("mixing takes rows of ws, and s has none; project again with --space w+")
    latent = inversion.latent.to(*place).lower(generator, to="w+")
    taken = other.latent.to(*place).lower(generator, to="w+").value.expand_as(latent.value)
    index = list(range(generator.num_ws)) if chosen is None else list(chosen)
    value = latent.value.clone()
    value[:, index] = torch.lerp(value[:, index], taken[:, index], amount)
    source = [other.facts(i % len(other)).get("input_sha256") for i in range(len(inversion))]
    notes = [{"step": "mix", "rows": describe_rows(chosen), "amount": amount, "other_sha256": sha256} for sha256 in source]
    return noted(inversion, replace(latent, value=value), notes)


def crossover(rows: str | Sequence[int] | None, generator: Generator) -> str | Sequence[int] | None:
    """'from 4' → the rows 4 to the last; anything else as it is. Raises UsageError for a row that is not there."""
    if not (isinstance(rows, str) and rows.startswith("from ")):
        return rows
    text = rows[len("from ") :].strip()
    if not text.isdecimal() or not 0 < int(text) < generator.num_ws:
        raise UsageError(f"rows {rows!r}: a crossover lies between 1 and {generator.num_ws - 1}, for example 'from 4'")
    return f"{text}-{generator.num_ws - 1}"
