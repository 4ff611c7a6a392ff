"""InterFaceGAN: the normal of a linear boundary between latents with and without an attribute (Shen et al. 2020, Sec. 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from invert.editing.arithmetic import orthogonalise
from invert.editing.direction import Direction
from invert.editing.labels import DEFAULT_LABELS, Counting, Labelled, Labels, labelled
from invert.editing.units import unit_direction
from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator
from stylegan_core.latent import LatentSpace
from stylegan_core.provenance import model_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_OF_A_CLASS = 5
METRICS = ("length", "std")


@dataclass(frozen=True)
class Boundary:
    """normal: [D]. accuracy: balanced, on held-out samples, the middle of continuous attributes left out; None without held-out
    ones. accuracy_full: on all held-out samples. used: how many it was fitted on."""

    normal: Tensor
    accuracy: float | None
    accuracy_full: float | None
    used: int


@dataclass(frozen=True)
class InterFaceGAN:
    """labels: see `labels.labelled`. attributes: None = all. space: z, w, w+ or s.

    share: of the samples at each end of a continuous attribute that are fitted, the rest being its middle. held_out: share of all
    samples that only measures. conditions: attributes whose reading stays, 'all' = all others; () = none. metric: of the
    conditional projection, 'length' as in the paper or 'std' (see `arithmetic.orthogonalise`). penalty: C of the linear machine.
    """

    labels: Labels = DEFAULT_LABELS
    attributes: tuple[str, ...] | None = None
    space: str = "w"
    num_samples: int = 4000
    seed: int = 0
    share: float = 0.3
    held_out: float = 0.25
    conditions: tuple[str, ...] = ()
    metric: str = "length"
    penalty: float = 1.0

    def find(self, generator: Generator, *, callback: Counting | None = None) -> list[Direction]:
        """One direction for each attribute. Figures: held-out accuracy. Raises UsageError for unknown or one-sided attributes."""
        if self.metric not in METRICS or not 0 < self.share <= 0.5 or not 0 <= self.held_out < 0.9:
            raise UsageError(f"metric {self.metric!r} is one of {', '.join(METRICS)}; share lies in (0, 0.5], held_out in [0, 0.9)")
        space = LatentSpace.parse(self.space)
        data = labelled(self.labels, generator, num_samples=self.num_samples, seed=self.seed, callback=callback)
        data = data.lowered(generator, space).shuffled(self.seed)
        wanted, needed = chosen_attributes(data, self.attributes, self.conditions)
        boundaries: dict[str, Boundary] = {}
        left_out: dict[str, str] = {}
        for name in needed:
            try:
                boundaries[name] = fit_boundary(data, name, self.share, self.held_out, self.penalty)
            except UsageError as error:
                if self.attributes is not None or self.conditions not in ((), ("all",)):
                    raise
                left_out[name] = str(error)
        facts: dict[str, Any] = {"model_sha256": model_sha256(generator)}  # type: ignore[arg-type]
        plain = {
            name: unit_direction(name, boundary.normal, data.latent, provenance=self._provenance(data, boundary, left_out), **facts)
            for name, boundary in boundaries.items()
        }
        covariance = torch.cov(data.latent.value.double().flatten(1).T.cpu()) if self.metric == "std" and self.conditions else None
        found = []
        for name in [name for name in wanted if name in plain]:
            held = [other for other in (plain if self.conditions == ("all",) else self.conditions) if other != name]
            found.append(orthogonalise(plain[name], [plain[other] for other in held], covariance=covariance))
        return found

    def _provenance(self, data: Labelled, boundary: Boundary, left_out: dict[str, str]) -> dict[str, Any]:
        return {
            "method": "interfacegan", "labels": data.source, "samples": len(data), "fitted_on": boundary.used, "seed": self.seed,
            "share": self.share, "penalty": self.penalty, "left_out": left_out,
            "figures": {"accuracy": boundary.accuracy, "accuracy_full": boundary.accuracy_full},
        }  # fmt: skip


def chosen_attributes(data: Labelled, attributes: Sequence[str] | None, conditions: Sequence[str]) -> tuple[list[str], list[str]]:
    """(attributes to find, those whose boundaries are needed). Raises UsageError for a name without labels, with the nearest one."""
    import difflib

    known = list(data.scores)
    wanted = known if attributes is None else list(attributes)
    held = [] if tuple(conditions) == ("all",) else list(conditions)
    for name in [*wanted, *held]:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            raise UsageError(f"attribute {name!r} has no labels; {hint}")
    needed = known if tuple(conditions) == ("all",) else [name for name in known if name in wanted or name in held]
    return wanted, needed


def fit_boundary(data: Labelled, name: str, share: float, held_out: float, penalty: float) -> Boundary:
    """A linear machine between the two sides of an attribute; the last `held_out` of the samples only measure it."""
    from sklearn.svm import LinearSVC

    x = data.latent.value.double().flatten(1).cpu()
    first_held = len(x) - round(len(x) * held_out)
    side, whole = sides_of(data.scores[name], name in data.binary, first_held, share)
    fitted = side[:first_held] != 0
    counts = [int((side[:first_held] == sign).sum()) for sign in (-1, 1)]
    if min(counts) < min(LEAST_OF_A_CLASS, max(2, len(x) // 4)):
        raise UsageError(f"attribute {name!r}: of {first_held} samples {counts[1]} have it and {counts[0]} do not; give more samples")
    centre, scale = x[:first_held].mean(dim=0), x[:first_held].std(dim=0).square().mean().sqrt().clamp_min(1e-12)
    machine = LinearSVC(C=penalty, class_weight="balanced", dual="auto", max_iter=20_000, random_state=0)
    white = ((x - centre) / scale).numpy()
    machine.fit(white[:first_held][fitted.numpy()], side[:first_held][fitted].numpy())
    normal = torch.from_numpy(machine.coef_[0] / scale.item())
    says = torch.from_numpy(machine.decision_function(white[first_held:])) > 0 if first_held < len(x) else None
    if says is None:
        return Boundary(normal, None, None, int(fitted.sum()))
    accuracies = balanced_accuracy(says, side[first_held:]), balanced_accuracy(says, whole[first_held:])
    return Boundary(normal, *accuracies, int(fitted.sum()))


def sides_of(y: Tensor, is_class: bool, first_held: int, share: float) -> tuple[Tensor, Tensor]:
    """([N] of 1, -1 and 0 for the middle, [N] of 1 and -1 around the median): thresholds by the samples before first_held.

    A class has no middle. All are 0 in the first where most samples have the same score.
    """
    if is_class:
        both = torch.where(y > 0.5, 1, -1)
        return both, both
    low, middle, high = (float(y[:first_held].quantile(q)) for q in (share, 0.5, 1 - share))
    ends = torch.where(y >= high, 1, torch.where(y <= low, -1, 0))
    return ends if low < high else torch.zeros_like(ends), torch.where(y > middle, 1, -1)


def balanced_accuracy(says: Tensor, side: Tensor) -> float | None:
    """Mean of the shares that are right on each side; None when a side is empty."""
    if not bool((side > 0).any()) or not bool((side < 0).any()):
        return None
    return round(float((says[side > 0].double().mean() + (~says[side < 0]).double().mean()) / 2), 4)
