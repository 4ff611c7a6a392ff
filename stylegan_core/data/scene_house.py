"""The house of a scene: walls, roof, chimney, windows and door, seen a little from the side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stylegan_core.data.portrait_shapes import (
    along,
    capsule,
    ellipse,
    fill,
    hsv,
    polygon,
    ramp,
    rgb,
    rounded_box,
    stroke,
)
from stylegan_core.data.scene_landscape import Point, View

WALLS = np.stack([rgb(c) for c in ("f2e6cf", "e8b98a", "d98f7a", "c9d3d8", "9fb8c6", "e6d27e")])
ROOFS = np.stack([rgb(c) for c in ("a94f3a", "7d3b34", "5a4a4a", "465a6e", "4f6f5a")])
GOLDEN = rgb("ffd98a")


@dataclass(frozen=True)
class House:
    """Measures in picture units. (x, base) is the middle of the foot of the front wall; shift leads to the far edge."""

    x: float
    base: float
    half: float  # half the width of the front
    height: float  # of the walls
    pitch: float  # height of the roof over the walls
    side: float  # 1 where the side wall is seen to the right, -1 to the left
    shift: Point  # from a front corner to the far one on the same side

    @classmethod
    def of(cls, view: View) -> House:
        t = view.traits
        size = 0.82 + 0.20 * t["house_size"]
        side = 1.0 if t["side"] > 0 else -1.0
        half, depth = size * (0.34 + 0.07 * t["house_width"]), size * (0.26 + 0.08 * t["depth"])
        pitch = 0.05 if t["roof_kind"] > 0.6 else 0.27 + 0.09 * t["roof_pitch"]
        base = view.horizon + 0.30 + 0.12 * t["house_size"]
        x = 0.34 * t["house_x"] - 0.5 * side * depth
        return cls(
            x, base, half, size * (0.52 + 0.14 * t["house_height"]), size * pitch, side, (side * depth, -0.3 * depth)
        )

    def front(self, along_x: float, up: float) -> Point:
        """A point of the front. along_x: -1 far corner, 1 the corner next to the side wall; up: picture units."""
        return self.x + self.side * self.half * along_x, self.base - up

    def behind(self, point: Point, share: float = 1.0) -> Point:
        """The same point moved back along the side wall."""
        return point[0] + share * self.shift[0], point[1] + share * self.shift[1]


def paint_house(view: View) -> None:
    """Walls, roof, chimney, windows and door of one house, seen a little from the side."""
    canvas, t = view.canvas, view.traits
    house = House.of(view)
    x, y = canvas.x, canvas.y
    wall = along(WALLS, t["wall_hue"]) * np.float32(0.95 + 0.05 * t["wall_value"])
    front_light = 1.0 - 0.10 * max(0.0, house.side * view.sun[0])
    side_light = 0.66 + 0.26 * max(0.0, house.side * view.sun[0])
    # Shadow and path.
    canvas.darken(
        0.35 * ramp(ellipse(x - house.x - 0.4 * house.shift[0], y - house.base, 1.5 * house.half, 0.08), 0.08, -0.05),
        rgb("404a50"),
    )
    door_u = -0.6 if t["door_place"] < -0.33 else (0.6 if t["door_place"] > 0.33 else 0.0)
    door = house.front(door_u, 0.0)
    trail = np.abs(x - door[0] - 0.25 * t["path"] * (y - door[1]) ** 2 * 3.0) - 0.07 - 0.16 * (y - door[1])
    canvas.paint(fill(np.maximum(trail, house.base - y), canvas.pixel), view.lit(rgb("d8c49a"), 0.95))
    # Walls.
    plaster = 1.0 + 0.025 * view.noise(7, 44, 44)
    near, far, near_top, far_top = (
        house.front(u, h) for u, h in ((1, 0), (-1, 0), (1, house.height), (-1, house.height))
    )
    apex = house.front(0, house.height + house.pitch)
    gabled = t["roof_kind"] < -0.2
    side = [near, house.behind(near), house.behind(near_top), near_top]
    middle_top = house.behind(house.front(1, house.height + house.pitch), 0.5)
    if not gabled and t["roof_kind"] <= 0.6:
        side = [near, house.behind(near), house.behind(near_top), middle_top, near_top]
    canvas.paint(fill(polygon(x, y, side), canvas.pixel), view.lit(wall, side_light * plaster))
    facade = [far, near, near_top, apex, far_top] if gabled else [far, near, near_top, far_top]
    canvas.paint(fill(polygon(x, y, facade), canvas.pixel), view.lit(wall, front_light * plaster))
    paint_roof(view, house, apex, middle_top, gabled=gabled)
    paint_openings(view, house, door_u)


def paint_roof(view: View, house: House, apex: Point, middle_top: Point, *, gabled: bool) -> None:
    """A gable towards us, a gable to the side, or a flat roof; with overhang and perhaps a chimney."""
    canvas, t = view.canvas, view.traits
    x, y = canvas.x, canvas.y
    tiles = along(ROOFS, t["roof_hue"])
    grain = 1.0 + 0.05 * view.noise(8, 30, 44)
    if t["chimney"] > -0.2 and t["roof_kind"] <= 0.6:
        foot = house.behind(house.front(0.35 if gabled else -0.3, house.height + 0.70 * house.pitch), 0.5)
        stack = rounded_box(x - foot[0], y - foot[1] + 0.13, 0.055, 0.15, 0.01)
        canvas.paint(fill(stack, canvas.pixel), view.lit(rgb("9a5a48"), 0.9))
        rim = rounded_box(x - foot[0], y - foot[1] + 0.28, 0.07, 0.025, 0.01)
        canvas.paint(fill(rim, canvas.pixel), view.lit(rgb("6d4338")))
    low = house.height - 0.02
    planes: list[tuple[list[Point], float]]  # corners, share of the light
    if t["roof_kind"] > 0.6:
        slab = [
            house.front(-1.08, low),
            house.front(1.08, low),
            house.front(1.08, low + 0.08),
            house.front(-1.08, low + 0.08),
        ]
        edge = [slab[1], house.behind(slab[1], 1.05), house.behind(slab[2], 1.05), slab[2]]
        top = [slab[3], slab[2], house.behind(slab[2], 1.05), house.behind(slab[3], 1.05)]
        planes = [(top, 1.0), (edge, 0.7), (slab, 0.88)]
    elif gabled:
        eave = house.front(1.12, low - 0.06)
        slope = [apex, eave, house.behind(eave, 1.05), house.behind(apex, 1.05)]
        planes = [(slope, 0.86)]
    else:
        left, right = house.front(-1.12, low - 0.05), house.front(1.08, low - 0.05)
        ridge_left = house.behind(house.front(-1.05, house.height + house.pitch), 0.5)
        planes = [([left, right, middle_top, ridge_left], 1.0)]
    swell = 0.0 if t["roof_kind"] > 0.6 else 0.008
    for corners, light in planes:
        canvas.paint(fill(polygon(x, y, corners) - swell, canvas.pixel), view.lit(tiles, light * grain))
    if gabled:
        for end in (-1.14, 1.14):
            beam = capsule(x, y, apex, house.front(end, low - 0.07), 0.026)
            canvas.paint(fill(beam, canvas.pixel), view.lit(tiles, 0.72))


def paint_openings(view: View, house: House, door_u: float) -> None:
    """The door and rows of windows of the front, and one window at the side; lit when it is dark."""
    canvas, t = view.canvas, view.traits
    columns = 2 if t["window_columns"] < 0.2 else 3
    rows = 2 if house.height > 0.50 and t["window_rows"] > -0.3 else 1
    wide = 0.19 * house.half
    tall = min(0.32 * house.height / rows, 0.15)
    for row in range(rows):
        up = house.height * (row + (0.56 if rows == 2 else 0.58)) / rows
        for column in range(columns):
            u = (-0.64, 0.0, 0.64)[column] if columns == 3 else (-0.6, 0.6)[column]
            if row == 0 and abs(u - door_u) < 0.5:
                continue
            _window(view, house.front(u, up), wide, tall)
    x0, y0 = house.front(door_u, 0.0)
    width, height = 0.16 * house.half + 0.02, min(0.36, 0.62 * house.height / rows**0.5)
    box = canvas.window(x0, y0 - 0.5 * height, width + 0.06, 0.5 * height + 0.06)
    x, y = canvas.x[box] - x0, canvas.y[box] - y0
    frame = rounded_box(x, y + 0.5 * height, width + 0.025, 0.5 * height + 0.02, 0.02)
    canvas.paint(fill(np.maximum(frame, y), canvas.pixel), view.lit(rgb("f7f1e6"), 0.92), box)
    leaf = rounded_box(x, y + 0.5 * height, width, 0.5 * height, 0.015)
    canvas.paint(fill(leaf, canvas.pixel), view.lit(hsv(0.5 * t["door_hue"], 0.55, 0.62)), box)
    knob = ellipse(x - 0.6 * width, y + 0.45 * height, 0.018, 0.018)
    canvas.paint(fill(knob, canvas.pixel), GOLDEN, box)


def _window(view: View, centre: Point, wide: float, tall: float) -> None:
    """A window with frame, bars, a gleam, and shutters for some houses."""
    canvas, t = view.canvas, view.traits
    reach = wide * (2.1 if t["shutters"] > 0.3 else 1.0)
    box = canvas.window(centre[0], centre[1], reach + 0.06, tall + 0.06)
    x, y = canvas.x[box] - centre[0], canvas.y[box] - centre[1]
    if t["shutters"] > 0.3:
        panel = rounded_box(np.abs(x) - 1.48 * wide, y, 0.26 * wide, tall, 0.01)
        canvas.paint(fill(panel, canvas.pixel), view.lit(hsv(0.5 * t["door_hue"], 0.5, 0.55)), box)
    corner = 0.9 * wide if t["window_shape"] > 0.6 else 0.015
    pane = rounded_box(x, y, wide, tall, min(corner, 0.9 * tall))
    canvas.paint(fill(pane - 0.022, canvas.pixel), view.lit(rgb("f7f1e6"), 0.95), box)
    glass = view.lit(rgb("6f8fa8"))[:, None, None] * (1.0 + 0.35 * np.clip((x - y) / tall, -1.0, 1.0))
    glass = glass + (GOLDEN[:, None, None] - glass) * view.dusk
    canvas.paint(fill(pane, canvas.pixel), glass, box)
    bars = np.maximum(stroke(x, 0.022, canvas.pixel), stroke(y, 0.022, canvas.pixel))
    canvas.paint(bars * fill(pane, canvas.pixel), view.lit(rgb("f7f1e6"), 0.95), box)
