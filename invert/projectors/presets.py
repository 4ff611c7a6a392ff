"""Presets as a table of data: a row pins every field of a projection; explicit arguments win over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from invert.projectors.gauss_newton import GaussNewton
from invert.projectors.optimise import Adam, Patience
from invert.projectors.posterior import Posterior
from invert.projectors.schedules import Jitter, Ramp
from stylegan_core.errors import UsageError

GOAL = "goal"  # the space that was asked for; the space of a phase is never further down than that
Phase = Adam | GaussNewton | Posterior


@dataclass(frozen=True)
class Preset:
    """One way to project.

    start: see start.Start. noise: where maps start, 'random' (of the seed), 'const' (as stored) or 'none' (zeros).
    restarts: candidates per image; the best is kept after `restart_phases` phases. largest_side: to which pictures are
    shrunk for the perceptual distance. source: where it is described. saturates: a rendering may go beyond black and white where
    the picture is black or white, as samples do that a file has clipped.
    """

    name: str
    source: str
    steps: int
    start: str
    noise: str
    restarts: int
    restart_phases: int
    largest_side: int
    phases: tuple[Phase, ...]
    saturates: bool = False

    def fields(self) -> dict[str, Any]:
        """Every field, JSON-ready, for the record of a run."""
        values = asdict(self)
        values["phases"] = [{"kind": type(phase).__name__, **asdict(phase)} for phase in self.phases]
        return values


_NEAR = {"multi-scale": 10.0, "perceptual": 1.0}
_SHARP = {"multi-scale": 1.0, "pixel": 10.0}
_WHITE_NOISE = {"noise-correlation": 10.0, "noise-power": 0.02}

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "stylegan2", "SG2 App. D: the official projector", steps=1000, start="mean", noise="random", restarts=1,
            restart_phases=1, largest_side=256,
            phases=(
                Adam(1.0, GOAL, {"perceptual": 1.0, "noise-correlation": 1e5}, Ramp(0.1, 0.05, 0.25),
                     Jitter(0.05, 0.75), noise="optimise"),
            ),
        ),
        Preset(
            "fast", "ours: the best of nearest samples, Gauss–Newton in W, then W+, then noise", steps=200, start="nearest",
            noise="none", restarts=3, restart_phases=1, largest_side=256,
            phases=(
                Adam(0.20, "w", _NEAR, Ramp(0.1, 0.1, 0.3), coordinates="white"),
                GaussNewton(0.03, "w", _NEAR, prior=1e-3),
                Adam(0.37, GOAL, {**_NEAR, "w-prior": 1e-3}, Ramp(0.05, 0.1, 0.5), coordinates="white"),
                Adam(0.40, None, {**_SHARP, **_WHITE_NOISE}, Ramp(0.1, 0.05, 0.5), noise="free"),
            ),
            saturates=True,
        ),
        Preset(
            "hybrid", "ours: an encoder's latents (pSp, ReStyle), Gauss–Newton in W where they lie there, then W+ and noise together",
            steps=100, start="encoder", noise="none", restarts=1, restart_phases=1, largest_side=256,
            phases=(
                GaussNewton(0.03, "w", _NEAR, prior=1e-3),
                Adam(0.97, GOAL, {"multi-scale": 10.0, "pixel": 5.0, "perceptual": 2.0, "w-prior": 1e-3, **_WHITE_NOISE},
                     Ramp(0.2, 0.05, 0.4), coordinates="white", noise="free"),
            ),
            saturates=True,
        ),
        Preset(
            "in-domain", "after IDI Sec. 3.3: W+ from an encoder, which also holds it; Adam at 0.01, 100 steps", steps=100, start="encoder",
            noise="const", restarts=1, restart_phases=1, largest_side=256,
            phases=(Adam(1.0, GOAL, {"pixel": 1.0, "perceptual": 1.0, "in-domain": 0.05}, Ramp(0.01, 0.0, 0.0)),),
        ),
        Preset(
            "careful", "ours: as fast, from several starts, with more second-order steps, in W with noise counted as random", steps=400,
            start="nearest", noise="none", restarts=10, restart_phases=1, largest_side=256,
            phases=(
                Adam(0.15, "w", _NEAR, Ramp(0.1, 0.1, 0.3), coordinates="white"),
                GaussNewton(0.05, "w", _NEAR, prior=3e-4, tolerance=1e-4),
                Adam(0.40, GOAL, {**_NEAR, "w-prior": 3e-4}, Ramp(0.05, 0.1, 0.5), coordinates="white"),
                Posterior(0.015),
                Adam(0.385, None, {**_SHARP, **_WHITE_NOISE}, Ramp(0.1, 0.05, 0.5), noise="free"),
            ),
            saturates=True,
        ),
        Preset(
            "image2stylegan", "I2S Sec. 3: W+ from the mean, Adam at 0.01, 5000 steps", steps=5000, start="mean",
            noise="const", restarts=1, restart_phases=1, largest_side=256,
            phases=(Adam(1.0, GOAL, {"perceptual": 1.0, "pixel": 1.0}, Ramp(0.01, 0.0, 0.0)),),
        ),
        Preset(
            "pn-space", "PN Sec. 3.3: W+ held near the mapping's samples by a Gaussian of P", steps=1300, start="mean",
            noise="const", restarts=1, restart_phases=1, largest_side=256,
            phases=(Adam(1.0, GOAL, {"perceptual": 1.0, "pixel": 1.0, "p-prior": 1e-3}, Ramp(0.01, 0.0, 0.0)),),
        ),
    )
}  # fmt: skip


def preset_of(name: str | Preset) -> Preset:
    """By name, or a row of one's own as it is. Raises UsageError for a name that the table does not have."""
    if isinstance(name, Preset):
        return name
    if name not in PRESETS:
        raise UsageError(f"preset {name!r}: one of {', '.join(PRESETS)} is allowed")
    return PRESETS[name]


__all__ = ["GOAL", "PRESETS", "Jitter", "Patience", "Phase", "Preset", "Ramp", "preset_of"]
