"""A canvas of planes, and the anti-aliased shapes that portraits and scenes are drawn with.

Shapes are signed distances (negative inside) in picture units: the picture spans [-1, 1], y grows downward.
Coverage is the share of a pixel that a straight edge at that distance leaves inside, so that a drawing has the same
composition at every resolution and thin lines fade instead of breaking.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

Array = np.ndarray


class Canvas:
    """Planes that are painted from back to front.

    image: [3, R, R] float32, sRGB values nominally in [0, 1]. lines: [R, R] float32, the ink outlines that are visible
    so far (stays None unless `has_lines`). x, y: [R, R] float32 picture coordinates of the pixel centres.
    """

    def __init__(self, resolution: int, *, has_lines: bool = False) -> None:
        self.resolution = resolution
        self.pixel = 2.0 / resolution
        self.x, self.y = _pixel_grid(resolution)
        self.image = np.zeros((3, resolution, resolution), np.float32)
        self.lines = np.zeros((resolution, resolution), np.float32) if has_lines else None

    def window(self, x: float, y: float, half_width: float, half_height: float) -> tuple[slice, slice]:
        """Rows and columns of the box around (x, y), two pixels wider than asked, cut at the border."""
        rows = self._span(y, half_height)
        columns = self._span(x, half_width)
        return rows, columns

    def _span(self, centre: float, half: float) -> slice:
        low = int((centre - half + 1.0) / self.pixel) - 2
        high = int((centre + half + 1.0) / self.pixel) + 3
        size = self.resolution
        return slice(min(max(low, 0), size), min(max(high, 0), size))

    def paint(self, alpha: Array, colour: Array, box: tuple[slice, slice] | None = None) -> None:
        """Lay a colour over the picture. alpha: [h, w] in [0, 1]; colour: [3] or [3, h, w]; box: None is everything."""
        rows, columns = box if box is not None else (slice(None), slice(None))
        region = self.image[:, rows, columns]
        colour = colour[:, None, None] if colour.ndim == 1 else colour
        region += (colour - region) * alpha
        if self.lines is not None:
            self.lines[rows, columns] *= 1.0 - alpha

    def darken(self, amount: Array, tint: Array, box: tuple[slice, slice] | None = None) -> None:
        """Multiply the picture by 1 - amount * (1 - tint). amount: [h, w] in [0, 1]; tint: [3], the factor at 1."""
        rows, columns = box if box is not None else (slice(None), slice(None))
        self.image[:, rows, columns] *= 1.0 - amount * (1.0 - tint)[:, None, None]

    def outline(
        self, distance: Array, width: float, box: tuple[slice, slice] | None = None, *, strength: Array | float = 1.0
    ) -> None:
        """Draw an ink line along distance 0, on a canvas that has lines (elsewhere nothing happens)."""
        if self.lines is None:
            return
        rows, columns = box if box is not None else (slice(None), slice(None))
        region = self.lines[rows, columns]
        np.maximum(region, stroke(distance, width, self.pixel) * strength, out=region)


@lru_cache(maxsize=8)
def _pixel_grid(resolution: int) -> tuple[Array, Array]:
    centres = ((np.arange(resolution, dtype=np.float32) + 0.5) * (2.0 / resolution) - 1.0).astype(np.float32)
    x, y = np.meshgrid(centres, centres)
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


# Coverage.


def fill(distance: Array, pixel: float) -> Array:
    """Coverage of the inside of a shape. distance: any shape; pixel: size of a pixel in the same units; in [0, 1]."""
    return np.minimum(np.maximum(0.5 - distance * (1.0 / pixel), 0.0), 1.0)


def stroke(distance: Array, width: float | Array, pixel: float) -> Array:
    """Coverage of a line of the given width along distance 0, exact also where it is thinner than a pixel."""
    reach = np.abs(distance) * (1.0 / pixel)
    half = width * (0.5 / pixel)
    return np.maximum(np.minimum(half, reach + 0.5) - np.maximum(-half, reach - 0.5), 0.0)


def between(top: Array, bottom: Array, pixel: float) -> Array:
    """Coverage of the strip below one curve and above another, exact also where it is thinner than a pixel.

    top, bottom: distances to the two curves, both growing downward; 0 where the bottom curve lies above the top one.
    """
    return np.maximum(fill(bottom, pixel) - fill(top, pixel), 0.0)


def ramp(value: Array, low: float, high: float) -> Array:
    """Smoothstep from 0 at low to 1 at high (low may be the larger one)."""
    t = np.minimum(np.maximum((value - low) * (1.0 / (high - low)), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


# Signed distances.


def ellipse(x: Array, y: Array, a: float, b: float) -> Array:
    """Distance to the ellipse (x/a)^2 + (y/b)^2 = 1, to first order: exact at the edge, where coverage needs it."""
    p, q = x * (1.0 / a), y * (1.0 / b)
    p *= p
    q *= q
    level = p + q
    level -= 1.0
    p *= 4.0 / (a * a)
    q *= 4.0 / (b * b)
    p += q
    p += 1e-6
    level /= np.sqrt(p, out=p)
    return level


def rounded_box(x: Array, y: Array, half_width: float | Array, half_height: float, corner: float) -> Array:
    """Distance to a box with round corners; half_width may vary over y (a trapezoid)."""
    p, q = np.abs(x) - half_width + corner, np.abs(y) - half_height + corner
    outside = np.sqrt(np.maximum(p, 0.0) ** 2 + np.maximum(q, 0.0) ** 2)
    return outside + np.minimum(np.maximum(p, q), 0.0) - corner


def capsule(x: Array, y: Array, start: tuple[float, float], end: tuple[float, float], radius: float) -> Array:
    """Distance to a segment thickened by radius."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    px, py = x - start[0], y - start[1]
    t = np.minimum(np.maximum((px * dx + py * dy) * (1.0 / (dx * dx + dy * dy + 1e-9)), 0.0), 1.0)
    return np.sqrt((px - t * dx) ** 2 + (py - t * dy) ** 2) - radius


