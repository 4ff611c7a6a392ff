"""Drawing one person on a canvas: background, body, hair, head, ears and hat; the face is in portrait_face.py."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin

import numpy as np

from stylegan_core.data.portrait_person import BACKGROUND, Person, shaded
from stylegan_core.data.portrait_shapes import (
    Array,
    Canvas,
    along,
    between,
    capsule,
    ellipse,
    fill,
    intersection,
    lattice_noise,
    ramp,
    rounded_box,
    stroke,
    union,
)

Box = tuple[slice, slice]


@dataclass
class Sitting:
    """A person in front of a canvas, with what several layers need.

    u, v: [R, R] coordinates in the frame of the head (turned by tilt); pixel: size of a pixel in head units;
    head: [R, R] distance to the head; normal_x, normal_y: [R, R] of the head.
    """

    person: Person
    canvas: Canvas
    detail_seed: int
    u: Array
    v: Array
    pixel: float
    head: Array
    normal_x: Array
    normal_y: Array

    @classmethod
    def seat(cls, person: Person, canvas: Canvas, detail_seed: int) -> Sitting:
        pivot_x, pivot_y = person.centre[0], 0.72
        c, s = cos(person.lean), sin(person.lean)
        dx, dy = canvas.x - pivot_x, canvas.y - pivot_y
        u = (c * dx + s * dy) * (1.0 / person.scale)
        v = (c * dy - s * dx + (pivot_y - person.centre[1])) * (1.0 / person.scale)
        head, middle = head_distance(person, u, v)
        nx, ny = (u - middle) * (1.0 / (1.06 * person.half_width)), (v + 0.02) * (1.0 / 0.80)
        shrink = 0.97 / np.maximum(np.sqrt(nx * nx + ny * ny), 0.97)
        return cls(person, canvas, detail_seed, u, v, canvas.pixel / person.scale, head, nx * shrink, ny * shrink)

    def rng(self, layer: int) -> np.random.Generator:
        """Stream of stochastic detail of one layer, so that adding a hat leaves the grain of the cloth alone."""
        return np.random.default_rng([self.detail_seed, layer])

    def box(self, u: float, v: float, half_u: float, half_v: float) -> Box:
        """Rows and columns that hold a box given in head units."""
        x, y = self.to_picture(u, v)
        c, s = abs(cos(self.person.lean)) * self.person.scale, abs(sin(self.person.lean)) * self.person.scale
        return self.canvas.window(x, y, c * half_u + s * half_v, c * half_v + s * half_u)

    def to_picture(self, u: float, v: float) -> tuple[float, float]:
        """Picture coordinates of a point in head units."""
        person = self.person
        c, s = cos(person.lean), sin(person.lean)
        du, dv = u * person.scale, v * person.scale - (0.72 - person.centre[1])
        return person.centre[0] + c * du - s * dv, 0.72 + s * du + c * dv

    def fill(self, distance: Array) -> Array:
        return fill(distance, self.pixel)

    def between(self, top: Array, bottom: Array) -> Array:
        return between(top, bottom, self.pixel)

    def stroke(self, distance: Array, width: float | Array) -> Array:
        return stroke(distance, width, self.pixel)


def head_distance(person: Person, u: Array, v: Array) -> tuple[Array, float]:
    """Distance to the head without ears and hair, and the middle of the head that shading turns around."""
    a, side = person.attributes, sin(person.turn)
    jaw = 0.80 + 0.06 * person.traits["jaw_width"] - 0.075 * a["age"]
    drop = 0.035 * a["age"] + 0.022 * (a["mouth_open"] + 1.0) * 0.5
    skull = ellipse(u + 0.05 * side, v + 0.13, person.half_width, 0.58)
    chin = ellipse(u - 0.08 * side, v - 0.21 - drop, jaw * person.half_width, 0.50)
    return union(skull, chin, 0.16), 0.02 * side


# Behind the head.


def paint_background(sitting: Sitting) -> None:
    """A smooth gradient around the colour of the attribute, a soft glow, and grain."""
    canvas, traits = sitting.canvas, sitting.person.traits
    base = along(BACKGROUND, sitting.person.attributes["background"])
    angle = 1.1 * traits["gradient_angle"]
    across = sin(angle) * canvas.x + cos(angle) * canvas.y
    glow_x, glow_y = canvas.x - 0.7 * traits["glow_x"], canvas.y + 0.35
    glow = np.exp(-1.6 * (glow_x * glow_x + glow_y * glow_y))
    light = 0.98 - (0.13 + 0.09 * traits["gradient_strength"]) * across + 0.16 * glow
    light += 0.011 * lattice_noise(sitting.rng(0), 40, 40, canvas.resolution)
    if canvas.resolution >= 128:
        light += 0.012 * lattice_noise(sitting.rng(1), 150, 150, canvas.resolution)
    canvas.image[:] = base[:, None, None] * light + (0.06 * glow - 0.01)


def paint_body(sitting: Sitting) -> None:
    """Neck, chest, clothes with a neckline, and the shadow of the head."""
    person, canvas, traits = sitting.person, sitting.canvas, sitting.person.traits
    age = person.attributes["age"]
    middle = 0.4 * person.centre[0] + 0.05 * sin(person.turn)
    top = 0.82 + 0.03 * traits["offset_y"]
    # Neck.
    box = canvas.window(0.0, 0.75, 1.0, 0.55)
    x, y = canvas.x[box], canvas.y[box]
    chin = sitting.to_picture(-0.05 * sin(person.turn), 0.40)
    neck = capsule(x, y, chin, (middle, 1.1), 0.225 + 0.02 * traits["face_width"] + 0.025 * age)
    skin = union(neck, ellipse(x - middle, y - 1.02, 0.46, 0.24), 0.12)
    tone = person.tone(np.clip((x - middle) * 1.9, -0.9, 0.9), np.full_like(x, 0.1))
    tone = tone * (1.0 - 0.60 * ramp(sitting.head[box] + 0.5 * (y - 0.7), 0.22, 0.0))
    canvas.paint(fill(skin, canvas.pixel), shaded(person.skin, tone), box)
    canvas.outline(skin, 0.02, box)
    # Clothes.
    box = canvas.window(0.0, 0.85, 1.0, 0.25)
    x, y = canvas.x[box] - middle, canvas.y[box] - top
    half = 0.74 + 0.08 * traits["shoulders"] + 0.07 * age + 0.35 * np.clip(y, 0.0, 0.3)
    body = rounded_box(x, y - 0.62, half, 0.60, 0.30)
    body = union(body, ellipse(x, y - 0.12, 0.42, 0.18), 0.12)
    cut = ellipse(x, y + 0.02, 0.26, 0.18 + 0.10 * traits["collar"])
    cloth = intersection(body, -cut, 0.02)
    canvas.paint(fill(cloth, canvas.pixel), _cloth_colour(sitting, x, y, cut, box), box)
    canvas.outline(cloth, 0.022, box)


def _cloth_colour(sitting: Sitting, x: Array, y: Array, cut: Array, box: Box) -> Array:
    """[3, h, w]: colour of the clothes with trim, broad stripes for some, grain and the shadow of the head.

    x, y: [h, w] in picture units from the middle of the neckline; cut: [h, w] distance to the neckline.
    """
    person, canvas = sitting.person, sitting.canvas
    contrast = (person.trim - person.clothes)[:, None, None]
    trim = stroke(cut - 0.03, 0.06, canvas.pixel) * (0.85 if person.traits["collar"] > -0.3 else 0.0)
    if person.traits["pattern"] > 0.35:
        stripe = fill(np.abs(np.mod(y - 0.16, 0.18) - 0.09) - 0.045, canvas.pixel)
        trim = np.maximum(trim, 0.75 * stripe)
    tone = person.tone(np.clip(x * 1.05, -0.9, 0.9), np.clip(0.5 * y - 0.2, -0.4, 0.3))
    tone = tone * (1.0 - 0.45 * ramp(sitting.head[box], 0.30, 0.06))
    grain = 0.030 * lattice_noise(sitting.rng(2), 44, 26, canvas.resolution)[box]
    if canvas.resolution >= 128:
        grain += 0.035 * lattice_noise(sitting.rng(3), 150, 150, canvas.resolution)[box]
    return shaded(person.clothes[:, None, None] + contrast * trim, tone) * (1.0 + grain)


# Hair.


@dataclass(frozen=True)
class HairShape:
    """outer: [R, R] distance to all hair; front: [R, R] distance to the hair before the face."""

    outer: Array
    front: Array
    volume: float


def hair_shape(sitting: Sitting) -> HairShape:
    """Hair grown around the skull, falling at the sides to its length, cut free from the face at the hairline."""
    person, u, v = sitting.person, sitting.u, sitting.v
    traits, side = person.traits, sin(person.turn)
    length = 0.5 * (person.attributes["hair_length"] + 1.0)
    wave = max(traits["hair_wave"], 0.0)
    volume = 0.018 + 0.05 * min(2.0 * length, 1.0) + 0.03 * (traits["hair_volume"] + 1.0) * min(0.3 + length, 1.0)
    cap = ellipse(u + 0.09 * side, v + 0.15, person.half_width + volume, 0.575 + 1.25 * volume)
    bottom = -0.15 + 1.03 * length
    wide = person.half_width + 0.9 * volume
    flare = (0.06 + 0.10 * traits["hair_flare"]) * length
    half = wide - 0.02 + flare * np.clip((v + 0.1) * 0.9, 0.0, 1.0)
    fall = rounded_box(u + 0.06 * side, v - 0.5 * (bottom - 0.35), half, 0.5 * (bottom + 0.35), 0.14)
    outer = union(cap, fall, 0.10)
    if wave > 0.0:
        outer = outer + (0.030 * wave * min(length + 0.3, 1.0)) * (np.sin(12.0 * u + 3.0) * np.sin(11.0 * v + 1.0))
    grid = np.linspace(-1.4, 1.4, 281, dtype=np.float32)
    line = _hairline(person, grid, bottom)
    slope = np.sqrt(1.0 + np.gradient(line, grid) ** 2)
    below = (v - np.interp(u, grid, line).astype(np.float32)) / np.interp(u, grid, slope).astype(np.float32)
    return HairShape(outer, intersection(outer, below, 0.03), volume)


def _hairline(person: Person, u: Array, bottom: float) -> Array:
    """Height v of the edge between face and hair over u: forehead with parting or fringe, sideburn, side lock, nape."""
    traits, length = person.traits, 0.5 * (person.attributes["hair_length"] + 1.0)
    beyond = np.maximum(np.abs(u) - person.half_width, 0.0)
    longitude = np.arcsin(np.clip(u / person.half_width, -1.0, 1.0)) - person.turn + np.sign(u) * 5.0 * beyond
    off = longitude - 0.55 * traits["hair_part"]
    fringe = ramp(np.float32(traits["hair_fringe"]), -0.2, 0.8) * min(0.25 + 1.5 * length, 1.0)
    retreat = 0.05 * max(person.attributes["age"], 0.0) + 0.05 * (1.0 - length)
    forehead = -0.37 - retreat + 0.09 * fringe
    parted = 0.15 * np.minimum(off * off, 1.2) - 0.10 * np.exp(-12.0 * off * off)
    forehead = forehead + (1.0 - fringe) * parted + 0.03 * fringe * np.cos(7.0 * off)
    lock = 1.28 - 0.30 * min(max(2.0 * length - 0.5, 0.0), 1.0)
    away = np.abs(longitude)
    sideburn = max(-0.22 + 0.55 * length, bottom + 0.30 * ramp(np.float32(length), 0.3, 0.6))
    line = forehead + (sideburn - forehead) * ramp(away, lock - 0.22, lock + 0.12)
    nape = max(0.34, sideburn)
    return (line + (nape - line) * ramp(away, 1.75, 2.0)).astype(np.float32)


def hair_colour(sitting: Sitting, *, depth: float = 0.52, shine: float = 1.0) -> Array:
    """[3, R, R]: hair with strands that fall from a pole above the parting, and a band of shine."""
    person, u, v = sitting.person, sitting.u, sitting.v
    pole = 0.35 * person.traits["hair_part"] - 0.06 * sin(person.turn)
    across = (u - pole) / (v + 1.45)
    wave = max(person.traits["hair_wave"], 0.0)
    if wave > 0.0:
        across = across + (0.035 * wave) * np.sin(9.0 * v + 3.0 * u)
    rng, place = sitting.rng(4), (across + 1.6) * 26.0
    strands = 0.068 * _strand_noise(rng, place, 96)
    if sitting.canvas.resolution >= 128:
        strands = strands + 0.075 * _strand_noise(rng, place * 4.0, 384)
    tone = person.tone(sitting.normal_x, sitting.normal_y)
    arc_v = v + 0.56 - 0.25 * (u - 0.25 * person.light[0]) ** 2
    band = np.exp(-90.0 * arc_v * arc_v) * (0.35 + 0.65 * tone) * shine
    base = person.hair[:, None, None] * (1.0 + strands * (1.0 + 2.0 * band))
    return shaded(base, tone, depth=depth) + (0.11 * band) * (0.3 + person.hair[:, None, None])


def _strand_noise(rng: np.random.Generator, place: Array, count: int) -> Array:
    """Smooth 1-D noise read at `place` (in lattice cells, wrapping)."""
    values = rng.standard_normal(count).astype(np.float32)
    cell = np.floor(place)
    t = place - cell
    first = cell.astype(np.int32) % count
    low, high = values[first], values[(first + 1) % count]
    return low + (high - low) * (t * t * (3.0 - 2.0 * t))


def paint_hair_back(sitting: Sitting, hair: HairShape, colour: Array) -> None:
    sitting.canvas.paint(sitting.fill(hair.outer), colour * 0.72)
    sitting.canvas.outline(hair.outer, 0.024)


def paint_hair_front(sitting: Sitting, hair: HairShape, colour: Array) -> None:
    alpha = sitting.fill(hair.front)
    sitting.canvas.paint(alpha, colour)
    sitting.canvas.outline(hair.front, 0.022)


# Head, ears, hat.


def paint_head(sitting: Sitting, hair: HairShape) -> None:
    """The shaded skin of the head, with the soft shadow of the hair and blush."""
    person = sitting.person
    tone = person.tone(sitting.normal_x, sitting.normal_y)
    rim = ramp(sitting.head, -0.16, 0.0)
    tone = tone * (1.0 - 0.16 * rim) * (1.0 - 0.35 * ramp(hair.front, 0.11, 0.0))
    colour = shaded(person.skin, tone)
    grain = 0.012 * lattice_noise(sitting.rng(5), 36, 36, sitting.canvas.resolution)
    sitting.canvas.paint(sitting.fill(sitting.head), colour * (1.0 + grain))
    sitting.canvas.outline(sitting.head, 0.024)


def paint_ears(sitting: Sitting, *, before_hair: bool) -> None:
    """Both ears behind the head, or again the near one before the hair where hair is short."""
    person, traits = sitting.person, sitting.person.traits
    size = 1.0 + 0.15 * traits["ear_size"] + 0.08 * person.attributes["age"]
    for sign in (-1.0, 1.0):
        toward = -sign * sin(person.turn)  # how far the ear has come to our side
        opacity = 1.0
        if before_hair:
            bare = float(ramp(np.float32(person.attributes["hair_length"]), 0.02, -0.25))
            opacity = float(ramp(np.float32(toward), -0.02, 0.16)) * bare
        if opacity <= 0.0:
            continue
        u0 = sign * (person.half_width * (1.0 - 0.42 * abs(toward) ** 1.5) + 0.025 - 0.16 * max(-toward, 0.0))
        box = sitting.box(u0, 0.05, 0.13, 0.20)
        u, v = sitting.u[box] - u0, sitting.v[box] - 0.05
        shape = ellipse(u + 0.12 * sign * v, v, 0.085 * size, 0.145 * size)
        inner = ellipse(u + 0.12 * sign * v - 0.012 * sign, v, 0.045 * size, 0.09 * size)
        normal = np.clip(0.55 * sign + 4.0 * u, -0.9, 0.9)
        colour = shaded(person.skin, person.tone(normal, v)) * (1.0 - 0.22 * ramp(inner, 0.03, -0.03))
        sitting.canvas.paint(sitting.fill(shape) * opacity, colour, box)
        sitting.canvas.outline(shape, 0.02, box, strength=opacity)


def paint_hat(sitting: Sitting, hair: HairShape) -> None:
    """A beanie, a cap with a visor, or a hat with a brim."""
    person, u, v = sitting.person, sitting.u, sitting.v
    kind, side = person.traits["hat_kind"], sin(person.turn)
    grown = hair.volume + (0.035 if kind < -0.2 else 0.045)
    middle = u + 0.08 * side
    dome = ellipse(middle, v + 0.16, person.half_width + grown, 0.60 + 1.15 * hair.volume)
    sag = 0.12 * (u - 0.5 * side) ** 2
    tone = person.tone(sitting.normal_x, sitting.normal_y - 0.1)
    weave = 1.0 + 0.04 * lattice_noise(sitting.rng(6), 44, 44, sitting.canvas.resolution)
    crown = intersection(dome, v + 0.40 - sag, 0.03)
    if kind >= 0.3:
        tall = rounded_box(middle, v + 0.72, 0.47 + 0.10 * (v + 0.72), 0.34, 0.12)
        crown = intersection(union(tall, crown, 0.05), v + 0.40 - sag, 0.02)
    colour = shaded(person.hat, tone) * weave
    sitting.canvas.paint(sitting.fill(crown), colour)
    sitting.canvas.outline(crown, 0.024)
    if kind < -0.2:
        wide = ellipse(middle, v + 0.16, person.half_width + grown + 0.02, 0.63)
        band = intersection(wide, np.abs(v + 0.47 - sag) - 0.085, 0.05)
        colour = shaded(0.35 + 0.6 * person.hat, tone) * weave
    elif kind < 0.3:
        band = intersection(ellipse(u - (0.30 * side), v + 0.36 - 0.5 * sag, 0.46, 0.10), -v - 0.43 + sag, 0.02)
        colour = shaded(0.68 * person.hat, tone) * weave
    else:
        ribbon = intersection(crown, np.abs(v + 0.52 - sag) - 0.06, 0.01)
        sitting.canvas.paint(sitting.fill(ribbon), shaded(0.45 * person.hat, tone))
        band = ellipse(u + 0.02 * side, v + 0.415 - 0.6 * sag, 0.86, 0.095)
    sitting.canvas.paint(sitting.fill(band), colour)
    sitting.canvas.outline(band, 0.022)
