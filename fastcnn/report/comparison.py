"""The page of a comparison: what was measured of every variant, fastest first, with the machine that it was measured on."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .. import files
from ..compare.table import verdicts
from ..roofline.ceilings import Roofline
from . import sections
from .ceilings import Grown, growth_sections, roofline_section
from .document import document
from .loglog import three
from .problems import Problem, colours, duration, problems, ratio, seconds, short
from .variants import cell, groups

if TYPE_CHECKING:
    from ..compare import Row

_STYLES = ("comparison.css",)


def write_comparison(
    path: str | os.PathLike[str],
    rows: Sequence[Row],
    machine: Mapping[str, Any],
    roofline: Roofline | None = None,
    grown: Sequence[Grown] = (),
) -> None:
    """Write the page of a comparison: one HTML file that loads nothing.

    Parameters
    ----------
    path : path
        Replaced as a whole where it exists.
    rows : sequence of Row
        As `fastcnn.compare.compare` returns them.
    machine : mapping
        What `fastcnn.info.describe` tells, and whatever else should stand beside the figures (the load, say).
    roofline : Roofline, optional
        Of this machine: adds what it allows to tables, and drawings.
    grown : sequence of Grown
        Problems that were made larger, each drawn over its size.

    Raises
    ------
    ValueError
        There are no rows.
    OSError
        `path` cannot be written.
    """
    content = page(rows, machine, roofline, grown)
    with files.replacing(path) as file:
        file.write(content.encode())


def page(rows: Sequence[Row], machine: Mapping[str, Any], roofline: Roofline | None = None, grown: Sequence[Grown] = ()) -> str:
    """Return the page of a comparison as HTML; see `write_comparison`."""
    if not rows:
        raise ValueError("write_comparison: rows must hold at least one Row; got none")
    found = problems(rows)
    operations = ", ".join(dict.fromkeys(problem.operation for problem in found))
    threads = machine.get("threads", 0)
    kinds = colours([*rows, *(row for growing in grown for row in growing.rows)])
    parts = [_header(operations, found, machine), *_overview(rows, found)]
    parts += [roofline_section(roofline, found, threads)] if roofline else []
    parts += [*groups(found, kinds, roofline, threads), *growth_sections(grown, kinds)]
    parts.append(sections.section("Machine", "", sections.values(machine)))
    return document(f"{operations}: variants compared", parts, "Made by fastcnn. Times are medians of interleaved rounds.", _STYLES)


def _header(operations: str, found: Sequence[Problem], machine: Mapping[str, Any]) -> str:
    chosen = [(problem, problem.chosen) for problem in found if problem.chosen is not None]
    variants = {(row.operation, row.variant) for problem in found for row in problem.rows if not row.baseline}
    pairs = [("problems", str(len(found))), ("variants", str(len(variants)))]
    if chosen:
        first = sum(row is next(other for other in problem.timed if not other.baseline) for problem, row in chosen)
        pairs.append(("choice is the fastest", f"{first} of {len(chosen)}"))
    for name in _yardsticks(found)[:2]:
        gains = [row.ratios[name].value for _, row in chosen if name in row.ratios]
        if gains:
            pairs.append((f"× {name}, geometric mean", three(math.exp(sum(map(math.log, gains)) / len(gains)))))
    pairs += [("threads", str(machine["threads"]))] if "threads" in machine else []
    told = f"<small>{escape(str(machine['cpu']))}</small>" if "cpu" in machine else ""
    return f"<header><p>variants compared</p><h1>{escape(operations)} {told}</h1>{sections.facts(pairs)}</header>"


def _yardsticks(found: Sequence[Problem]) -> list[str]:
    return list(dict.fromkeys(name for problem in found for name in problem.yardsticks))


# --- All problems --------------------------------------------------------------------------------------------------------


def _overview(rows: Sequence[Row], found: Sequence[Problem]) -> Iterator[str]:
    """Yield what the comparison comes to in words and, of several problems, a table of the choices, whose names lead to the others."""
    words = "".join(f"<li>{escape(line)}</li>" for line in verdicts(rows))
    table = _choices(found) if len(found) > 1 else ""
    if words or table:
        yield sections.section("Overview", "", (f'<ul class="verdicts">{words}</ul>' if words else "") + table)


def _choices(found: Sequence[Problem]) -> str:
    yardsticks = _yardsticks(found)
    lines = []
    for number, problem in enumerate(found, 1):
        best = problem.chosen or next(iter(problem.timed), None)
        name = f'<a href="#{escape(problem.anchor)}">{escape(problem.case)}</a> <small>{escape(problem.direction)}</small>'
        link = f'<th scope="row"><small>{number}</small> {name}</th>'
        if best is None:
            lines.append(f'<tr>{link}<td colspan="{3 + len(yardsticks)}">nothing was timed</td></tr>')
            continue
        figures = {"variant": best.variant, "time": duration(seconds(best)), "GFLOP/s": short(best.gflops)}
        figures |= {f"× {other}": ratio(best, other) for other in yardsticks}
        lines.append(f"<tr>{link}{''.join(cell(head, value) for head, value in figures.items())}</tr>")
    heads = ("problem", "variant", "time", "GFLOP/s", *(f"× {name}" for name in yardsticks))
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    return f'<table class="rows overview"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
