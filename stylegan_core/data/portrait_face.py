"""Drawing a face (eyes, brows, nose, mouth, beard, glasses, the traces of age) and, with it, the whole portrait."""

from __future__ import annotations

from math import cos, sin

import numpy as np

from stylegan_core.data.portrait_drawing import (
    Sitting,
    hair_colour,
    hair_shape,
    paint_background,
    paint_body,
    paint_ears,
    paint_hair_back,
    paint_hair_front,
    paint_hat,
    paint_head,
)
from stylegan_core.data.portrait_ink import ink_drawing
from stylegan_core.data.portrait_person import Person, shaded
from stylegan_core.data.portrait_shapes import (
    Array,
    Canvas,
    arc,
    capsule,
    ellipse,
    intersection,
    ramp,
    rgb,
    rounded_box,
    union,
)

EYE_HEIGHT = -0.015
EYE_LONGITUDE = 0.44
MOUTH_HEIGHT = 0.375


def paint_blush_and_freckles(sitting: Sitting) -> None:
    """Warm cheeks, and freckles that sit on the turned surface."""
    person, canvas = sitting.person, sitting.canvas
    rng = sitting.rng(7)
    count, strength = 16, 0.16 + 0.12 * person.traits["freckles"]
    spots = rng.uniform([-0.85, 0.10, 0.6], [0.85, 0.30, 1.0], (count, 3))
    for sign in (-1.0, 1.0):
        u0, fore = person.on_head(0.62 * sign, 0.20)
        box = sitting.box(u0, 0.20, 0.24, 0.22)
        u, v = (sitting.u[box] - u0) / (0.13 * fore), (sitting.v[box] - 0.20) * (1.0 / 0.10)
        young = 0.20 - 0.12 * person.attributes["age"]
        canvas.darken(young * np.exp(-(u * u + v * v)), np.array([1.12, 0.55, 0.55], np.float32), box)
    box = sitting.box(person.on_head(0.0, 0.2)[0], 0.20, 0.56, 0.16)
    u, v = sitting.u[box], sitting.v[box]
    size = max(0.016, 0.45 * sitting.pixel)
    columns = np.array([person.on_head(longitude, height)[0] for longitude, height, _ in spots.tolist()], np.float32)
    heights, weights = spots[:, 1].astype(np.float32), spots[:, 2].astype(np.float32)
    away = (u - columns[:, None, None]) ** 2 + (v - heights[:, None, None]) ** 2
    total = np.tensordot(weights, np.exp(away * np.float32(-1.0 / (size * size))), 1)
    amount = strength * (0.016 / size) ** 2 * np.minimum(total, 1.2) * sitting.fill(sitting.head[box] + 0.04)
    canvas.darken(amount, np.array([0.55, 0.35, 0.25], np.float32), box)


def paint_wrinkles(sitting: Sitting) -> None:
    """Lines of age: forehead, under the eyes, from nose to mouth (that one also when smiling)."""
    person = sitting.person
    age = float(ramp(np.float32(person.attributes["age"]), -0.35, 1.0))
    smile = max(person.attributes["smile"], 0.0)
    tint = person.skin * np.float32(0.45)
    if age > 0.0:
        for height, half in ((-0.335, 0.24), (-0.265, 0.27)):
            u0, fore = person.on_head(0.0, height)
            _crease(sitting, u0, height, half * fore, 0.02, 0.020, 0.55 * age, tint)
        for sign in (-1.0, 1.0):
            u0, fore = person.on_head(EYE_LONGITUDE * sign, 0.11)
            _crease(sitting, u0, 0.105, 0.11 * fore, 0.035, 0.022, 0.6 * age, tint)
    depth = 0.65 * age + 0.22 * smile * (1.0 - age)
    if depth > 0.0:
        for sign in (-1.0, 1.0):
            start, _ = person.on_head(0.24 * sign, 0.20)
            end, _ = person.on_head(0.50 * sign, 0.36)
            box = sitting.box(0.5 * (start + end), 0.28, 0.16, 0.14)
            line = capsule(sitting.u[box], sitting.v[box], (start, 0.20), (end, 0.37), 0.0)
            sitting.canvas.paint(depth * sitting.stroke(line, 0.022), tint, box)
            sitting.canvas.outline(line, 0.014, box, strength=depth)


