"""The roofline as a drawing: the roofs of a machine, and what was measured of an operation under them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from ..report import loglog
from ..report.charts import Axis
from ..report.loglog import LEFT, LETTER, LINE, RIGHT, TOP, WIDTH, Frame, three
from .ceilings import Ceilings, Roofline


class Mark(NamedTuple):
    """A measurement: FLOP/byte, GFLOP/s and its name.

    `kind` is a class of the style, `strong` draws it larger, `label` stands beside it instead of the name.
    """

    name: str
    intensity: float
    gflops: float
    kind: str = "s0"
    strong: bool = False
    label: str = ""


_NAMES = 72  # units on the left, for the names of the levels


def roofline_chart(title: str, marks: Sequence[Mark], ceilings: Ceilings, dtype: str = "float32") -> str:
    """Return an SVG element: min(peak, intensity bandwidth) of every level as lines, and the marks with their names.

    Parameters
    ----------
    title : str
        What a screen reader says.
    marks : sequence of Mark
        With positive values.
    ceilings : Ceilings
        Of as many threads as the marks were measured on.
    dtype : str
        "float32" or "float64", on which the peak depends.
    """
    frame, first = axes(marks, ceilings, dtype)
    roofs = [*_slants(frame, first, ceilings, dtype), *_peak(frame, ceilings, dtype)]
    return frame.svg(title, "FLOP/byte", "GFLOP/s", [*roofs, *_marks(frame, marks)])


def axes(marks: Sequence[Mark], ceilings: Ceilings, dtype: str = "float32") -> tuple[Frame, float]:
    """Return axes that hold the marks and both parts of every roof, and the intensity at which the slanted parts begin.

    To its left there is room for the names of the levels.
    """
    peak = ceilings.peak(dtype)
    ridges = [peak / level.read for level in ceilings.levels]
    xs = [min(ridges) / 4, max(ridges) * 4, *(mark.intensity for mark in marks)]
    first = min(xs) / 1.3
    ys = [first * min(level.read for level in ceilings.levels), peak, *(mark.gflops for mark in marks)]
    frame = loglog.frame([first, *xs], ys)
    share = _NAMES / (WIDTH - LEFT - RIGHT)
    low = math.exp((math.log(first) - share * math.log(frame.across.high)) / (1 - share))
    return Frame(Axis(low, frame.across.high, True), frame.up), first


def _slants(frame: Frame, first: float, ceilings: Ceilings, dtype: str) -> list[str]:
    """Return the slanted parts of the roofs, each to its ridge, with the levels' names before them."""
    peak, bottom = ceilings.peak(dtype), frame.at(first, frame.up.low)[1]
    lines, words = [], []
    for i, level in enumerate(ceilings.levels):
        lines.append(frame.line([(first, first * level.read), (peak / level.read, peak)], "roof"))
        words.append(f"{level.name} {three(level.read)}{'' if i else ' GB/s'}")
    starts = [frame.at(first, first * level.read) for level in ceilings.levels]
    order = sorted(range(len(starts)), key=lambda i: starts[i][1])
    places = loglog.spread([starts[i][1] for i in order], TOP, bottom - 4)
    names = [
        f'<text class="roof" x="{starts[i][0] - 5:.1f}" y="{y + 4:.1f}" text-anchor="end">{escape(words[i])}</text>'
        for i, y in zip(order, places, strict=True)
    ]
    return [*lines, *names]


def _peak(frame: Frame, ceilings: Ceilings, dtype: str) -> list[str]:
    peak = ceilings.peak(dtype)
    left = peak / max(level.read for level in ceilings.levels)
    x, y = frame.at(left, peak)
    threads = f"{ceilings.threads} thread{'s' if ceilings.threads > 1 else ''}"
    told = f"{three(peak)} GFLOP/s, {threads}"
    words = f'<text class="roof" x="{x:.1f}" y="{y - 6:.1f}">{told}</text>'
    return [frame.line([(left, peak), (frame.across.high, peak)], "roof"), words]


def _marks(frame: Frame, marks: Sequence[Mark]) -> list[str]:
    """Return the dots and, as far as there is room, their names: beside them, each column's apart from one another."""
    dots = [
        frame.dot(
            mark.intensity,
            mark.gflops,
            f"dot {mark.kind}",
            f"{mark.name}: {three(mark.gflops)} GFLOP/s at {three(mark.intensity)} FLOP/byte",
            5.5 if mark.strong else 3.5,
        )
        for mark in marks
    ]
    return [*dots, *_names(frame, marks)]


