"""A painted canvas redrawn in ink: outlines, hatching where it is dark, and a thin wash on paper."""

from __future__ import annotations

import numpy as np

from stylegan_core.data.portrait_shapes import Array, Canvas, ramp, rgb, stroke

PAPER = rgb("f6efe0")
INK = rgb("1f1d2b")
PERIOD = 0.09  # of the hatching, in picture units


def ink_drawing(canvas: Canvas) -> Array:
    """[3, R, R] float32 in [0, 1]. canvas: painted in colour, with lines."""
    red, green, blue = canvas.image
    dark = 1.0 - np.clip(0.35 * red + 0.50 * green + 0.15 * blue, 0.0, 1.0)
    first = _hatching(canvas, 1.0, 0.46 * ramp(dark, 0.30, 1.00))
    second = _hatching(canvas, -1.0, 0.34 * ramp(dark, 0.72, 1.05))
    hatching = 0.42 * (1.0 - (1.0 - first) * (1.0 - second))
    wash = 0.64 * ramp(dark, 0.05, 1.05)
    lines = canvas.lines if canvas.lines is not None else np.zeros_like(dark)
    cover = 1.0 - (1.0 - wash) * (1.0 - hatching) * (1.0 - 0.95 * np.minimum(lines, 1.0))
    return PAPER[:, None, None] + (INK - PAPER)[:, None, None] * cover


def _hatching(canvas: Canvas, slope: float, width: Array) -> Array:
    """Coverage of parallel diagonal strokes. width: [R, R] share of the period that is ink."""
    across = (canvas.x + slope * canvas.y) * np.float32(0.5**0.5)
    distance = np.abs(np.mod(across, PERIOD) - 0.5 * PERIOD)
    return stroke(distance, width * PERIOD, canvas.pixel)
