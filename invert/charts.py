"""Charts of comparisons as SVG files: quality over time, and distortion against editability."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from invert.comparison import InversionRow, Trace
from invert.plots import Line, alone, chart

POINTS = 60  # of a curve over time


def race_charts(traces: Sequence[Trace]) -> dict[str, str]:
    """psnr and distance → an SVG: medians over the pictures at moments that lie evenly in the logarithm of time."""
    last = max(trace.end(i)[0] for trace in traces for i in range(len(trace.points)))
    first = max(0.02, min(trace.points[i][0][0] for trace in traces for i in range(len(trace.points))))
    moments = np.geomspace(first, last, POINTS)
    charts = {}
    for name, column, label in (("psnr", 1, "PSNR in dB"), ("distance", 2, "perceptual distance")):
        lines = [line for line in (median_line(trace, column, moments) for trace in traces) if line.x]
        charts[name] = alone(chart(lines, title=f"{label}, medians", x_label="seconds, as a power of ten", y_label=label,
                                   is_log=name == "distance"))
    return charts


def median_line(trace: Trace, column: int, moments: Sequence[float] | np.ndarray) -> Line:
    """What a method had at each moment, from the first at which it had a picture of every target until its median end."""
    ends = float(np.median([points[-1][0] for points in trace.points]))
    x, y = [], []
    for moment in [*[m for m in moments if m < ends], ends]:
        values = [held(points, column, moment) for points in trace.points]
        if all(value is not None for value in values):
            x.append(math.log10(moment))
            y.append(float(np.median([value for value in values if value is not None])))
    if len(x) == 1:  # one pass: a short level stroke at its moment
        x, y = [x[0], x[0] + 0.08], [y[0], y[0]]
    return Line(trace.method, x, y)


def held(points: Sequence[tuple[float, float, float]], column: int, moment: float) -> float | None:
    """The last value at or before the moment; None before the first."""
    earlier = [point[column] for point in points if point[0] <= moment]
    if not earlier and points[-1][0] <= moment * 1.5 and len(points) == 1:
        return points[0][column]
    return earlier[-1] if earlier else None


def tradeoff_chart(rows: Sequence[InversionRow]) -> str:
    """An SVG: PSNR of the inversion across, the judge's distance of its edits to the true counterfactuals upwards (less is better)."""
    dots = [Line(row.method, [row.psnr], [row.edit_distance], is_dots=True) for row in rows if row.edit_distance is not None]
    x, y = [line.x[0] for line in dots], [line.y[0] for line in dots]
    margin_x, margin_y = (0.08 * (max(values) - min(values)) + 1e-3 for values in (x, y))
    return alone(chart(dots, title="Distortion against editability", x_label="PSNR of the inversion in dB",
                       y_label="edits: distance to the truth", x_range=(min(x) - margin_x, max(x) + 2 * margin_x),
                       y_range=(min(y) - margin_y, max(y) + margin_y)))