def _names(frame: Frame, marks: Sequence[Mark]) -> list[str]:
    columns: dict[float, list[Mark]] = {}
    for mark in marks:
        columns.setdefault(round(frame.at(mark.intensity, mark.gflops)[0], 1), []).append(mark)
    if len(columns) > 1:
        return _spaced_names(frame, marks)
    parts = []
    for x, column in columns.items():
        column.sort(key=lambda mark: -mark.gflops)
        wanted = [frame.at(mark.intensity, mark.gflops)[1] for mark in column]
        right = x + 12 + LETTER * max(len(mark.label or mark.name) for mark in column) < WIDTH - RIGHT
        anchor, at = ("start", x + 12) if right else ("end", x - 12)
        places = loglog.spread(wanted, TOP + LINE, frame.at(frame.across.low, frame.up.low)[1] - 4)
        for mark, y, place in zip(column, wanted, places, strict=True):
            if abs(place - y) > 3:  # a name that had to give way: a thread leads to it
                parts.append(f'<line class="tick" x1="{x + (4 if right else -4):.1f}" y1="{y:.1f}" x2="{at:.1f}" y2="{place:.1f}"/>')
            weight = ' class="name"' if mark.strong else ""
            beside = at + (2 if right else -2)
            parts.append(
                f'<text{weight} x="{beside:.1f}" y="{place + 4:.1f}" text-anchor="{anchor}">{escape(mark.label or mark.name)}</text>'
            )
    return parts


def _spaced_names(frame: Frame, marks: Sequence[Mark]) -> list[str]:
    """Return the names that do not cover an earlier one, or another's dot; the others are told under the pointer, and in the tables."""
    dots = [frame.at(mark.intensity, mark.gflops) for mark in marks]
    taken: list[tuple[float, float, float, float]] = []
    parts = []
    for mark, (x, y) in zip(marks, dots, strict=True):
        width = LETTER * len(mark.label or mark.name)
        for left in (x + 7, x - 7 - width):
            box = (left, y - LINE / 2, left + width, y + LINE / 2)
            crossed = any(box[0] - 4 < a < box[2] + 4 and box[1] < b < box[3] for a, b in dots if (a, b) != (x, y))
            if not crossed and box[0] > LEFT and box[2] < WIDTH - RIGHT and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                parts.append(f'<text x="{left:.1f}" y="{y + 4:.1f}">{escape(mark.label or mark.name)}</text>')
                break
    return parts


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


_DOUBLINGS = 3  # from one tick of a working set to the next


def bandwidth_chart(title: str, found: Roofline) -> str:
    """Return an SVG element: what reading delivers over the working set of a thread, on one thread (s0) and on all (s1); and the caches."""
    curves = [[(p.bytes, p.read) for p in found.curve if p.threads == threads] for threads in sorted({p.threads for p in found.curve})]
    frame = loglog.frame([x for curve in curves for x, _ in curve], [y for curve in curves for _, y in curve])
    bottom = frame.at(frame.across.low, frame.up.low)[1]
    parts = []
    for cache in found.caches:
        if frame.across.low < cache.bytes < frame.across.high:
            x, _ = frame.at(cache.bytes, frame.up.low)
            parts.append(f'<line class="roof dashed" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
            parts.append(f'<text class="roof" x="{x + 4:.1f}" y="{bottom - 6}">{escape(cache.name)} {size(cache.bytes)}</text>')
    for i, curve in enumerate(curves):
        parts.append(frame.line(curve, f"line {loglog.colour(i)}"))
    powers = range(math.ceil(math.log2(frame.across.low)), math.floor(math.log2(frame.across.high)) + 1)
    return frame.svg(title, "bytes that each thread reads", "GB/s", parts, [(2**p, size(2**p)) for p in powers if p % _DOUBLINGS == 2])


def size(count: float) -> str:
    """Return bytes in the units in which caches are sold: 48 KiB, 1 MiB."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= scale:
            return f"{three(count / scale)} {unit}"
    return f"{three(count / 2**10)} KiB"
