"""What an edited inversion says about itself: the edits in their order, and no figures that were true of the unedited one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stylegan_core.inversion import Inversion, merged
from stylegan_core.latent import Latent

EDITS = "edits"
PROJECTED = ("psnr", "psnr_noise_const", "ssim", "perceptual", "advice", "options_sha256")  # facts of the projection alone


def noted(inversion: Inversion, latent: Latent, notes: Sequence[dict[str, Any]], **changes: Any) -> Inversion:
    """The inversion with another latent, one more note for each image, and its space as it is now.

    What was measured on the projection moves to "projection", so that nobody takes it for a figure of the edited picture.
    changes: other fields of the inversion.
    """
    facts = []
    for i, note in enumerate(notes):
        before = inversion.facts(i)
        kept = {key: value for key, value in before.items() if key not in PROJECTED}
        measured = {key: before[key] for key in PROJECTED if key in before}
        if measured:
            kept["projection"] = measured
        facts.append({**kept, "space": latent.space.value, EDITS: [*before.get(EDITS, []), note]})
    return replace(inversion, latent=latent, metadata=merged(facts), **changes)


def edits_of(inversion: Inversion, index: int = 0) -> list[dict[str, Any]]:
    """The notes of one image, oldest first; [] for an inversion that was never edited."""
    edits = inversion.facts(index).get(EDITS, [])
    return list(edits) if isinstance(edits, list) else []
