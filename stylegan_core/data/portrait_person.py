"""From attributes and identity traits to the proportions and colours of one person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, sin, sqrt

import numpy as np

from stylegan_core.data.portrait_shapes import Array, along, hsv, rgb

IDENTITY_TRAITS: tuple[str, ...] = (
    "face_width", "jaw_width", "size", "offset_x", "offset_y",
    "eye_size", "eye_spacing", "eye_colour", "gaze_x", "gaze_y",
    "brow_thickness", "brow_tilt", "brow_arch", "nose_length", "nose_width",
    "mouth_width", "lip_fullness", "lip_colour", "ear_size", "freckles",
    "hair_volume", "hair_part", "hair_fringe", "hair_wave", "hair_flare",
    "clothes_hue", "clothes_value", "collar", "shoulders", "pattern",
    "hat_kind", "hat_hue", "hat_value", "glasses_shape", "glasses_colour",
    "beard_length", "beard_width", "gradient_angle", "gradient_strength", "glow_x",
)  # fmt: skip

SKIN = np.stack([rgb(c) for c in ("4d2d20", "7d4d32", "a9714c", "d09c74", "eabf9c", "f8ddc8")])
HAIR = np.stack([rgb(c) for c in ("1d1a20", "3f281c", "6d4228", "a24f27", "cf7c35", "deb368", "f2e2b6")])
BACKGROUND_PATH = "2c3a66 5f5290 a3679a dc8390 f4b391 f3d98f b4cd8c 6fae98 3a8596 23566b"
BACKGROUND = np.stack([rgb(c) for c in BACKGROUND_PATH.split()])
IRIS = np.stack([rgb(c) for c in ("3b2416", "6a4322", "7d7a35", "4d8a5c", "4a86b4", "7fa4bd")])
LIPS = np.stack([rgb(c) for c in ("b4604f", "c24a50", "a83250")])
FRAMES = np.stack([rgb(c) for c in ("17171c", "4a2a1b", "8a2430", "1f3b66")])


@dataclass(frozen=True)
class Person:
    """Proportions in head units (half the height of a head is about 0.7) and colours [3] in [0, 1]."""

    attributes: Mapping[str, float]
    traits: Mapping[str, float]
    turn: float  # yaw in radians
    lean: float  # tilt in radians
    scale: float  # picture units per head unit
    centre: tuple[float, float]  # of the untilted head, in picture units
    half_width: float  # of the head
    light: Array  # [3] unit vector towards the light
    skin: Array
    hair: Array
    brow: Array
    lips: Array
    iris: Array
    clothes: Array
    trim: Array
    hat: Array
    frame: Array

    @classmethod
    def from_values(cls, attributes: Mapping[str, float], traits: Mapping[str, float]) -> Person:
        """attributes: the 14 names of portraits.ATTRIBUTES; traits: IDENTITY_TRAITS."""
        a, t = attributes, traits
        grey = 0.62 * _rise(a["age"], -0.1, 1.0)
        hair = along(HAIR, a["hair_colour"])
        silver = rgb("a9a9ae") * 0.72 + 0.45 * hair
        skin = along(SKIN, a["skin_tone"])
        clothes_value = 0.62 + 0.3 * t["clothes_value"]
        angle = 1.3 * a["light"]
        direction = np.array([sin(angle), -0.38, cos(angle)], np.float32)
        return cls(
            attributes=a,
            traits=t,
            turn=0.62 * a["yaw"],
            lean=0.34 * a["tilt"],
            scale=1.06 + 0.04 * t["size"] + 0.03 * a["age"],
            centre=(0.05 * t["offset_x"], 0.035 + 0.03 * t["offset_y"]),
            half_width=0.56 + 0.03 * t["face_width"],
            light=direction / np.float32(sqrt(float(direction @ direction))),
            skin=skin,
            hair=(hair * (1.0 - grey) + silver * grey).astype(np.float32),
            brow=(0.72 * (hair * (1.0 - 0.5 * grey) + silver * 0.5 * grey) + 0.02).astype(np.float32),
            lips=(0.5 * skin + 0.5 * along(LIPS, t["lip_colour"])).astype(np.float32),
            iris=along(IRIS, t["eye_colour"]),
            clothes=hsv(0.5 * t["clothes_hue"], 0.35 + 0.3 * abs(t["pattern"]), clothes_value),
            trim=hsv(0.5 * t["clothes_hue"] + 0.08, 0.25, 0.95 if clothes_value < 0.62 else 0.45),
            hat=hsv(0.5 * t["hat_hue"], 0.55, 0.6 + 0.25 * t["hat_value"]),
            frame=along(FRAMES, t["glasses_colour"]),
        )

    def tone(self, nx: Array, ny: Array) -> Array:
        """Light in [0, 1] that falls on a surface with normal (nx, ny, rest), soft at the edge of the shadow."""
        nz = np.sqrt(np.maximum(1.0 - nx * nx - ny * ny, 0.03))
        facing = nx * self.light[0] + ny * self.light[1] + nz * self.light[2]
        return np.minimum(np.maximum(0.27 + 0.73 * facing, 0.0), 1.0)

    def on_head(self, longitude: float, v: float, reach: float = 1.0) -> tuple[float, float]:
        """Where a point of the turned head appears: (u, foreshortening in [0.25, 1]).

        longitude: radians from the middle of the face; v: height in head units; reach: 1 is the surface.
        """
        ring = sqrt(max(1.0 - (v / 0.85) ** 2, 0.1))
        angle = longitude + self.turn
        return self.half_width * ring * reach * sin(angle), max(cos(angle), 0.25)


def _rise(value: float, low: float, high: float) -> float:
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


def shaded(base: Array, tone: Array, *, depth: float = 0.52) -> Array:
    """[3, h, w]: a colour under light; shadows keep some red. base: [3] or [3, h, w]; tone: [h, w] in [0, 1]."""
    base = base[:, None, None] if base.ndim == 1 else base
    shadow = np.array([depth + 0.08, depth - 0.03, depth - 0.06], np.float32)[:, None, None]
    return base * (shadow + (1.08 - shadow) * tone)
