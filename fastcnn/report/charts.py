"""Line charts as inline SVG: axes with round ticks, a legend, and colours of the page's style (classes ``s0``, ``s1`` ...)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 420, 260  # units of the drawing, of which letters have 12: legible on a phone too
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 30, 36
_FLAT = 1e-9  # a range that is smaller than this share of its values is none
_LEAST = 1e-290  # nor is a smaller one: steps in it are hardly numbers


class Series(NamedTuple):
    """A line of a chart.

    Attributes
    ----------
    name : str
    points : sequence of (x, y)
    dots : bool
        Whether each point has a dot, with its value under the pointer.
    band : sequence of (x, lowest, highest), optional
        Drawn faintly behind the line.
    """

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = False
    band: Sequence[tuple[float, float, float]] = ()


class Axis(NamedTuple):
    """Values from `low` to `high` along so many units, in equal steps or (`log`) ratios."""

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Return 0 for `low`, 1 for `high`."""
        if self.log:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)

    def ticks(self, most: int, whole: bool = False) -> list[float]:
        """Return round values inside the axis, at most `most` of them (and at least one); only whole numbers if so wanted."""
        return _ratios(self.low, self.high, most) if self.log else _steps(self.low, self.high, most, 1.0 if whole else 0.0)


def axis(values: Sequence[float], log: bool = False) -> Axis:
    """Return an axis that holds all values; of no values or one, something around it. `log` needs positive ones and else is not kept."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high - low <= max(_FLAT * max(abs(low), abs(high)), _LEAST):
        pad = abs(low) / 2 if abs(low) > _LEAST else 0.5
        low, high = low - pad, high + pad
    return Axis(low, high, log and low > 0)


def _steps(low: float, high: float, most: int, least: float = 0.0) -> list[float]:
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10, 20) if len(_multiples(low, high, power * m)) <= most)
    return _multiples(low, high, max(step, least)) or [low]


def _multiples(low: float, high: float, step: float) -> list[float]:
    slack = 1e-6
    return [i * step for i in range(math.ceil(low / step - slack), math.floor(high / step + slack) + 1)]


def _ratios(low: float, high: float, most: int) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = [digit * 10.0**power for power in powers for digit in digits if low <= digit * 10.0**power <= high]
        if len(found) <= most:
            break
    found = found[:: -(-len(found) // most)] if found else []
    return found if len(found) > 1 else _steps(low, high, most)


def number(value: float) -> str:
    """Return a value in few characters: 0.006, 12, 3e-05, 60,000."""
    text = f"{value:.4g}"
    return f"{value:,.0f}" if "e+" in text or abs(value) >= 1000 else text


def line_chart(title: str, series: Sequence[Series], *, x_label: str, unit: str = "", log: bool = False) -> str:
    """Return an SVG element.

    Parameters
    ----------
    title : str
        Also what a screen reader says.
    series : sequence of Series
        Those without points are left out.
    x_label, unit : str
        What x counts, from 0; what follows a y value (" %").
    log : bool
        Whether y is in ratios, where all values are positive.
    """
    series = [line for line in series if line.points]
    xs = [0.0, *(x for line in series for x, _ in line.points)]
    ys = [y for line in series for _, y in line.points] + [y for line in series for _, *pair in line.band for y in pair]
    across, up = axis(xs), axis(ys, log)

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + across.share(x) * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - up.share(y) * (HEIGHT - _TOP - _BOTTOM),
        )

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    parts += _grid(across, up, at, unit)
    parts.append(f'<text class="name" x="{_LEFT}" y="16">{escape(title)}</text>')
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{escape(x_label)}</text>')
    for i, line in enumerate(series):
        parts += _drawn(line, i, at, unit)
    if len(series) > 1:
        parts += _legend(series)
    return "".join([*parts, "</svg>"])


def _grid(across: Axis, up: Axis, at, unit: str) -> list[str]:  # type: ignore[no-untyped-def]
    parts = []
    for value in up.ticks(6):
        _, y = at(across.low, value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}{escape(unit)}</text>')
    for value in across.ticks(6, whole=across.high >= 1):
        x, _ = at(value, up.low)
        bottom = HEIGHT - _BOTTOM
        parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{number(value)}</text>')
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{HEIGHT - _BOTTOM}" y2="{HEIGHT - _BOTTOM}"/>')
    return parts


def _drawn(line: Series, index: int, at, unit: str) -> list[str]:  # type: ignore[no-untyped-def]
    parts = []
    if line.band:
        upper = [at(x, high) for x, _, high in line.band]
        lower = [at(x, low) for x, low, _ in reversed(line.band)]
        parts.append(f'<polygon class="band s{index}" points="{_path([*upper, *lower])}"/>')
    parts.append(f'<polyline class="line s{index}" points="{_path([at(x, y) for x, y in line.points])}"/>')
    if line.dots:
        for x, y in line.points:
            left, top = at(x, y)
            told = f"{line.name}: {number(y)}{unit}"
            parts.append(f'<circle class="dot s{index}" cx="{left:.1f}" cy="{top:.1f}" r="3"><title>{escape(told)}</title></circle>')
    return parts


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _legend(series: Sequence[Series]) -> list[str]:
    parts, x = [], float(WIDTH - _RIGHT)
    for i, line in reversed(list(enumerate(series))):
        x -= 6.4 * len(line.name) + 24  # about as wide as its letters
        parts.append(f'<line class="line s{i}" x1="{x:.0f}" x2="{x + 14:.0f}" y1="12" y2="12"/>')
        parts.append(f'<text x="{x + 18:.0f}" y="16">{escape(line.name)}</text>')
    return parts
