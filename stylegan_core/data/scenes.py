"""Procedural houses in a landscape: a second small domain, not aligned as portraits are.

Scene i of seed S comes from `numpy.random.SeedSequence([S, i])`, with one child stream for the composition and one for
the stochastic detail (grain of grass, leaves and plaster).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stylegan_core.data.portrait_shapes import Canvas
from stylegan_core.data.scene_house import paint_house
from stylegan_core.data.scene_landscape import View, paint_bush, paint_ground, paint_sky, paint_tree
from stylegan_core.errors import UsageError

SCENE_TRAITS: tuple[str, ...] = (
    "hour", "horizon", "sun_x", "hill_height", "hill_phase", "season", "path",
    "house_x", "house_size", "house_width", "house_height", "side", "depth",
    "wall_hue", "wall_value", "roof_kind", "roof_pitch", "roof_hue", "chimney",
    "window_rows", "window_columns", "window_shape", "shutters", "door_place", "door_hue",
    "cloud_x", "cloud_y", "cloud_size", "cloud_cover", "tree_count", "tree_kind",
    "tree_1_x", "tree_1_size", "tree_2_x", "tree_2_size", "tree_3_x", "tree_3_size", "bush_x",
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """Everything that is needed to draw one landscape."""

    traits: dict[str, float]  # keys of SCENE_TRAITS, each in [-1, 1]
    detail_seed: int

    def with_detail(self, seed: int) -> Scene:
        """The same composition with other stochastic detail."""
        if seed < 0:
            raise UsageError(f"a detail seed is 0 or more, not {seed}")
        return replace(self, detail_seed=int(seed))


def sample_scene(seed: int, index: int) -> Scene:
    """Scene `index` of the endless set `seed` (training 0, validation 1, tests from 1000)."""
    if seed < 0 or index < 0:
        raise UsageError(f"a scene needs a seed and an index of 0 or more, not seed {seed}, index {index}")
    trait_stream, detail_stream = np.random.SeedSequence([seed, index]).spawn(2)
    values = np.random.default_rng(trait_stream).uniform(-1.0, 1.0, len(SCENE_TRAITS))
    traits = {name: float(value) for name, value in zip(SCENE_TRAITS, values, strict=True)}
    return Scene(traits, int(detail_stream.generate_state(1)[0]))


def scene_u8(seed: int, index: int, resolution: int = 64) -> np.ndarray:
    """[R, R, 3] uint8 of scene `index` of `seed`."""
    return render_scene(sample_scene(seed, index), resolution)


def render_scene(scene: Scene, resolution: int) -> np.ndarray:
    """[R, R, 3] uint8; the same composition at every resolution."""
    if not 8 <= resolution <= 4096:
        raise UsageError(f"resolution={resolution} is not between 8 and 4096")
    view = View.of(scene.traits, scene.detail_seed, Canvas(resolution))
    paint_sky(view)
    paint_ground(view)
    traits = scene.traits
    count = round(1.5 + 1.5 * traits["tree_count"])
    for number in range(1, count + 1):
        if number != 2:
            paint_tree(view, number, in_front=False)
    paint_house(view)
    if count >= 2:
        paint_tree(view, 2, in_front=True)
    paint_bush(view)
    picture = np.clip(view.canvas.image, 0.0, 1.0) * 255.0 + 0.5
    return np.ascontiguousarray(picture.astype(np.uint8).transpose(1, 2, 0))
