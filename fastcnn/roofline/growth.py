"""How the cost of an operation grows with its problem: the batch, the channels or the image made larger step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from ..registry import Case, Operation
from ..report import loglog
from ..report.charts import Axis
from ..report.loglog import BOTTOM, HEIGHT, LEFT, LETTER, RIGHT, TOP, WIDTH, Frame, three

if TYPE_CHECKING:
    from ..compare import Row

# What the axes change, of the sizes that an operation's problem has.
AXES: dict[str, tuple[str, ...]] = {
    "batch": ("N", "outer", "rows", "size"),
    "channels": ("C", "K", "I", "O", "D"),
    "image": ("H", "W"),
}
_FACTORS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_MOST_WORK = 2e9  # FLOPs (of any direction): what the baselines and the reference do in a second or so
_MOST_BYTES = 2**28  # float32 arrays of one problem
_LEAST_POINTS = 3  # fewer draw no curve


class Growth(NamedTuple):
    """Cases of an operation that differ in one axis only: each with its size, the axis' first field."""

    axis: str
    field: str
    direction: str
    cases: tuple[tuple[int, Case], ...]


def growths(op: Operation, case: Case, direction: str) -> list[Growth]:
    """Return what a case grows along: every axis that its problem has sizes of and that gives three cases or more.

    Channels grow together with filters (and groups, where every channel is its own), height together with width. Sizes that would not be
    whole are left out, and those of too much work or memory.
    """
    found = []
    for axis in AXES:
        cases: dict[int, Case] = {}
        fields = [field for field in AXES[axis] if field in getattr(case.problem, "_fields", ())]
        for factor in _FACTORS if fields else ():
            problem = _scaled(case.problem, fields, factor)
            if problem is not None and _bearable(op, problem, direction):
                size = getattr(problem, fields[0])
                cases[size] = Case(f"{case.name}, {fields[0]}={size}", problem)
        if len(cases) >= _LEAST_POINTS:
            found.append(Growth(axis, fields[0], direction, tuple(sorted(cases.items()))))
    return found


def _bearable(op: Operation, problem: Any, direction: str) -> bool:
    work, traffic = op.problem.work(problem, direction), op.problem.traffic(problem, direction, "float32")
    return 0 < work <= _MOST_WORK and traffic <= _MOST_BYTES


def _scaled(problem: Any, fields: Sequence[str], factor: float) -> Any | None:
    """Return a problem with some sizes multiplied; None where they would not be whole, or the problem would be none."""
    depthwise = "C" in fields and 1 < getattr(problem, "groups", 1) == problem.C
    wanted = {name: getattr(problem, name) * factor for name in (*fields, *(["groups"] if depthwise else []))}
    if any(value < 1 or value != int(value) for value in wanted.values()):
        return None
    larger = problem._replace(**{name: int(value) for name, value in wanted.items()})
    if "C" in fields and larger.C % getattr(larger, "groups", 1):
        return None
    if "H" in fields and "P" in problem._fields:
        larger = _with_outputs(problem, larger)
    if larger is not None and min(getattr(larger, "P", 1), getattr(larger, "Q", 1)) < 1:
        return None
    return larger


def _with_outputs(problem: Any, larger: Any) -> Any | None:
    """Return a pooling problem with its outputs counted anew, where they are those of whole windows; else None."""
    if getattr(problem, "adaptive", False):
        return None

    def outputs(p: Any) -> tuple[int, int]:
        high = p.H + 2 * p.pad_h - getattr(p, "dilation_h", 1) * (p.R - 1) - 1
        wide = p.W + 2 * p.pad_w - getattr(p, "dilation_w", 1) * (p.S - 1) - 1
        return high // p.stride_h + 1, wide // p.stride_w + 1

    if outputs(problem) != (problem.P, problem.Q):  # ceil_mode
        return None
    return larger._replace(P=outputs(larger)[0], Q=outputs(larger)[1])


def growth_chart(title: str, growth: Growth, rows: Sequence[Row], colours: Mapping[str, str], work: Sequence[float]) -> str:
    """Return an SVG element: the time of a call over the size, a line for every variant, and how the work grows.

    Parameters
    ----------
    title : str
        What a screen reader says.
    growth : Growth
    rows : sequence of Row
        Of its cases.
    colours : mapping of str to str
        The style's class of each row's label.
    work : sequence of float
        FLOPs of each case: the dashed line has their slope, and ends where the fastest variant does.
    """
    lines = series(growth, rows)
    if not lines:
        return ""
    times = [y for points in lines.values() for _, y in points]
    size, fastest = min(((x, y) for points in lines.values() for x, y in points), key=lambda point: (-point[0], point[1]))
    at = [number for number, _ in growth.cases]
    known = work[at.index(size)]
    ideal = [(x, fastest * value / known) for x, value in zip(at, work, strict=True)]
    frame = loglog.frame(at, [*times, *(y for _, y in ideal)])
    share = LETTER * max(map(len, lines)) / (WIDTH - LEFT - RIGHT)
    across = Axis(frame.across.low, frame.across.low * (frame.across.high / frame.across.low) ** (1 / (1 - share)), True)
    frame = Frame(across, frame.up)  # with room for names on the right
    parts = [frame.line(ideal, "roof dashed")]
    for label, points in lines.items():
        parts.append(frame.line(points, f"line {colours[label]}"))
        parts += [frame.dot(x, y, f"dot {colours[label]}", f"{label}, {growth.field} = {x}: {three(y)} ms", 3) for x, y in points]
    return frame.svg(title, f"{growth.axis} ({growth.field})", "ms", [*parts, *_names(frame, lines)], [(x, str(x)) for x in at])


def _names(frame: Frame, lines: dict[str, list[tuple[int, float]]]) -> list[str]:
    """Return the lines' names behind their ends, apart from one another."""
    ends = sorted((frame.at(*points[-1])[1], frame.at(*points[-1])[0], label) for label, points in lines.items())
    places = loglog.spread([y for y, _, _ in ends], TOP, HEIGHT - BOTTOM - 4)
    right = max(x for _, x, _ in ends) + 10
    parts = []
    for (y, x, label), place in zip(ends, places, strict=True):
        if abs(place - y) > 3 or right - x > 20:
            parts.append(f'<line class="tick" x1="{x + 4:.1f}" y1="{y:.1f}" x2="{right - 2:.1f}" y2="{place:.1f}"/>')
        parts.append(f'<text x="{right:.1f}" y="{place + 4:.1f}">{escape(label)}</text>')
    return parts


def series(growth: Growth, rows: Sequence[Row]) -> dict[str, list[tuple[int, float]]]:
    """Return (size, milliseconds) of everything that was timed at two sizes or more, by name."""
    sizes = {case.name: size for size, case in growth.cases}
    found: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if row.timing is not None and row.case in sizes and row.direction == growth.direction:
            found.setdefault(row.label, []).append((sizes[row.case], row.timing.median * 1e3))
    return {label: sorted(points) for label, points in found.items() if len(points) > 1}
