"""L-BFGS for many small problems at once (Nocedal and Wright, Alg. 7.4): every row has its own curvature and its own step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[[Tensor], tuple[Tensor, Tensor]]  # x [M, D] → (value [M], gradient [M, D])
MEMORY = 8
SUFFICIENT = 1e-4  # share of the promised decrease that makes a step good
SHRINK = 0.3  # of a step that went up


@dataclass(frozen=True)
class Minimum:
    """x: [M, D]. value: [M]. curve: [steps + 1, M], the value before every step and at the end."""

    x: Tensor
    value: Tensor
    curve: Tensor


@torch.no_grad()
def minimise(function: Function, start: Tensor, num_steps: int) -> Minimum:
    """One call of the function per step; a row whose value would rise stays where it is and tries a shorter step.

    start: [M, D], in coordinates whose curvature is near 1. Values are sums over nothing but the row, so rows do not mix.
    """
    x = start
    value, gradient = function(x)
    direction, length = -gradient, torch.ones_like(value)
    steps: list[Tensor] = []
    changes: list[Tensor] = []
    curve = [value]
    for _ in range(num_steps):
        trial = x + length[:, None] * direction
        new_value, new_gradient = function(trial)
        promised = length * (gradient * direction).sum(dim=1)
        is_good = torch.isfinite(new_value) & (new_value <= value + SUFFICIENT * promised)
        good = is_good[:, None]
        steps.append(torch.where(good, trial - x, torch.zeros_like(x)))
        changes.append(torch.where(good, new_gradient - gradient, torch.zeros_like(x)))
        steps, changes = steps[-MEMORY:], changes[-MEMORY:]
        x, gradient = torch.where(good, trial, x), torch.where(good, new_gradient, gradient)
        value = torch.where(is_good, new_value, value)
        direction = torch.where(good, _direction(gradient, steps, changes), direction)
        length = torch.where(is_good, torch.ones_like(length), length * SHRINK)
        curve.append(value)
    return Minimum(x, value, torch.stack(curve))


def _direction(gradient: Tensor, steps: list[Tensor], changes: list[Tensor]) -> Tensor:
    """The two-loop recursion, [M, D]; pairs without positive curvature count for nothing."""
    products = [(s * y).sum(dim=1) for s, y in zip(steps, changes)]
    sizes = [(y * y).sum(dim=1) for y in changes]
    is_used = [p > 1e-10 * q for p, q in zip(products, sizes)]
    inverse = [torch.where(used, 1 / p.clamp_min(1e-30), torch.zeros_like(p)) for p, used in zip(products, is_used)]
    q, alphas = gradient.clone(), []
    for s, y, r in zip(reversed(steps), reversed(changes), reversed(inverse)):
        alpha = r * (s * q).sum(dim=1)
        q = q - alpha[:, None] * y
        alphas.append(alpha)
    scale = torch.ones_like(gradient[:, 0])
    for p, size, used in zip(products, sizes, is_used):  # the newest pair that counts wins
        scale = torch.where(used, p / size.clamp_min(1e-30), scale)
    q = q * scale[:, None]
    for s, y, r, alpha in zip(steps, changes, inverse, reversed(alphas)):
        q = q + (alpha - r * (y * q).sum(dim=1))[:, None] * s
    return -q