def polygon(x: Array, y: Array, corners: Sequence[tuple[float, float]]) -> Array:
    """Distance to a convex polygon (exact at its edges); the corners in either sense of rotation."""
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(corners, (*corners[1:], corners[0]), strict=True))
    sense = 1.0 if area > 0 else -1.0
    distance = np.full_like(x, -1e3)
    for (ax, ay), (bx, by) in zip(corners, (*corners[1:], corners[0]), strict=True):
        dx, dy = bx - ax, by - ay
        length = sense * max((dx * dx + dy * dy) ** 0.5, 1e-6)
        distance = np.maximum(distance, (x - ax) * (dy / length) - (y - ay) * (dx / length))
    return distance


def union(first: Array, second: Array, blend: float) -> Array:
    """Smooth union: the two distances melt where they differ by less than blend."""
    h = np.maximum(blend - np.abs(first - second), 0.0)
    return np.minimum(first, second) - h * h * (0.25 / blend)


def intersection(first: Array, second: Array, blend: float) -> Array:
    """Smooth intersection, see `union`."""
    h = np.maximum(blend - np.abs(first - second), 0.0)
    return np.maximum(first, second) + h * h * (0.25 / blend)


def arc(x: Array, y: Array, half_width: float, bend: float) -> tuple[Array, Array]:
    """A parabolic arc from (-half_width, 0) to (half_width, 0) through (0, bend).

    Returns the signed distance (positive below the arc) and the taper sqrt(1 - e^2), 0 beyond the ends.
    """
    e = x * (1.0 / half_width)
    inside = np.maximum(1.0 - e * e, 0.0)
    slope = (2.0 * bend / half_width) * np.minimum(np.maximum(e, -1.0), 1.0)
    return (y - bend * inside) / np.sqrt(1.0 + slope * slope), np.sqrt(inside)


# Noise that is the same at every resolution.


@lru_cache(maxsize=32)
def _lattice_weights(cells: int, resolution: int) -> Array:
    """[R, cells + 1] float32: tent functions on a lattice over [0, 1], averaged over each pixel."""
    edges = np.arange(resolution + 1, dtype=np.float64) * (cells / resolution)
    t = np.clip(edges[:, None] - np.arange(cells + 1)[None, :], -1.0, 1.0)
    integral = np.where(t < 0.0, 0.5 * (t + 1.0) ** 2, 1.0 - 0.5 * (1.0 - t) ** 2)
    weights = (np.diff(integral, axis=0) * (resolution / cells)).astype(np.float32)
    weights.setflags(write=False)
    return weights


def lattice_noise(rng: np.random.Generator, rows: int, columns: int, resolution: int) -> Array:
    """[R, R] float32: Gaussian noise on a lattice, interpolated and averaged over each pixel."""
    values = rng.standard_normal((rows + 1, columns + 1), dtype=np.float32)
    return _lattice_weights(rows, resolution) @ values @ _lattice_weights(columns, resolution).T


# Colours.


def rgb(code: str) -> Array:
    """[3] float32 in [0, 1] of a hexadecimal colour such as "f2b48a"."""
    return np.array([int(code[i : i + 2], 16) / 255.0 for i in (0, 2, 4)], np.float32)


def along(path: Array, position: float) -> Array:
    """Colour at a position in [-1, 1] of a path. path: [K, 3], evenly spaced; returns [3] float32."""
    place = (min(max(position, -1.0), 1.0) + 1.0) * 0.5 * (len(path) - 1)
    first = min(int(place), len(path) - 2)
    return path[first] + (path[first + 1] - path[first]) * np.float32(place - first)


def hsv(hue: float, saturation: float, value: float) -> Array:
    """[3] float32 of a colour; hue in turns, saturation and value in [0, 1]."""
    wheel = np.abs(np.mod(hue + np.array([0.0, 2.0 / 3.0, 1.0 / 3.0]), 1.0) * 6.0 - 3.0) - 1.0
    return (value * (1.0 + saturation * (np.clip(wheel, 0.0, 1.0) - 1.0))).astype(np.float32)
