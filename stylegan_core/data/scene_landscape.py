"""Sky, hills, meadow and trees of a scene, and the daylight that all of it shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stylegan_core.data.portrait_shapes import (
    Array,
    Canvas,
    along,
    ellipse,
    fill,
    lattice_noise,
    polygon,
    ramp,
    rgb,
    rounded_box,
    union,
)

SKY_TOP = np.stack([rgb(c) for c in ("1b2450", "4f6fae", "4a94d6", "5aa6e0", "7f7fc4", "2c2a5e")])
SKY_LOW = np.stack([rgb(c) for c in ("4a4f86", "f3c9a4", "c6e4f2", "d8edf0", "f7b184", "8a5a86")])
DAYLIGHT = np.stack([rgb(c) for c in ("646c98", "efdccb", "ffffff", "fffdf4", "f6d2b4", "6f6a94")])
GRASS = np.stack([rgb(c) for c in ("7fa84a", "5f9a48", "8ea551", "b99a4c", "dfe6ea")])
LEAVES = np.stack([rgb(c) for c in ("4f8f3f", "3d7d42", "7d8f3a", "c9762f", "8fa3a0")])


Point = tuple[float, float]


@dataclass(frozen=True)
class View:
    """A canvas and what all things in it share: the horizon, the colour of the daylight, where the sun stands."""

    canvas: Canvas
    traits: Mapping[str, float]
    detail_seed: int
    horizon: float  # y in picture units
    daylight: Array  # [3], factor on every colour
    sun: Point
    dusk: float  # 0 by day, 1 when windows are lit

    @classmethod
    def of(cls, traits: Mapping[str, float], detail_seed: int, canvas: Canvas) -> View:
        t = traits
        sun = (0.85 * t["sun_x"], -0.75 + 0.65 * t["hour"] ** 2)
        dusk = float(ramp(np.float32(abs(t["hour"])), 0.66, 0.92))
        daylight = along(DAYLIGHT, t["hour"])
        return cls(canvas, t, detail_seed, 0.18 + 0.16 * t["horizon"], daylight, sun, dusk)

    def lit(self, colour: Array, shade: Array | float = 1.0) -> Array:
        """[3, h, w] or [3]: a colour in the daylight. shade: [h, w] or a number, 1 in full light."""
        if isinstance(shade, np.ndarray):
            return (colour * self.daylight)[:, None, None] * shade
        return (colour * self.daylight * np.float32(shade)).astype(np.float32)

    def noise(self, layer: int, rows: int, columns: int) -> Array:
        """[R, R] stochastic detail of one layer."""
        rng = np.random.default_rng([self.detail_seed, layer])
        return lattice_noise(rng, rows, columns, self.canvas.resolution)


def paint_sky(view: View) -> None:
    """Sky from the colours of the hour, the sun or moon with its glow, and clouds."""
    canvas, t = view.canvas, view.traits
    x, y = canvas.x, canvas.y
    height = np.clip((view.horizon - y) / 1.2, 0.0, 1.0)
    low, top = along(SKY_LOW, t["hour"])[:, None, None], along(SKY_TOP, t["hour"])[:, None, None]
    canvas.image[:] = low + (top - low) * height**0.8
    dx, dy = x - view.sun[0], y - view.sun[1]
    away = dx * dx + dy * dy
    sun = rgb("fff3c4") if view.dusk < 0.5 else rgb("f4f1e4")
    canvas.paint(0.45 * np.exp(-5.0 * away), sun)
    canvas.paint(fill(ellipse(dx, dy, 0.13, 0.13), canvas.pixel), sun)
    if t["cloud_cover"] > -0.4:
        for number in range(2):
            size = (0.20 + 0.07 * t["cloud_size"]) * (1.0 - 0.3 * number)
            x0 = 0.8 * t["cloud_x"] + (1.05 if t["cloud_x"] < 0 else -1.05) * number
            y0 = -0.62 + 0.16 * t["cloud_y"] + 0.22 * number
            puffs = ellipse(x - x0, y - y0, 1.5 * size, 0.42 * size)
            for offset, radius in ((-0.7, 0.45), (0.05, 0.68), (0.75, 0.5)):
                puff = ellipse(x - x0 - offset * size, y - y0 + 0.35 * size, radius * size, radius * size)
                puffs = union(puffs, puff, 0.06)
            white = 0.55 + 0.45 * view.daylight
            shade = 0.90 + 0.10 * ramp(y - y0, 0.3 * size, -0.6 * size)
            canvas.paint(0.88 * ramp(puffs, 0.02, -0.04), white[:, None, None] * shade)


def paint_ground(view: View) -> None:
    """Far hills in the haze, and the meadow with its grain."""
    canvas, t = view.canvas, view.traits
    x, y = canvas.x, canvas.y
    grass = along(GRASS, t["season"])
    far = along(SKY_LOW, t["hour"])
    for rise, waves, phase, haze in ((0.20, 2.2, 0.0, 0.55), (0.09, 3.4, 2.0, 0.25)):
        top = view.horizon - rise * (0.75 + 0.35 * t["hill_height"])
        crest = top - 0.07 * np.sin(waves * x + 3.0 * t["hill_phase"] + phase)
        colour = haze * far + (1.0 - haze) * view.lit(grass, 0.82)
        canvas.paint(fill(crest - y, canvas.pixel), colour)
    edge = view.horizon + 0.03 * np.sin(1.8 * x + 4.0 * t["hill_phase"])
    shade = 1.04 - 0.22 * np.clip(y - view.horizon, 0.0, 1.0) + 0.035 * view.noise(0, 40, 28)
    if canvas.resolution >= 128:
        shade = shade + 0.05 * view.noise(1, 190, 110)
    canvas.paint(fill(edge - y, canvas.pixel), view.lit(grass, shade))


def paint_tree(view: View, number: int, *, in_front: bool) -> None:
    """A round tree or a fir with a trunk and a shadow; those in front stand nearer and are larger."""
    canvas, t = view.canvas, view.traits
    size = (0.34 + 0.10 * t[f"tree_{number}_size"]) * (1.25 if in_front else 0.9)
    x0 = 0.95 * t[f"tree_{number}_x"]
    if in_front:
        x0 = (0.68 + 0.28 * abs(t["tree_2_x"])) * (-1.0 if t["house_x"] > 0 else 1.0)
    foot = view.horizon + (0.52 if in_front else 0.10)
    box = canvas.window(x0, foot - 0.8 * size, 1.3 * size, 1.2 * size)
    x, y = canvas.x[box] - x0, canvas.y[box] - foot
    canvas.darken(0.35 * ramp(ellipse(x, y, 0.55 * size, 0.11 * size), 0.03, -0.03), rgb("404a50"), box)
    trunk = rounded_box(x, y + 0.3 * size, 0.065 * size, 0.32 * size, 0.02)
    canvas.paint(fill(trunk, canvas.pixel), view.lit(rgb("6b4a33")), box)
    if t["tree_kind"] > 0.25:
        crown = polygon(x, y, ((-0.42 * size, -0.25 * size), (0.42 * size, -0.25 * size), (0.0, -1.15 * size))) - 0.02
        upper = polygon(x, y, ((-0.32 * size, -0.72 * size), (0.32 * size, -0.72 * size), (0.0, -1.5 * size))) - 0.02
        crown = union(crown, upper, 0.02)
    else:
        crown = ellipse(x, y + 0.95 * size, 0.42 * size, 0.46 * size)
        crown = union(crown, ellipse(x + 0.28 * size, y + 0.72 * size, 0.27 * size, 0.27 * size), 0.06)
        crown = union(crown, ellipse(x - 0.28 * size, y + 0.75 * size, 0.26 * size, 0.26 * size), 0.06)
    toward = np.clip((x * (1.0 if view.sun[0] > x0 else -1.0) - 0.7 * (y + 0.8 * size)) / size, -0.8, 0.8)
    shade = 0.88 + 0.26 * toward + 0.06 * view.noise(2 + number, 44, 44)[box]
    canvas.paint(fill(crown, canvas.pixel), view.lit(along(LEAVES, t["season"]), shade), box)


def paint_bush(view: View) -> None:
    """One low bush near the lower edge."""
    canvas, t = view.canvas, view.traits
    x0, y0 = 0.9 * t["bush_x"], view.horizon + 0.62
    x, y = canvas.x - x0, canvas.y - y0
    shape = union(ellipse(x, y, 0.22, 0.13), ellipse(x - 0.16, y - 0.03, 0.15, 0.10), 0.05)
    shade = 0.80 - 0.5 * np.clip(y, -0.2, 0.2) + 0.07 * view.noise(6, 44, 44)
    canvas.paint(fill(shape, canvas.pixel), view.lit(along(LEAVES, t["season"]), shade))
