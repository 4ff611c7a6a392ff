"""Supervised directions for continuous attributes: least squares from latents to scores, all attributes together.

With scores y and latents x, the vector for attribute a is Cov(x, y) (Bᵀ Cov(x, y))⁻¹ e_a, B the regression's coefficients: the
step with the least Mahalanobis length that changes the predicted a and leaves the predictions of the held attributes alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from invert.editing.direction import Direction
from invert.editing.interfacegan import balanced_accuracy, chosen_attributes, sides_of
from invert.editing.labels import DEFAULT_LABELS, Counting, Labels, labelled
from invert.editing.units import unit_direction
from stylegan_core.errors import DirectionError, UsageError
from stylegan_core.generator import Generator
from stylegan_core.latent import LatentSpace
from stylegan_core.provenance import model_sha256

RIDGE = 1e-4  # of the mean variance of a latent's numbers
END_SHARE = 0.3  # of the samples at either end of a continuous attribute, between which accuracy is told


@dataclass(frozen=True)
class Regression:
    """labels, attributes, space, num_samples, seed, held_out: as of InterFaceGAN. conditions: attributes that stay; 'all' = all others."""

    labels: Labels = DEFAULT_LABELS
    attributes: tuple[str, ...] | None = None
    space: str = "w"
    num_samples: int = 4000
    seed: int = 0
    held_out: float = 0.25
    conditions: tuple[str, ...] = ("all",)
    ridge: float = RIDGE

    def find(self, generator: Generator, *, callback: Counting | None = None) -> list[Direction]:
        """One direction for each attribute. Figures: R² and accuracy (as InterFaceGAN's) on held-out samples. Raises UsageError."""
        if not 0 <= self.held_out < 0.9 or self.ridge < 0:
            raise UsageError(f"held_out {self.held_out} lies in [0, 0.9), ridge {self.ridge} is 0 or more")
        data = labelled(self.labels, generator, num_samples=self.num_samples, seed=self.seed, callback=callback)
        data = data.lowered(generator, LatentSpace.parse(self.space)).shuffled(self.seed)
        wanted, needed = chosen_attributes(data, self.attributes, self.conditions)
        scores = torch.stack([data.scores[name] for name in needed], dim=1).double()
        moving = scores.std(dim=0) > 1e-6
        needed = [name for name, moves in zip(needed, moving.tolist()) if moves]
        still = [name for name in wanted if name not in needed]
        if self.attributes is not None and still:
            raise UsageError(f"attribute {still[0]!r}: all samples have the same score, so there is no direction")
        x, y = data.latent.value.double().flatten(1).cpu(), scores[:, moving]
        first_held = len(x) - round(len(x) * self.held_out)
        coefficients, together = least_squares(x[:first_held], y[:first_held], self.ridge)
        figures = [
            {"r2": r2, **_accuracies(x @ coefficients[:, k], y[:, k], name in data.binary, first_held)}
            for k, (name, r2) in enumerate(zip(needed, _r2(x, y, coefficients, first_held)))
        ]
        facts: dict[str, Any] = {"model_sha256": model_sha256(generator)}  # type: ignore[arg-type]
        found = []
        for name in [name for name in wanted if name in needed]:
            k = needed.index(name)
            held = [i for i, other in enumerate(needed) if i == k or self.conditions == ("all",) or other in self.conditions]
            vector = _vector(coefficients, together, held, k, name)
            notes = {
                "method": "regression", "labels": data.source, "samples": len(data), "seed": self.seed, "ridge": self.ridge,
                "conditional": {"held": [needed[i] for i in held if i != k], "metric": "standard deviations"},
                "left_out": {other: "all samples have the same score" for other in still}, "figures": figures[k],
            }  # fmt: skip
            shape = data.latent.value.shape[1:]
            found.append(
                unit_direction(name, coefficients[:, k].view(shape), data.latent, vector=vector.view(shape), provenance=notes, **facts)
            )
        return found


def least_squares(x: Tensor, y: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """x: [N, D], y: [N, A] → (coefficients [D, A], covariance of x with y [D, A]), both centred."""
    if len(x) < 3:
        raise UsageError(f"{len(x)} samples: at least 3 are needed")
    dx, dy = x - x.mean(dim=0), y - y.mean(dim=0)
    covariance, together = dx.T @ dx / (len(x) - 1), dx.T @ dy / (len(x) - 1)
    covariance.diagonal().add_(ridge * covariance.diagonal().mean())
    return torch.linalg.solve(covariance, together), together


def _vector(coefficients: Tensor, together: Tensor, held: list[int], k: int, name: str) -> Tensor:
    """[D]: changes prediction k by 1 and those of the other held ones by 0."""
    change = coefficients[:, held].T @ together[:, held]
    goal = torch.zeros(len(held), dtype=change.dtype)
    goal[held.index(k)] = 1
    if torch.linalg.matrix_rank(change) < len(held):
        raise DirectionError(f"direction {name!r}: the held attributes depend on each other; hold fewer")
    return together[:, held] @ torch.linalg.solve(change, goal)


def _r2(x: Tensor, y: Tensor, coefficients: Tensor, first_held: int) -> list[float | None]:
    """R² of each attribute on the held-out samples; None without any."""
    if first_held >= len(x) - 1:
        return [None] * y.shape[1]
    predicted = (x[first_held:] - x[:first_held].mean(dim=0)) @ coefficients + y[:first_held].mean(dim=0)
    left = (predicted - y[first_held:]).square().mean(dim=0)
    total = y[first_held:].var(dim=0, unbiased=False).clamp_min(1e-12)
    return [round(float(value), 4) for value in 1 - left / total]


def _accuracies(predicted: Tensor, y: Tensor, is_class: bool, first_held: int) -> dict[str, float | None]:
    """Which side of the attribute the prediction is on, for the held-out samples; the threshold is halfway between the sides."""
    ends, whole = sides_of(y, is_class, first_held, END_SHARE)
    taught, seen = ends[:first_held], predicted[:first_held]
    if first_held >= len(y) or not bool((taught > 0).any()) or not bool((taught < 0).any()):
        return {"accuracy": None, "accuracy_full": None}
    says = predicted[first_held:] > (seen[taught > 0].mean() + seen[taught < 0].mean()) / 2
    return {"accuracy": balanced_accuracy(says, ends[first_held:]), "accuracy_full": balanced_accuracy(says, whole[first_held:])}
