"""Axes in ratios both ways, as inline SVG: where a value lies, ticks at round numbers, and words that do not cover one another."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from .charts import Axis, number

WIDTH, HEIGHT = 420, 300  # units of the drawing, of which letters have 12
LEFT, RIGHT, TOP, BOTTOM = 50, 14, 30, 38
LETTER = 6.4  # units, about the width of a letter
LINE = 13.0  # units from one line of words to the next
COLOURS = 8  # of the style: s0 ... s7


class Frame(NamedTuple):
    """Two logarithmic axes over the drawing."""

    across: Axis
    up: Axis

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where (x, y) lies in the drawing, in its units from the upper left corner."""
        return (
            LEFT + self.across.share(x) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - self.up.share(y) * (HEIGHT - TOP - BOTTOM),
        )

    def svg(self, title: str, x_label: str, y_label: str, inner: Sequence[str], x_ticks: Sequence[tuple[float, str]] | None = None) -> str:
        """Return an SVG element with axes, ticks (at x, with words, where they are given) and what is drawn between them."""
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
        for value in self.up.ticks(6):
            _, y = self.at(self.across.low, value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
        for value, told in [(v, number(v)) for v in self.across.ticks(6)] if x_ticks is None else x_ticks:
            x, _ = self.at(value, self.up.low)
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
            parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{escape(told)}</text>')
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
        parts.append(f'<text x="4" y="16">{escape(y_label)}</text>')
        parts.append(f'<text x="{right}" y="{HEIGHT - 6}" text-anchor="end">{escape(x_label)}</text>')
        return "".join([*parts, *inner, "</svg>"])

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> str:
        """Return a line through points (x, y) with a class of the style."""
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        return f'<polyline class="{kind}" points="{drawn}"/>'

    def dot(self, x: float, y: float, kind: str, told: str, radius: float = 4) -> str:
        """Return a dot at (x, y) that tells its values under the pointer."""
        left, top = self.at(x, y)
        return f'<circle class="{kind}" cx="{left:.1f}" cy="{top:.1f}" r="{radius:g}"><title>{escape(told)}</title></circle>'


def frame(xs: Sequence[float], ys: Sequence[float]) -> Frame:
    """Return axes that hold all values, which must be positive, with some room around them."""
    return Frame(_roomy(xs), _roomy(ys))


def _roomy(values: Sequence[float]) -> Axis:
    low, high = min(values), max(values)
    room = max((high / low) ** 0.06, 1.15)
    return Axis(low / room, high * room, True)


def three(value: float) -> str:
    """Return a value in three digits."""
    return number(float(f"{value:.3g}"))


def colour(index: int) -> str:
    """Return the class of the series with this number."""
    return f"s{index % COLOURS}"


def spread(places: Sequence[float], low: float, high: float, gap: float = LINE) -> list[float]:
    """Return positions between `low` and `high` near the given ones (rising), at least `gap` apart where there is room."""
    if not places:
        return []
    gap = min(gap, (high - low) / max(len(places) - 1, 1))
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + gap if found else low))
    limit = high
    for i in reversed(range(len(found))):
        found[i] = min(found[i], limit)
        limit = found[i] - gap
    return found
