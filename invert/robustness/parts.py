"""Every question as a table of data, one row per part of the page."""

from __future__ import annotations

from collections.abc import Mapping

from invert.robustness.domain import domain
from invert.robustness.models import models
from invert.robustness.morphs import morphs
from invert.robustness.moves import moves, shifts
from invert.robustness.setting import Part
from invert.robustness.starts import starts
from invert.robustness.turns import turns
from stylegan_core.errors import UsageError

PARTS: Mapping[str, Part] = {
    part.name: part
    for part in (
        Part(
            "domain", "Outside the domain, against inside", "I2S Sec. 3.1",
            "Pictures the model never saw: portraits of its own kind, the same portraits in ink, houses in landscapes, photographs. How "
            "near does w+ come, how much of it is the latent and how much the noise, and how far from samples does it have to go?", domain,
        ),
        Part(
            "moves", "Shift, rotation and scale", "I2S Sec. 3.2",
            "The same portraits, moved, turned and scaled before they are embedded; what comes in from outside repeats the edge.", moves,
        ),
        Part(
            "starts", "The mean against a random start", "I2S Sec. 5.1",
            "The same steps from the mean and from two samples, for pictures inside and outside of the domain.", starts,
        ),
        Part(
            "morphs", "Morphs between two embedded pictures", "I2S Sec. 4.1",
            "Half-way between two latents: does the model draw something of its own kind, or does it fade one picture over the other?",
            morphs,
        ),
        Part(
            "turns", "Noise, w and w+ in turn", "I2S++",
            "The same number of Adam steps, spent on the noise maps, on w and on w+ in different orders.", turns,
        ),
        Part(
            "models", "Snapshots of rising quality, and a child", "I2S Sec. 3",
            "The same pictures into the architecture with fresh weights, into snapshots and into a transferred child.", models, "snapshots",
        ),
        Part(
            "shifts", "Another architecture under shift", "SG3 Sec. 1",
            "Portraits as drawn and shifted, by this model and by others; where the input of a model can be moved, with that too.",
            shifts, "also",
        ),
    )
}  # fmt: skip


def parts_of(names: str | None, *, has_also: bool = False) -> list[Part]:
    """names: separated by commas; None = all, without `shifts` where there is nothing to compare with. Raises UsageError."""
    if names is None:
        return [part for part in PARTS.values() if has_also or part.needs != "also"]
    chosen = [name.strip() for name in names.split(",")]
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        raise UsageError(f"--parts {unknown[0]!r}: of {', '.join(PARTS)}")
    if not has_also and any(PARTS[name].needs == "also" for name in chosen):
        raise UsageError("--parts shifts compares with models of another architecture; name one with --also FILE")
    return [part for part in PARTS.values() if part.name in chosen]