def _crease(
    sitting: Sitting, u0: float, v0: float, half: float, bend: float, width: float, opacity: float, colour: Array
) -> None:
    """A tapered arc of the given colour around (u0, v0)."""
    box = sitting.box(u0, v0 + 0.5 * bend, half, 0.5 * abs(bend) + width)
    distance, taper = arc(sitting.u[box] - u0, sitting.v[box] - v0, half, bend)
    sitting.canvas.paint(opacity * sitting.stroke(distance, width * taper), colour, box)
    sitting.canvas.outline(distance, 0.014, box, strength=opacity * taper)


def paint_eyes(sitting: Sitting) -> None:
    """Whites, iris, pupil, highlight and lids of both eyes."""
    person = sitting.person
    a, traits = person.attributes, person.traits
    opened = (0.5 * (a["eyes_open"] + 1.0)) ** 0.75
    size = 1.0 + 0.07 * traits["eye_size"] - 0.16 * a["age"]
    for sign in (-1.0, 1.0):
        longitude = sign * (EYE_LONGITUDE + 0.02 * traits["eye_spacing"])
        u0, fore = person.on_head(longitude, EYE_HEIGHT)
        box = sitting.box(u0, EYE_HEIGHT, 0.20, 0.20)
        u, v = sitting.u[box] - u0, sitting.v[box] - EYE_HEIGHT
        half = 0.148 * size * (0.12 + 0.88 * fore / cos(EYE_LONGITUDE))
        _paint_eye(sitting, box, u, v, half, size, opened)


def _paint_eye(
    sitting: Sitting, box: tuple[slice, slice], u: Array, v: Array, half: float, size: float, opened: float
) -> None:
    """One eye around its centre. u, v: [h, w] from the centre; half: its half width; opened: 0 shut, 1 wide open."""
    person, canvas = sitting.person, sitting.canvas
    e = u * (1.0 / half)
    inside = 1.0 - e * e
    upper = (0.045 - 0.158 * opened) * size * inside
    lower = (0.048 + 0.012 * opened) * size * inside
    flat = 1.0 / np.sqrt(1.0 + (1.4 * opened * e) ** 2)
    socket = np.exp(-((u * (1.0 / (1.15 * half))) ** 2 + ((v + 0.03) * (1.0 / 0.12)) ** 2))
    canvas.darken(0.30 * socket, np.array([0.62, 0.50, 0.50], np.float32), box)
    ball = sitting.between((v - upper) * flat, (v - lower) * flat)
    shade = 0.80 + 0.20 * ramp(v - upper, 0.0, 0.06)
    canvas.paint(ball, rgb("f7f4ee")[:, None, None] * shade, box)
    # Iris.
    iu = u - 0.16 * half * person.traits["gaze_x"] - 0.02 * person.attributes["yaw"]
    iv = v - 0.008 * person.traits["gaze_y"] + 0.018 * size
    width = 0.078 * size * (0.35 + 0.65 * min(half / 0.148, 1.0))
    disc = ellipse(iu, iv, width, 0.078 * size)
    rim = ramp(disc, -0.03, 0.0)
    canvas.paint(ball * sitting.fill(disc), person.iris[:, None, None] * (1.12 - 0.55 * rim) * shade, box)
    canvas.paint(ball * sitting.fill(ellipse(iu, iv, 0.5 * width, 0.040 * size)), rgb("0d0b0d"), box)
    spark = ellipse(iu - 0.03 * person.light[0], iv + 0.030, 0.024, 0.024)
    canvas.paint(ball * sitting.fill(spark), rgb("ffffff"), box)
    canvas.outline(disc, 0.014, box, strength=ball)
    # Lids.
    taper = np.sqrt(np.maximum(1.10 - e * e, 0.0)) * (np.abs(e) < 1.06)
    lash = sitting.stroke((v - upper) * flat, 0.042 * taper)
    canvas.paint(0.92 * lash, 0.25 * person.brow + 0.02, box)
    canvas.outline((v - upper) * flat, 0.035, box, strength=taper)
    crease = sitting.stroke((v + 0.145 * size * np.maximum(inside, 0.0) + 0.01), 0.018 * taper)
    canvas.paint(0.40 * crease, person.skin * np.float32(0.5), box)
    under = sitting.stroke((v - lower) * flat, 0.018 * taper)
    canvas.paint(0.45 * under, person.skin * np.float32(0.45), box)
    canvas.outline((v - lower) * flat, 0.012, box, strength=0.7 * taper * opened)


