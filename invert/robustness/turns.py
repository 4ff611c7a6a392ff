"""The optimum of noise, of w and of w+ in turn: which order reaches what (after I2S++, which keeps them apart)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invert.projectors.optimise import Adam
from invert.projectors.presets import GOAL, Preset
from invert.projectors.schedules import Ramp
from invert.robustness.embedding import Embedded, checked_preset, embed, figures_of
from invert.robustness.panels import strips
from invert.robustness.pictures import INSIDE, OUTSIDE, subject
from invert.robustness.setting import Outcome, Setting

NEAR = {"multi-scale": 10.0, "perceptual": 1.0}
SHARP = {"multi-scale": 1.0, "pixel": 10.0, "noise-correlation": 10.0, "noise-power": 0.02}


def _latent(share: float, space: str = GOAL) -> Adam:
    return Adam(share, space, NEAR, Ramp(0.1, 0.1, 0.3), coordinates="white")


def _noise(share: float) -> Adam:
    return Adam(share, None, SHARP, Ramp(0.1, 0.05, 0.5), noise="free")


def _together(share: float) -> Adam:
    return Adam(share, GOAL, {**SHARP, **NEAR}, Ramp(0.1, 0.1, 0.3), coordinates="white", noise="free")


ORDERS: Mapping[str, tuple[Adam, ...]] = {  # every row shares out the same number of steps
    "noise": (_noise(1.0),),
    "w": (_latent(1.0, "w"),),
    "w+": (_latent(1.0),),
    "w, noise": (_latent(0.5, "w"), _noise(0.5)),
    "w+, noise": (_latent(0.5), _noise(0.5)),
    "w, w+, noise": (_latent(0.25, "w"), _latent(0.25), _noise(0.5)),
    "noise, w+": (_noise(0.5), _latent(0.5)),
    "w+ and noise together": (_together(1.0),),
    "w+, noise, w+, noise": (_latent(0.25), _noise(0.25), _latent(0.25), _noise(0.25)),
}


def turns(setting: Setting) -> Outcome:
    """Adam from the mean and from silent noise, the same number of steps for every order."""
    steps = checked_preset(setting.preset, setting.steps).steps
    rows: list[dict[str, Any]] = []
    shown: list[list[Embedded]] = []
    for name in (INSIDE, OUTSIDE):
        targets = subject(name, setting.generator, setting.count)
        cells = []
        for order, phases in orders_of(setting.generator).items():
            cells.append(embed(setting, targets, preset=preset_in_turn(order, phases, steps), what=f"{name}: {order}"))
            rows.append({"pictures": name, "order": order, **figures_of(setting, cells[-1])})
        shown.append(cells)
    panels = [[cells[0].targets[:1], *(cell.images[:1] for cell in cells)] for cells in shown]
    panels += [[cells[0].targets[:1], *(cell.latent_images[:1] for cell in cells)] for cells in shown]
    columns = "; ".join(orders_of(setting.generator))
    caption = f"Columns: the picture; {columns}. Rows: {INSIDE} and {OUTSIDE} with the found noise, then both with the stored noise."
    return Outcome(rows, strips(panels), caption)


def preset_in_turn(order: str, phases: tuple[Adam, ...], steps: int) -> Preset:
    """The row of the table as a preset."""
    return Preset(order, "after I2S++", steps=steps, start="mean", noise="none", restarts=1, restart_phases=1, largest_side=256,
                  phases=phases)


def orders_of(generator: Any) -> dict[str, tuple[Adam, ...]]:
    """Those that a generator can do: without noise inputs, those of the latent alone."""
    if generator.noise_shapes:
        return dict(ORDERS)
    return {name: phases for name, phases in ORDERS.items() if all(phase.noise == "keep" for phase in phases)}
