"""Looking at a stream of pictures: vectors, moments, attributes, classes and similarities, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.features import Features
from stylegan_core.metrics.detectors import Detector
from stylegan_core.metrics.diversity import pair_similarity
from stylegan_core.metrics.moments import Moments
from stylegan_core.metrics.observed import Observed, over_processes
from stylegan_core.metrics.probe import Counted


@dataclass(frozen=True)
class Wanted:
    """What is kept of what is seen. judge: whose attributes; None = none. vectors: beside their moments."""

    detector: Detector
    judge: Features | None = None
    vectors: bool = True
    classes: bool = False
    similarity: bool = False

    def kept(self) -> list[str]:
        """Says what is kept, for the name of a cached file."""
        parts = {"vectors": self.vectors, "classes": self.classes, "similarity": self.similarity}
        kept = [name for name, is_kept in parts.items() if is_kept]
        return kept if self.judge is None else [*kept, f"attributes of {self._judge_sha256()}"]

    def _judge_sha256(self) -> str:
        from stylegan_core.provenance import model_sha256

        assert self.judge is not None
        return model_sha256(self.judge.network)


def observe_detected(wanted: Wanted, batches: Iterable[Tensor], work: tuple[str, int], callback: Counted | None = None) -> Observed:
    """batches: [n, C, H, W] in [-1, 1], those of this process; the result is of all processes together.

    work: (what it is, how many pictures in all), for the callback. Raises UsageError when it stops or when there is nothing.
    """
    detector, judge = wanted.detector, wanted.judge
    vectors, logits, classes, similarity = [], [], [], []
    moments: Moments | None = None
    done = 0
    place = torch.device("cpu") if judge is None else next(judge.parameters()).device
    with torch.no_grad():
        for batch in batches:
            seen = detector.look(batch)
            found = seen.vectors.float().cpu()
            part = Moments.of(found)
            moments = part if moments is None else moments.merged(part)
            vectors.append(found if wanted.vectors else found[:0])
            if judge is not None:
                own_logits = seen.logits if detector.judge is judge else None
                logits.append((judge.logits(batch.to(place)) if own_logits is None else own_logits).cpu())
            if wanted.classes and seen.classes is not None:
                classes.append(seen.classes.float().cpu())
            if wanted.similarity:
                similarity.append(pair_similarity(batch).cpu())
            done += len(batch)
            if callback is not None and callback(work[0], done, work[1]) is False:
                raise UsageError(f"stopped after {done} of {work[1]} {work[0]}")
    if moments is None:
        raise UsageError(f"there are no pictures to look at: {work[0]}")
    attributes = {}
    if judge is not None:
        values = judge.network.squashed(torch.cat(logits))
        attributes = dict(zip(judge.attribute_names, values.unbind(dim=1)))
    own = Observed(torch.cat(vectors), attributes, () if judge is None else judge.binary_names, moments,
                   torch.cat(classes) if classes else None, torch.cat(similarity) if similarity else None)  # fmt: skip
    return over_processes(own)