def paint_brows(sitting: Sitting) -> None:
    """Arched brows in the colour of the hair, greying less than it does."""
    person, traits = sitting.person, sitting.person.traits
    lift = 0.03 * person.attributes["eyes_open"]
    for sign in (-1.0, 1.0):
        u0, fore = person.on_head(sign * (EYE_LONGITUDE + 0.02), -0.2)
        v0 = -0.195 - lift
        box = sitting.box(u0, v0, 0.22, 0.14)
        u, v = sitting.u[box] - u0, sitting.v[box] - v0
        half = 0.168 * (0.15 + 0.85 * fore / cos(EYE_LONGITUDE))
        slant = sign * (0.16 * traits["brow_tilt"] + 0.05) * u
        distance, taper = arc(u, v - slant - 0.02, half, -0.042 - 0.024 * traits["brow_arch"])
        width = 0.060 + 0.018 * traits["brow_thickness"] + 0.016 * person.attributes["age"]
        alpha = sitting.stroke(distance, width * taper)
        sitting.canvas.paint(0.93 * alpha, person.brow, box)
        sitting.canvas.outline(distance, 0.8 * width, box, strength=alpha)


def paint_nose(sitting: Sitting) -> None:
    """A nose that stands out of the face, lit like it, with a shadow under its tip."""
    person, traits, age = sitting.person, sitting.person.traits, sitting.person.attributes["age"]
    tip_v = 0.165 + 0.025 * traits["nose_length"] + 0.025 * age
    width = 0.080 * (1.0 + 0.16 * traits["nose_width"] + 0.26 * age)
    root_u, _ = person.on_head(0.0, -0.04)
    tip_u, _ = person.on_head(0.0, tip_v, 1.26)
    box = sitting.box(0.5 * (root_u + tip_u), 0.10, 0.26, 0.24)
    u, v = sitting.u[box], sitting.v[box]
    bridge = capsule(u, v, (root_u, -0.04), (tip_u, tip_v - 0.02), 0.036)
    tip = ellipse(u - tip_u, v - tip_v, width, 0.066)
    shape = union(bridge, tip, 0.07)
    axis = root_u + (tip_u - root_u) * np.clip((v + 0.04) / (tip_v + 0.04), 0.0, 1.0)
    nx = np.clip((u - axis) * (0.95 / width), -0.92, 0.92)
    ny = np.clip((v - tip_v) * 4.0, -0.25, 0.6)
    shrink = 0.97 / np.maximum(np.sqrt(nx * nx + ny * ny), 0.97)
    colour = shaded(person.skin, person.tone(nx * shrink, ny * shrink))
    alpha = ramp(shape, 0.035, -0.03) * ramp(v, -0.10, 0.08) * 0.9
    shadow = ramp(ellipse(u - tip_u + 0.07 * person.light[0], v - tip_v - 0.035, 1.15 * width, 0.075), 0.035, -0.05)
    sitting.canvas.darken(0.40 * shadow, np.array([0.55, 0.42, 0.42], np.float32), box)
    sitting.canvas.paint(alpha, colour, box)
    glint = np.exp(-((u - tip_u - 0.3 * width * person.light[0]) ** 2 + (v - tip_v + 0.02) ** 2) * (1.0 / 0.0011))
    sitting.canvas.paint(0.30 * glint, np.minimum(1.25 * person.skin + 0.1, 1.0), box)
    distance, taper = arc(u - tip_u, v - tip_v - 0.045, 0.95 * width, 0.024)
    sitting.canvas.paint(0.60 * sitting.stroke(distance, 0.030 * taper), person.skin * np.float32(0.38), box)
    sitting.canvas.outline(distance, 0.022, box, strength=taper)
    side = np.abs(u - axis) - 0.6 * width
    sitting.canvas.outline(side, 0.012, box, strength=0.6 * ramp(v, 0.0, 0.14) * (v < tip_v) * (nx * person.turn > 0))


