"""Small charts as SVG text, without a plotting library: lines, steps, one mark."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#8e5ea2", "#b08900", "#5f6c7b")
WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 30, 44
DOT = 5


@dataclass(frozen=True)
class Line:
    """x, y: equally many numbers. is_filled: down to the axis. is_dashed: for what is only compared with. is_dots: points with the
    name beside each, no line.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    is_filled: bool = False
    is_dashed: bool = False
    is_dots: bool = False


def steps_of(name: str, values: Sequence[float], edges: Sequence[float]) -> Line:
    """A histogram as the share of values in each bin."""
    counts, _ = np.histogram(np.clip(np.asarray(values, float), edges[0], edges[-1]), bins=np.asarray(edges, float))
    shares = counts / max(1, len(values))
    x = np.repeat(np.asarray(edges, float), 2)
    y = np.concatenate([[0.0], np.repeat(shares, 2), [0.0]])
    return Line(f"{name} ({len(values)})", x.tolist(), y.tolist(), is_filled=True)


def bins_for(groups: Sequence[Sequence[float]], count: int = 36) -> list[float]:
    """Edges that hold all values of all groups."""
    values = np.concatenate([np.asarray(group, float) for group in groups if len(group)])
    low, high = float(values.min()), float(values.max())
    margin = 0.02 * (high - low) + 1e-6
    return np.linspace(low - margin, high + margin, count + 1).tolist()


def chart(lines: Sequence[Line], *, title: str, x_label: str, y_label: str, mark: float | None = None, mark_name: str = "",
          is_log: bool = False, x_range: tuple[float, float] | None = None, y_range: tuple[float, float] | None = None) -> str:  # fmt: skip
    """An <svg>. mark: an upright line at this x; None = none. is_log: of the y axis, whose values are positive."""
    xs = np.concatenate([np.asarray(line.x, float) for line in lines] + ([np.array([mark])] if mark is not None else []))
    ys = np.concatenate([np.asarray(line.y, float) for line in lines])
    ys = np.log10(np.maximum(ys, 1e-12)) if is_log else ys
    x_low, x_high = x_range or _spread(xs)
    y_low, y_high = y_range or _spread(ys)

    def place(x: float, y: float) -> tuple[float, float]:
        y = math.log10(max(y, 1e-12)) if is_log else y
        across = LEFT + (min(max(x, x_low), x_high) - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        up = (min(max(y, y_low), y_high) - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        return across, HEIGHT - BOTTOM - up

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" class="chart" role="img">',
             f'<text x="{LEFT}" y="16" class="title">{html.escape(title)}</text>']  # fmt: skip
    base = HEIGHT - BOTTOM
    for value in ticks(x_low, x_high):
        x = LEFT + (value - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        parts.append(
            f'<path d="M{x:.1f} {TOP}V{base + 4}" class="grid"/><text x="{x:.1f}" y="{base + 16}" class="tick middle">{value:g}</text>'
        )
    for value in ticks(y_low, y_high):
        y = base - (value - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        shown = f"{10**value:.3g}" if is_log else f"{value:g}"
        parts.append(
            f'<path d="M{LEFT - 4} {y:.1f}H{WIDTH - RIGHT}" class="grid"/>'
            f'<text x="{LEFT - 7}" y="{y + 4:.1f}" class="tick end">{shown}</text>'
        )
    for index, line in enumerate(lines):
        parts += _drawn(line, [place(float(x), float(y)) for x, y in zip(line.x, line.y)], index)
    if mark is not None:
        x, _ = place(mark, 1.0)
        parts.append(f'<path d="M{x:.1f} {TOP}V{base}" stroke="#111" stroke-width="2"/>'
                     f'<text x="{x:.1f}" y="{TOP - 3}" class="tick middle">{html.escape(mark_name)}</text>')  # fmt: skip
    parts.append(
        f'<path d="M{LEFT} {TOP}V{base}H{WIDTH - RIGHT}" fill="none" stroke="#555"/>'
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" class="label middle">{html.escape(x_label)}</text>'
        f'<text transform="translate(13 {(TOP + base) / 2}) rotate(-90)" class="label middle">{html.escape(y_label)}</text></svg>'
    )
    return "".join(parts)


def _drawn(line: Line, points: Sequence[tuple[float, float]], index: int) -> list[str]:
    """The marks of one line; index: of its colour, and of its place in the key or beside its dots."""
    colour, name, base = COLOURS[index % len(COLOURS)], html.escape(line.name), HEIGHT - BOTTOM
    if line.is_dots:
        label = 11 if index % 2 else -3  # neighbours in turn below and above
        return [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{DOT}" fill="{colour}"/>'
                f'<text x="{x + DOT + 2:.1f}" y="{y + label:.1f}" class="tick">{name}</text>' for x, y in points]  # fmt: skip
    path, dashed = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points), ' stroke-dasharray="5 4"' if line.is_dashed else ""
    filled = f'<path d="{path}L{points[-1][0]:.1f} {base}L{points[0][0]:.1f} {base}Z" fill="{colour}" fill-opacity=".25"/>'
    return [filled if line.is_filled else "",
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dashed}/>',
            f'<text x="{WIDTH - RIGHT - 4}" y="{TOP + 13 + 14 * index}" class="key" fill="{colour}">{name}</text>']  # fmt: skip


STYLE = """.chart{width:100%;max-width:460px;height:auto;font-family:inherit}
.chart .title{font-size:13px;font-weight:600}.chart .tick{font-size:10px;fill:#444}.chart .label{font-size:11px;fill:#333}
.chart .key{font-size:10.5px;text-anchor:end}.chart .middle{text-anchor:middle}.chart .end{text-anchor:end}
.chart .grid{stroke:#ddd;stroke-width:.7;fill:none}"""


def alone(svg: str) -> str:
    """The chart as a file of its own."""
    return svg.replace('role="img">', f'role="img" width="{2 * WIDTH}" height="{2 * HEIGHT}" style="background:#fff">'
                                      f"<style>{STYLE} .chart{{font-family:sans-serif}}</style>", 1)  # fmt: skip


def ticks(low: float, high: float) -> list[float]:
    """Four to nine round numbers from low to high."""
    step = 10 ** math.floor(math.log10((high - low) / 4))
    for factor in (1, 2, 5, 10):
        if (high - low) / (step * factor) <= 8:
            step *= factor
            break
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _spread(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high - low > 1e-9 else (low - 0.5, high + 0.5)
