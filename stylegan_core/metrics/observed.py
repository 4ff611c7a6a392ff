"""What networks see in a set of pictures: gathered batch by batch, over processes if there are several, and merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.metrics.moments import Moments


@dataclass(frozen=True)
class Observed:
    """pooled: [N, P] feature vectors, [0, P] where only their moments were kept. attributes: name → [N].

    binary: those of the attributes that are probabilities. moments: of the vectors; None = not gathered. classes: [N, K]
    probabilities of a classifier; None = there is none. similarity: MS-SSIM of pairs of pictures, [M]; None = not taken.
    """

    pooled: Tensor
    attributes: Mapping[str, Tensor] = field(default_factory=dict)
    binary: tuple[str, ...] = ()
    moments: Moments | None = None
    classes: Tensor | None = None
    similarity: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pooled) if self.moments is None else self.moments.count

    def gathered_moments(self) -> Moments:
        """Of the vectors, taken now if they were not gathered before."""
        return Moments.of(self.pooled) if self.moments is None else self.moments

    def vectors(self) -> Tensor:
        """[N, P]. Raises UsageError when only the moments were kept."""
        if len(self.pooled) != len(self):
            raise UsageError("the feature vectors were not kept, only their moments; ask for them when observing")
        return self.pooled

    @classmethod
    def cat(cls, parts: Sequence[Observed]) -> Observed:
        """All parts as one set, in their order; they hold the same things."""
        first = parts[0]
        moments = first.moments
        for part in parts[1:]:
            moments = None if moments is None or part.moments is None else moments.merged(part.moments)
        return cls(
            torch.cat([part.pooled for part in parts]),
            {name: torch.cat([part.attributes[name] for part in parts]) for name in first.attributes},
            first.binary,
            moments,
            _joined([part.classes for part in parts]),
            _joined([part.similarity for part in parts]),
        )


def over_processes(own: Observed) -> Observed:
    """Everybody's parts as one set, in the order of the ranks; the argument itself in a single process."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return own
    parts: list[Observed | None] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, own)
    return Observed.cat([part for part in parts if part is not None])


def own_share(first: int, last: int) -> tuple[int, int]:
    """The consecutive piece of first … last - 1 that this process looks at; all of it in a single process."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return first, last
    rank, processes, count = dist.get_rank(), dist.get_world_size(), last - first
    return first + rank * count // processes, first + (rank + 1) * count // processes


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    held = [part for part in parts if part is not None]
    return torch.cat(held) if len(held) == len(parts) and held else None