def paint_mouth(sitting: Sitting) -> None:
    """Lips between frown and smile, closed or open on teeth and tongue."""
    person, canvas = sitting.person, sitting.canvas
    a, traits = person.attributes, person.traits
    opened, smile = 0.5 * (a["mouth_open"] + 1.0), a["smile"]
    u0, fore = person.on_head(0.0, MOUTH_HEIGHT, 1.05)
    half = (0.235 + 0.022 * traits["mouth_width"] + 0.045 * smile - 0.035 * opened) * (0.2 + 0.8 * fore)
    box = sitting.box(u0, MOUTH_HEIGHT + 0.05, 0.32, 0.24)
    u, v = sitting.u[box] - u0, sitting.v[box] - MOUTH_HEIGHT
    e = u * (1.0 / half)
    inside = 1.0 - e * e
    middle = -0.105 * smile * (np.minimum(e * e, 1.3) - 0.45)
    flat = 1.0 / np.sqrt(1.0 + (0.21 * smile / half * np.clip(e, -1.0, 1.0)) ** 2)
    full = 1.0 + 0.25 * traits["lip_fullness"] - 0.22 * max(a["age"], 0.0)
    top, bottom = middle - 0.040 * opened * inside, middle + 0.185 * opened * inside
    above, below = (v - top + 0.036 * full * inside) * flat, (v - bottom - 0.052 * full * inside) * flat
    under = np.exp(-((e * 1.5) ** 2) - ((v - bottom - 0.085) * (1.0 / 0.03)) ** 2)
    canvas.darken(0.25 * under, np.array([0.6, 0.5, 0.5], np.float32), box)
    tone = person.tone(sitting.normal_x[box], sitting.normal_y[box] - 0.15)
    sheen = 0.88 + 0.30 * np.exp(-(((v - bottom - 0.022) * (1.0 / 0.018)) ** 2) - 2.5 * e * e)
    canvas.paint(sitting.between(above, below), shaded(person.lips, tone, depth=0.62) * sheen, box)
    canvas.outline(np.maximum(-above, below), 0.014, box)
    # Inside.
    gap = sitting.between((v - top) * flat, (v - bottom) * flat)
    canvas.paint(gap, rgb("4a1420"), box)
    tongue = ellipse(u, v - 0.185 * opened - 0.02, 0.62 * half, 0.07)
    canvas.paint(gap * sitting.fill(tongue), rgb("c2545c"), box)
    bite = 0.012 + 0.045 * min(2.0 * opened, 1.0) * np.maximum(inside, 0.0)
    teeth = np.maximum(v - top - bite, np.abs(u) - 0.86 * half)
    canvas.paint(gap * sitting.fill(teeth), rgb("f6f2ea"), box)
    seam = sitting.stroke((v - top) * flat, 0.024 * np.sqrt(np.maximum(1.08 - e * e, 0.0)))
    canvas.paint(0.80 * seam, 0.42 * person.lips, box)
    canvas.outline((v - top) * flat, 0.022, box, strength=1.0 * (np.abs(e) < 1.02))


def paint_beard(sitting: Sitting, colour: Array) -> None:
    """A beard with moustache around the lower face; the width goes from goatee to full."""
    person, traits, u, v = sitting.person, sitting.person.traits, sitting.u, sitting.v
    full = ramp(np.float32(traits["beard_width"]), -0.7, -0.1)
    grid = np.linspace(-1.2, 1.2, 161, dtype=np.float32)
    longitude = np.abs(np.arcsin(np.clip(grid / person.half_width, -1.0, 1.0)) - person.turn)
    cheek = 0.235 + 0.10 * ramp(longitude, 0.18, 0.60) - 0.42 * full * ramp(longitude, 0.75, 1.35)
    cheek = cheek + (1.0 - full) * 0.6 * ramp(longitude, 0.48, 0.80)
    slope = np.sqrt(1.0 + np.gradient(cheek, grid) ** 2)
    above = (np.interp(u, grid, cheek) - v) / np.interp(u, grid, slope)
    chin_u = 0.10 * sin(person.turn)
    reach = 0.70 + 0.06 * (traits["beard_length"] + 1.0) + 0.02 * person.attributes["age"]
    tuft = ellipse(u - chin_u, v - reach + 0.24, 0.34 + 0.06 * float(full), 0.26)
    shape = intersection(union(sitting.head - 0.012, tuft, 0.10), above.astype(np.float32), 0.04)
    sitting.canvas.paint(0.96 * sitting.fill(shape), colour * 0.92)
    sitting.canvas.outline(shape, 0.018)


