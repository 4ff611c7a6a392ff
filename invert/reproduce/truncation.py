"""Truncation curves: what psi does to distance, precision and recall, and whether psi and -psi are opposites (SG App. B)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from invert.reproduce.setting import Outcome, Setting, verdict_of
from stylegan_core.data.images import portraits
from stylegan_core.metrics.frechet import frechet_distance
from stylegan_core.metrics.observed import Observed
from stylegan_core.metrics.precision_recall import inside
from stylegan_core.metrics.probe import latents_of
from stylegan_core.metrics.report import observe, pictures, sampled

PSIS = (-1.0, -0.7, -0.5, -0.3, 0.0, 0.3, 0.5, 0.7, 0.85, 1.0)
HALF = 0.5
OPPOSITE = 0.7       # psi at which opposites are compared
GAIN = 0.98          # a distance counts as lower from here on
BATCH = 64


def curves(setting: Setting) -> dict[str, Any]:
    """'psi': list; 'frechet', 'precision', 'recall': a value for each; 'floor': the same of data. In the judge's features."""
    data = portraits(2 * setting.count, setting.judge.img_resolution, seed=setting.seed)

    def seen(batches: Any, what: str) -> Observed:
        return observe(setting.judge, batches, (what, setting.count), setting.told)

    reference = seen(pictures(data, 0, setting.count), "data")
    sides = {"floor": seen(pictures(data, setting.count, 2 * setting.count), "held-out data")}
    for psi in PSIS:
        sides[f"{psi:g}"] = seen(sampled(setting.generator, setting.count, psi, setting.seed), f"samples at psi {psi:g}")
    measures: dict[str, Callable[[Observed], float]] = {
        "frechet": lambda side: frechet_distance(side.gathered_moments(), reference.gathered_moments()),
        "precision": lambda side: inside(side.vectors(), reference.vectors()),
        "recall": lambda side: inside(reference.vectors(), side.vectors()),
    }
    table = {name: {key: round(measure(side), 5) for key, side in sides.items()} for name, measure in measures.items()}
    return {"psi": list(PSIS), **{name: [row[f"{psi:g}"] for psi in PSIS] for name, row in table.items()},
            "floor": {name: row["floor"] for name, row in table.items()}}  # fmt: skip


def at(figures: dict[str, Any], name: str, psi: float) -> float:
    """One point of a curve."""
    return float(figures[name][figures["psi"].index(psi)])


def trade(setting: Setting) -> Outcome:
    """Truncation trades recall for precision."""
    figures = curves(setting)
    points = {name: (at(figures, name, HALF), at(figures, name, 1.0)) for name in ("precision", "recall")}
    is_shown = points["precision"][0] > points["precision"][1] and points["recall"][0] < points["recall"][1]
    ours = "; ".join(f"{name} {full:.3f} at ψ 1, {half:.3f} at ψ 0.5" for name, (half, full) in points.items())
    return Outcome(ours, verdict_of(is_shown), figures)


def distance(setting: Setting) -> Outcome:
    """Truncation lowers the distance to the data, or it does not."""
    figures = curves(setting)
    truncated = {psi: value for psi, value in zip(figures["psi"], figures["frechet"]) if 0 < psi < 1}
    best = min(truncated, key=lambda psi: truncated[psi])
    whole = at(figures, "frechet", 1.0)
    ours = (f"Fréchet distance (judge) {whole:.2f} at ψ 1; lowest below: {truncated[best]:.2f} at ψ {best:g}; "
            f"at ψ -1 {at(figures, 'frechet', -1.0):.2f}")  # fmt: skip
    return Outcome(ours, verdict_of(truncated[best] < GAIN * whole), figures)


@torch.no_grad()
def opposites(setting: Setting) -> Outcome:
    """Attributes of psi and -psi lie on opposite sides of the mean face: their correlation over samples, per attribute."""
    sides = {sign: torch.cat([_logits(setting, seeds, sign * OPPOSITE) for seeds in _batches(setting)]) for sign in (1, -1)}
    middle = _logits(setting, range(setting.seed, setting.seed + 1), 0.0)
    first, second = (sides[sign].double() - middle.double() for sign in (1, -1))
    names = setting.judge.attribute_names
    correlation = {name: round(_correlation(first[:, i], second[:, i]), 4) for i, name in enumerate(names)}
    mean = sum(correlation.values()) / len(correlation)
    worst = max(correlation, key=lambda name: correlation[name])
    figures = {"psi": OPPOSITE, "correlation": correlation, "mean": round(mean, 4)}
    ours = f"mean correlation of attributes at ψ ±{OPPOSITE:g}: {mean:.2f}; least opposite: {worst} {correlation[worst]:.2f}"
    return Outcome(ours, verdict_of(mean < -0.5), figures)


def _batches(setting: Setting) -> list[range]:
    last = setting.seed + setting.count
    return [range(first, min(first + BATCH, last)) for first in range(setting.seed, last, BATCH)]


def _logits(setting: Setting, seeds: range, psi: float) -> Tensor:
    z, c = latents_of(setting.generator, seeds)
    images = setting.generator.synthesis(setting.generator.mapping(z, c, truncation_psi=psi), noise_mode="const")
    setting.tell(f"samples at psi {psi:g}", seeds.stop - setting.seed, setting.count)
    return setting.judge.logits(images).cpu()


def _correlation(x: Tensor, y: Tensor) -> float:
    """Pearson's; 0 where one does not move."""
    x, y = x - x.mean(), y - y.mean()
    scale = float((x.square().sum() * y.square().sum()).sqrt())
    return float((x * y).sum()) / scale if scale > 0 else 0.0
