"""The roofline of the machine as sections of a page: its roofs with every choice under them, its caches, and how costs grow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from .. import files
from ..roofline.ceilings import Roofline
from ..roofline.chart import Mark, bandwidth_chart, roofline_chart, size
from ..roofline.growth import Growth, growth_chart
from . import sections
from .document import document
from .loglog import colour
from .problems import Problem, short
from .variants import cell

if TYPE_CHECKING:
    from ..compare import Row

_ROOFS = (
    "Under a slanted roof a level of memory is the limit, under the flat one the arithmetic units. Intensity is the operations of the"
    " direct algorithm over every array once, so that Winograd and narrower numbers may lie above the roof. Roofs are the best of what was"
    " measured here: reading, which falls where a working set no longer fits a cache, and multiply-adds in registers."
)

_NUMBERS = " Points have the numbers of their problems in the overview."
_NAMED = 6  # problems; of more there is room for their numbers only


class Grown(NamedTuple):
    """What was measured while a problem grew: its cases, their rows, and the FLOPs of each case."""

    operation: str
    case: str
    growth: Growth
    rows: tuple[Row, ...]
    work: tuple[float, ...]


def write_roofline(path: str | os.PathLike[str], found: Roofline) -> None:
    """Write a page of the machine's roofline alone; OSError where `path` cannot be written."""
    cpu = escape(str(found.machine.get("cpu", "")))
    header = f"<header><p>roofline</p><h1>{short(found.ceilings[-1].gflops)} GFLOP/s <small>{cpu}</small></h1>{facts(found)}</header>"
    parts = [
        header,
        roofline_section(found, [], found.ceilings[-1].threads),
        sections.section("Machine", "", sections.values(found.machine)),
    ]
    content = document("roofline", parts, "Made by fastcnn.", ("comparison.css",))
    with files.replacing(path) as file:
        file.write(content.encode())


def facts(found: Roofline) -> str:
    """Return the figures of all threads, large."""
    ceilings = found.ceilings[-1]
    pairs = [("threads", str(ceilings.threads)), ("peak, float32", f"{short(ceilings.gflops)} GFLOP/s")]
    return sections.facts([*pairs, *((f"{level.name}, reading", f"{short(level.read)} GB/s") for level in ceilings.levels)])


def roofline_section(found: Roofline, problems: Sequence[Problem], threads: int) -> str:
    """Return the roofline with the chosen variant of every problem, and what was measured of the machine."""
    titles = {title: colour(i) for i, title in enumerate(dict.fromkeys(problem.title for problem in problems))}
    marks = []
    for number, problem in enumerate(problems, 1):
        row = problem.chosen
        if row is not None and row.gflops and problem.intensity is not None:
            label = str(number) if len(problems) > _NAMED else ""
            marks.append(Mark(problem.case, problem.intensity, row.gflops, titles[problem.title], label=label))
    dtype = "float64" if problems and all(problem.dtype == "float64" for problem in problems) else "float32"
    roofs = f"<figure>{roofline_chart('roofline', marks, found.of(threads), dtype)}{legend(titles)}</figure>"
    counts = list(dict.fromkeys(point.threads for point in found.curve))
    names = {f"{n} thread{'s' if n > 1 else ''}": colour(i) for i, n in enumerate(counts)}
    curve = f"<figure>{bandwidth_chart('bandwidth over the working set', found)}{legend(names)}</figure>"
    note = _ROOFS + (_NUMBERS if len(problems) > _NAMED else "")
    return sections.section("Roofline", note, f'<div class="charts wide">{roofs}{curve}</div>{_levels(found)}')


def _levels(found: Roofline) -> str:
    """Return a table of peaks and levels, on one thread and on all."""
    sizes = {cache.name: size(cache.bytes) for cache in found.caches}
    counts = [f"{c.threads} thread{'s' if c.threads > 1 else ''}" for c in found.ceilings]
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("", "size", *(f"{count}, {how}" for count in counts for how in ("read", "copy")))
    )
    peaks = "".join(cell(count, f"{short(c.gflops)} GFLOP/s") + "<td></td>" for count, c in zip(counts, found.ceilings, strict=True))
    lines = [f'<tr><th scope="row">peak</th><td></td>{peaks}</tr>']
    for i, level in enumerate(found.ceilings[0].levels):
        values = [cell("size", sizes.get(level.name, ""))]
        for count, ceilings in zip(counts, found.ceilings, strict=True):
            values += [cell(f"{count}, {how}", f"{short(getattr(ceilings.levels[i], how))} GB/s") for how in ("read", "copy")]
        lines.append(f'<tr><th scope="row">{escape(level.name)}</th>{"".join(values)}</tr>')
    return f'<table class="rows levels"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


_GROWTH = "The time of a call as the problem grows, both axes in ratios; the dashed line grows as the operations do."


def growth_sections(grown: Sequence[Grown], colours: Mapping[str, str]) -> Iterator[str]:
    """Yield a section for every problem that was made larger, with a chart for each axis."""
    for operation, case, direction in dict.fromkeys((g.operation, g.case, g.growth.direction) for g in grown):
        members = [g for g in grown if (g.operation, g.case, g.growth.direction) == (operation, case, direction)]
        title = f"Growth: {operation} {direction} {case}"
        charts = "".join(
            f"<figure><figcaption>{escape(_words(g.growth))}</figcaption>"
            f"{growth_chart(f'{title}, {g.growth.axis}', g.growth, g.rows, colours, g.work)}</figure>"
            for g in members
        )
        yield sections.section(title, _GROWTH, f'<div class="charts">{charts}</div>')


def _words(growth: Growth) -> str:
    return {"batch": "images of a batch", "channels": "channels", "image": "height and width"}.get(growth.axis, growth.axis)


def legend(entries: Mapping[str, str]) -> str:
    """Return names with their colours; nothing where there are fewer than two."""
    lines = "".join(f'<li><i class="{kind}"></i>{escape(name)}</li>' for name, kind in entries.items())
    return f'<ul class="legend">{lines}</ul>' if len(entries) > 1 else ""