def paint_glasses_arms(sitting: Sitting) -> None:
    """The arms from lens to ear, which hair covers."""
    person = sitting.person
    for sign in (-1.0, 1.0):
        start, _ = person.on_head(sign * (EYE_LONGITUDE + 0.28), EYE_HEIGHT)
        toward = -sign * sin(person.turn)
        ear = sign * person.half_width * (1.0 - 0.42 * abs(toward) ** 1.5)
        if toward > -0.3 and sign * (ear - start) > 0.0:
            box = sitting.box(0.5 * (start + ear), -0.04, 0.5 * abs(ear - start) + 0.02, 0.05)
            arm = capsule(sitting.u[box], sitting.v[box], (start, -0.05), (ear, -0.03), 0.0)
            sitting.canvas.paint(sitting.stroke(arm, 0.036) * sitting.fill(sitting.head[box]), person.frame, box)
            sitting.canvas.outline(arm, 0.030, box, strength=sitting.fill(sitting.head[box]))


def paint_glasses(sitting: Sitting) -> None:
    """Two lenses that follow the turned face, and a bridge."""
    person, canvas, traits = sitting.person, sitting.canvas, sitting.person.traits
    corner = 0.075 + 0.065 * ramp(np.float32(traits["glasses_shape"]), -0.5, 0.5)
    inner: list[float] = []
    for sign in (-1.0, 1.0):
        u0, fore = person.on_head(sign * (EYE_LONGITUDE + 0.02), EYE_HEIGHT, 1.06)
        half = 0.195 * (0.2 + 0.8 * min(fore / cos(EYE_LONGITUDE), 1.1))
        box = sitting.box(u0, 0.01, 0.27, 0.24)
        u, v = sitting.u[box] - u0, sitting.v[box] - 0.01
        lens = rounded_box(u, v, half, 0.155, min(float(corner), 0.95 * half))
        glare = 0.10 + 0.16 * np.exp(-(((u + 0.6 * v + 0.06 * person.light[0]) * (1.0 / 0.05)) ** 2))
        canvas.paint(sitting.fill(lens) * glare, rgb("eaf4ff"), box)
        canvas.paint(sitting.stroke(lens, 0.042), person.frame, box)
        canvas.outline(lens, 0.036, box)
        inner.append(u0 - sign * half)
    box = sitting.box(0.5 * (inner[0] + inner[1]), -0.04, 0.12, 0.10)
    middle, half = 0.5 * (inner[0] + inner[1]), max(0.5 * (inner[1] - inner[0]), 0.02)
    distance, _ = arc(sitting.u[box] - middle, sitting.v[box] + 0.03, 1.3 * half, -0.045)
    within = np.abs(sitting.u[box] - middle) < half
    canvas.paint(sitting.stroke(distance, 0.036) * within, person.frame, box)


def draw_portrait(person: Person, detail_seed: int, style: str, resolution: int) -> np.ndarray:
    """[R, R, 3] uint8: all layers from back to front."""
    canvas = Canvas(resolution, has_lines=style == "ink")
    sitting = Sitting.seat(person, canvas, detail_seed)
    hair = hair_shape(sitting)
    strands = hair_colour(sitting)
    paint_background(sitting)
    paint_hair_back(sitting, hair, strands)
    paint_body(sitting)
    paint_ears(sitting, before_hair=False)
    paint_head(sitting, hair)
    paint_blush_and_freckles(sitting)
    paint_wrinkles(sitting)
    if person.attributes["beard"] >= 0.5:
        paint_beard(sitting, strands)
    paint_mouth(sitting)
    paint_nose(sitting)
    paint_eyes(sitting)
    paint_brows(sitting)
    if person.attributes["glasses"] >= 0.5:
        paint_glasses_arms(sitting)
    paint_hair_front(sitting, hair, strands)
    paint_ears(sitting, before_hair=True)
    if person.attributes["hat"] >= 0.5:
        paint_hat(sitting, hair)
    if person.attributes["glasses"] >= 0.5:
        paint_glasses(sitting)
    picture = ink_drawing(canvas) if style == "ink" else np.clip(canvas.image, 0.0, 1.0)
    pixels = picture * 255.0 + 0.5
    return np.ascontiguousarray(pixels.astype(np.uint8).transpose(1, 2, 0))
