"""Several answers to one picture: its coarse rows with the fine rows of samples (pSp Sec. 5.2, multi-modal synthesis)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from encoders.configs import level_rows
from stylegan_core.errors import LatentError
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace

STRENGTH = 0.5


@torch.no_grad()
def variants(inversion: Inversion, generator: Any, seeds: Sequence[int], *, first_row: int | None = None, strength: float = STRENGTH,
             c: torch.Tensor | None = None) -> Inversion:
    """One image → one variant for each seed, whose rows from `first_row` on go `strength` of the way to a sample's.

    first_row: None = the first fine row, or the last third where layers are not named by their size. c: [1, c_dim], the samples'
    class. Raises LatentError for a latent that has no rows.
    """
    if len(inversion) != 1:
        raise LatentError(f"variants are of one image, this inversion has {len(inversion)}")
    latent = inversion.latent.lower(generator, to=LatentSpace.W_PLUS)
    coarse, middle, fine = level_rows(generator)
    first = (coarse + middle if fine else coarse) if first_row is None else first_row
    if not 0 <= first < generator.num_ws:
        raise LatentError(f"first row {first}: 0 to {generator.num_ws - 1} is allowed")
    label = None if c is None else c.expand(len(seeds), -1)
    styles = Latent.sample(generator, seeds, c=label).lower(generator, to=LatentSpace.W_PLUS)
    ws = latent.value.expand(len(seeds), -1, -1).clone()
    ws[:, first:] = ws[:, first:].lerp(styles.value[:, first:].to(ws), strength)
    facts = {"variants_of": dict(inversion.metadata), "seeds": list(seeds), "first_row": first}
    return Inversion(Latent(ws, LatentSpace.W_PLUS), metadata=facts)
