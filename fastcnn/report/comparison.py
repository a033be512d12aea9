"""The page of a comparison: what was measured of every variant, fastest first, with the machine that it was measured on."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import files
from . import sections
from .charts import number
from .document import document

if TYPE_CHECKING:
    from ..compare import Row

_STYLES = ("comparison.css",)


class Problem(NamedTuple):
    """The rows of one case, direction and dtype of an operation."""

    operation: str
    direction: str
    dtype: str
    case: str
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """Operation, direction and dtype, under which problems stand together."""
        return f"{self.operation} {self.direction} {self.dtype}"

    @property
    def anchor(self) -> str:
        """A name for links inside the page."""
        return "-".join(self[:4]).replace(" ", "-")

    @property
    def timed(self) -> list[Row]:
        """The rows that have a timing, fastest first."""
        return sorted((row for row in self.rows if row.timing is not None), key=seconds)

    @property
    def chosen(self) -> Row | None:
        """The row of the automatic choice, where it was timed."""
        return next((row for row in self.timed if row.chosen), None)

    @property
    def flops(self) -> float:
        """FLOPs of one call; 0 where nothing was timed."""
        return next((row.gflops * seconds(row) * 1e9 for row in self.timed if row.gflops is not None), 0.0)

    @property
    def bytes(self) -> float:
        """Bytes that one call must move at least; 0 where nothing was timed."""
        return next((row.gbytes * seconds(row) * 1e9 for row in self.timed if row.gbytes is not None), 0.0)


def seconds(row: Row) -> float:
    """Return the median time of a row that was timed."""
    assert row.timing is not None
    return row.timing.median


def problems(rows: Sequence[Row]) -> list[Problem]:
    """Return rows by problem, in the order in which they come."""
    found: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.operation, row.direction, row.dtype, row.case), []).append(row)
    return [Problem(*key, tuple(members)) for key, members in found.items()]


def write_comparison(path: str | os.PathLike[str], rows: Sequence[Row], machine: Mapping[str, Any]) -> None:
    """Write the page of a comparison: one HTML file that loads nothing.

    Parameters
    ----------
    path : path
        Replaced as a whole where it exists.
    rows : sequence of Row
        As `fastcnn.compare.compare` returns them.
    machine : mapping
        What `fastcnn.info.describe` tells, and whatever else should stand beside the figures (the load, say).

    Raises
    ------
    ValueError
        There are no rows.
    OSError
        `path` cannot be written.
    """
    content = page(rows, machine)
    with files.replacing(path) as file:
        file.write(content.encode())


def page(rows: Sequence[Row], machine: Mapping[str, Any]) -> str:
    """Return the page of a comparison as HTML; see `write_comparison`."""
    if not rows:
        raise ValueError("write_comparison: rows must hold at least one Row; got none")
    found = problems(rows)
    operations = ", ".join(dict.fromkeys(problem.operation for problem in found))
    parts = [_header(operations, found, machine), *_overview(found), *_groups(found)]
    parts.append(sections.section("Machine", "", sections.values(machine)))
    return document(f"{operations}: variants compared", parts, "Made by fastcnn. Times are medians of interleaved rounds.", _STYLES)


def _header(operations: str, found: Sequence[Problem], machine: Mapping[str, Any]) -> str:
    measured = [problem for problem in found if problem.chosen is not None]
    variants = {row.variant for problem in found for row in problem.rows if not row.baseline}
    pairs = [("problems", str(len(found))), ("variants", str(len(variants)))]
    if measured:
        first = sum(problem.chosen is next(row for row in problem.timed if not row.baseline) for problem in measured)
        pairs.append(("choice is the fastest", f"{first} of {len(measured)}"))
        gains = [problem.chosen.speedup for problem in measured if problem.chosen is not None and problem.chosen.speedup]
        if gains:
            pairs.append(("speed-up, geometric mean", f"{number(math.exp(sum(map(math.log, gains)) / len(gains)))} ×"))
            pairs.append(("slower than a baseline", f"{sum(problem.timed[0].baseline for problem in measured)} of {len(measured)}"))
    pairs += [("threads", str(machine["threads"]))] if "threads" in machine else []
    told = f"<small>{escape(str(machine['cpu']))}</small>" if "cpu" in machine else ""
    return f"<header><p>variants compared</p><h1>{escape(operations)} {told}</h1>{sections.facts(pairs)}</header>"


# --- All problems --------------------------------------------------------------------------------------------------------

_OVERVIEW = "The automatic choice on every problem; the speed-up is over the first baseline. Names lead to the tables."


def _overview(found: Sequence[Problem]) -> Iterator[str]:
    if len(found) < 2:
        return
    lines = []
    for problem in found:
        best = problem.chosen or next(iter(problem.timed), None)
        name = f'<a href="#{escape(problem.anchor)}">{escape(problem.case)}</a> <small>{escape(problem.direction)}</small>'
        link = f'<th scope="row">{name}</th>'
        if best is None:
            lines.append(f'<tr>{link}<td colspan="4">nothing was timed</td></tr>')
            continue
        values = (best.variant, duration(seconds(best)), _short(best.gflops), f"{number(_rounded(best.speedup))} ×" if best.speedup else "")
        heads = ("variant", "time", "GFLOP/s", "speed-up")
        lines.append(f"<tr>{link}{''.join(_cell(head, value) for head, value in zip(heads, values, strict=True))}</tr>")
    head = "".join(f'<th scope="col">{name}</th>' for name in ("problem", "variant", "time", "GFLOP/s", "speed-up"))
    yield sections.section(
        "Overview", _OVERVIEW, f'<table class="rows overview"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    )


# --- One problem ---------------------------------------------------------------------------------------------------------

_LEGEND = (
    "Fastest first. The bar is the speed as a share of the fastest; ± is half the band between the quartiles; speed-up is over the first "
    "baseline; error is a share of what rounding may cost. GFLOP/s count the operations of the direct algorithm, GB/s every array once."
)


def _groups(found: Sequence[Problem]) -> Iterator[str]:
    for i, title in enumerate(dict.fromkeys(problem.title for problem in found)):
        inner = "".join(_block(problem) for problem in found if problem.title == title)
        yield sections.section(title, "" if i else _LEGEND, inner)


def _block(problem: Problem) -> str:
    flops, moved, facts = problem.flops, problem.bytes, ""
    if flops and moved:
        told = f"{_short(flops / 1e9)} GFLOP, {_megabytes(moved)}, {_short(flops / moved)} FLOP/byte"
        facts = f" <small>{told}</small>"
    head = f"<h3>{escape(problem.case)}{facts}</h3>"
    return f'<div class="problem" id="{escape(problem.anchor)}">{head}{_table(problem)}{_refusals(problem)}</div>'


HEADINGS = ("variant", "speed", "time", "±", "GFLOP/s", "GB/s", "speed-up", "error")


def _table(problem: Problem) -> str:
    timed = problem.timed
    if not timed:
        return "<p>Nothing was timed.</p>"
    fastest = seconds(timed[0])
    head = "".join(f'<th scope="col">{name}</th>' for name in HEADINGS)
    body = "".join(_line(row, fastest / seconds(row)) for row in timed)
    return f'<table class="rows"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _line(row: Row, share: float) -> str:
    assert row.timing is not None
    kind = "chosen" if row.chosen else "baseline" if row.baseline else ""
    mark = f" <em>{kind}</em>" if kind else ""
    timing = row.timing
    band = f"{50 * (timing.high - timing.low) / timing.median:.1f} %" if timing.rounds > 1 else "1 round"
    speedup = f"{number(_rounded(row.speedup))} ×" if row.speedup else ""
    figures = (duration(timing.median), band, _short(row.gflops), _short(row.gbytes), speedup, _short(row.error))
    cells = "".join(_cell(name, value) for name, value in zip(HEADINGS[2:], figures, strict=True))
    bar = f'<td class="speed"><div class="bar"><i style="width:{100 * share:.1f}%"></i></div></td>'
    return f'<tr class="{kind}"><th scope="row">{escape(row.variant)}{mark}</th>{bar}{cells}</tr>'


def _cell(name: str, value: str) -> str:
    """Return a cell that knows its heading, which a narrow screen shows beside the value."""
    return f'<td data-of="{escape(name)}">{escape(value)}</td>' if value else "<td></td>"


def _refusals(problem: Problem) -> str:
    reasons: dict[str, list[str]] = {}
    for row in problem.rows:
        if row.timing is None:
            reasons.setdefault(row.note, []).append(row.label)
    lines = []
    for reason, names in reasons.items():
        kind = ' class="wrong"' if reason.startswith("WRONG") else ""
        lines.append(f"<li{kind}><b>{escape(', '.join(names))}</b> {escape(reason)}</li>")
    return f'<ul class="refusals">{"".join(lines)}</ul>' if lines else ""


# --- Figures -------------------------------------------------------------------------------------------------------------


def duration(value: float) -> str:
    """Return seconds in three digits, with their unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _short(value: float | None) -> str:
    return "" if value is None else number(_rounded(value)) if math.isfinite(value) else "∞"


def _megabytes(count: float) -> str:
    return f"{number(_rounded(count / 1e6))} MB" if count >= 1e6 else f"{number(_rounded(count / 1e3))} kB"
