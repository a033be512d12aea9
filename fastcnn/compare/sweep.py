"""The command `fastcnn sweep`: the variants of an operation as one axis of a problem grows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import files, info
from ..registry import Case, Operation
from . import table
from .arguments import Mistake, add_measuring, given, operation_of, parser
from .command import closing, measured, write_page, written
from .problems import directions_named
from .row import Row

SECONDS = 0.5  # of timing each size
_RANGE = re.compile(r"(\d+):(\d+)(?::([*+]?)(\d+))?")
_MOST = 1000  # sizes: beyond it lies a mistake


class Point(NamedTuple):
    """One size of a sweep: its value, and the problem that has it."""

    value: int
    case: Case


def sweep(argv: Sequence[str]) -> int:
    """Time the variants of an operation over a range of one axis."""
    p = parser("sweep", "Compare the variants of an operation as one axis of a problem of your own grows.")
    p.add_argument("--axis", required=True, metavar="LETTERS", help="the axis by its letter in the options below; several (HW) grow alike")
    p.add_argument("--range", required=True, metavar="FROM:TO:STEP", help="8:512:*2, 16:64:+16, or values joined by commas")
    add_measuring(p, SECONDS)
    p.add_argument("--html", type=Path, metavar="FILE", help="also write a page: times over the axis, and the tables")
    arguments = p.parse_args(argv)
    op = operation_of(arguments)
    try:
        directions = directions_named(op, arguments.direction)
        found_points = points(op, given(arguments), arguments.axis, values(arguments.range))
    except (TypeError, ValueError) as error:
        raise Mistake(error) from error
    found = measured(arguments, op, [point.case for point in found_points], directions)
    by_case = {point.case.name: point.value for point in found_points}
    for direction in directions:
        print(f"### {op.name} {direction} {arguments.dtype}, GFLOP/s\n\n{grid(found.rows, by_case, direction, arguments.axis)}\n")
    for line in [LEGEND, *closing(found)]:
        print(line)
    if arguments.json:
        _save(arguments.json, {"machine": info.describe(), **found.record(), "axis": arguments.axis, "values": by_case})
    if arguments.html:
        write_page(arguments.html, found, arguments.threads, _grown(op, arguments.axis, found_points, directions, found.rows))
    return 0


def _grown(op: Operation, letters: str, along: Sequence[Point], directions: Sequence[str], rows: Sequence[Row]) -> list[Any]:
    """Return what a page draws over the axis, whose ticks are powers: sizes of 0 are left to the tables."""
    from ..report.ceilings import Grown
    from ..roofline.growth import Growth

    cases = tuple(sorted(((point.value, point.case) for point in along if point.value), key=lambda pair: pair[0]))
    return [
        Grown(op.name, letters, Growth("size", letters, direction, cases), tuple(rows), _work(op, cases, direction))
        for direction in directions
        if len(cases) > 1
    ]


def _work(op: Operation, cases: Sequence[tuple[int, Case]], direction: str) -> tuple[float, ...]:
    return tuple(float(op.problem.work(case.problem, direction)) for _, case in cases)


LEGEND = "`*` is chosen by auto; an empty cell is a refusal, or what is left out for its time."


def _save(path: Path, record: Mapping[str, Any]) -> None:
    with written(path, "--json"):
        files.save_json(path, dict(record))


def values(text: str) -> list[int]:
    """Return the values of a range: FROM:TO:*FACTOR, FROM:TO:+STEP, FROM:TO (step 1), or values joined by commas.

    >>> values("8:64:*2"), values("10:30:+10"), values("3,5,3")
    ([8, 16, 32, 64], [10, 20, 30], [3, 5])

    Raises
    ------
    ValueError
        It cannot be read, is empty, or has more than 1000 values.
    """
    match = _RANGE.fullmatch(text)
    if match is None:
        if not re.fullmatch(r"\d+(,\d+)*", text):
            raise ValueError(f"--range must be FROM:TO:*FACTOR, FROM:TO:+STEP or values joined by commas; got {text!r}")
        return list(dict.fromkeys(map(int, text.split(","))))
    first, last, kind, step = int(match[1]), int(match[2]), match[3] or "+", int(match[4] or 1)
    if step < (2 if kind == "*" else 1) or (kind == "*" and first < 1) or last < first:
        raise ValueError(f"--range must grow, from at least 1 where it is multiplied; got {text!r}")
    found = [first]
    while (following := found[-1] * step if kind == "*" else found[-1] + step) <= last:
        found.append(following)
        if len(found) > _MOST:
            raise ValueError(f"--range must have at most {_MOST} values; got {text!r}")
    return found


def points(op: Operation, options: Mapping[str, Any], letters: str, sizes: Sequence[int]) -> list[Point]:
    """Return the problems in which axes, by their letters, have each of some sizes; ValueError where the operation has no such axis."""
    known = {letter: (name, place) for name, option in op.options.items() for place, letter in enumerate(option.axes)}
    for letter in letters:
        if letter not in known:
            raise ValueError(f"--axis must be of {', '.join(known) or 'none'} for {op.name}; got {letters!r}")
    found = []
    for size in sizes:
        changed = dict(options)
        for letter in letters:
            name, place = known[letter]
            if name not in changed:
                raise ValueError(f"--axis {letter} is of {op.options[name].dashed} {op.options[name].metavar}, which is not given")
            now = changed[name] if isinstance(changed[name], tuple) else (changed[name],)
            if place >= len(now):
                raise ValueError(f"--axis {letter} is left out of {op.options[name].dashed}")
            changed[name] = (*now[:place], size, *now[place + 1 :])
        found.append(Point(size, op.case(changed)))
    return found


def grid(rows: Sequence[Row], sizes: Mapping[str, int], direction: str, letters: str) -> str:
    """Return a table of GFLOP/s with a line for each size, and a column for each variant that was timed for any."""
    mine = [row for row in rows if row.direction == direction and row.timing is not None]
    names = list(dict.fromkeys(row.label for row in sorted(mine, key=lambda row: row.baseline)))
    cells = {(row.case, row.label): f"{table.number(row.gflops)}{' *' if row.chosen else ''}" for row in mine}
    lines = [(letters, *names)]
    lines += [(str(size), *(cells.get((case, name), "") for name in names)) for case, size in sizes.items()]
    return table.markdown(lines)
