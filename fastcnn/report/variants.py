"""One problem of a comparison as HTML: a table of what was measured, fastest first, the roofline beside it, and who refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from ..roofline.ceilings import Roofline
from ..roofline.chart import Mark, roofline_chart
from . import sections
from .problems import Problem, duration, megabytes, ratio, seconds, short

if TYPE_CHECKING:
    from ..compare import Row

_LEGEND = (
    "Fastest first; the bar is the speed as a share of the fastest. ± is half the band between a time's quartiles. × NAME is how many times"
    " as fast as NAME: another run finds these ratios within their bands, in nine of ten tries. Error is a share of what rounding may cost."
    " GFLOP/s count the operations of the direct algorithm, GB/s every array once."
)
_PEAK = " Peak: the share of the multiply-adds that the threads can do."
_ROOF = (
    " Roof: the share of what this machine allows at most, where the arrays lie in the nearest cache that holds them all; algorithms with"
    " fewer operations than the direct one, or narrower numbers, may exceed it."
)
_BESIDE = 2  # columns of ratios at most, for a drawing to have room beside the table


def groups(found: Sequence[Problem], colours: Mapping[str, str], roofline: Roofline | None, threads: int) -> Iterator[str]:
    """Yield a section for every operation, direction and dtype."""
    for i, title in enumerate(dict.fromkeys(problem.title for problem in found)):
        inner = "".join(_block(problem, colours, roofline, threads) for problem in found if problem.title == title)
        yield sections.section(title, "" if i else _LEGEND + (_ROOF if roofline else _PEAK), inner)


def _block(problem: Problem, colours: Mapping[str, str], roofline: Roofline | None, threads: int) -> str:
    facts = chart = ""
    roof = None
    if problem.intensity is not None:
        told = f"{short(problem.flops / 1e9)} GFLOP, {megabytes(problem.bytes)}, {short(problem.intensity)} FLOP/byte"
        facts = f" <small>{told}</small>"
        if roofline is not None:
            ceilings, level = roofline.of(threads), roofline.level(problem.bytes, threads)
            roof = ceilings.attainable(problem.intensity, level, problem.dtype)
            facts += f" <small>fits {level.name}, which allows {short(roof)} GFLOP/s</small>"
            drawn = roofline_chart(f"roofline of {problem.title} {problem.case}", marks(problem, colours), ceilings, problem.dtype)
            chart = f'<div class="roofline">{drawn}</div>'
    head = f"<h3>{escape(problem.case)}{facts}</h3>"
    inner = f"<div>{_table(problem, roof)}{_refusals(problem)}</div>{chart}"
    kind = "problem beside" if chart and len(problem.yardsticks) <= _BESIDE else "problem"
    return f'<div class="{kind}" id="{escape(problem.anchor)}">{head}{inner}</div>'


def marks(problem: Problem, colours: Mapping[str, str]) -> list[Mark]:
    """Return what was measured of a problem as points under the roof."""
    intensity = problem.intensity
    if intensity is None:
        return []
    return [
        Mark(row.variant, intensity, row.gflops, colours[row.label], row.chosen)
        for row in problem.timed
        if row.gflops is not None and row.gflops > 0
    ]


def _table(problem: Problem, roof: float | None) -> str:
    timed = problem.timed
    if not timed:
        return "<p>Nothing was timed.</p>"
    fastest, yardsticks = seconds(timed[0]), problem.yardsticks
    names = ["variant", "speed", *_figures(timed[0], roof, yardsticks)]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(_line(row, fastest / seconds(row), _figures(row, roof, yardsticks)) for row in timed)
    return f'<table class="rows"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _figures(row: Row, roof: float | None, yardsticks: Sequence[str]) -> dict[str, str]:
    """Return a row's figures by their headings."""
    assert row.timing is not None
    timing = row.timing
    share = row.share_of_peak if roof is None or row.gflops is None else row.gflops / roof
    return {
        "time": duration(timing.median),
        "±": f"{50 * (timing.high - timing.low) / timing.median:.1f} %" if timing.rounds > 1 else "1 round",
        "GFLOP/s": short(row.gflops),
        "GB/s": short(row.gbytes),
        "peak" if roof is None else "roof": "" if share is None else _percent(share),
        **{f"× {name}": ratio(row, name) for name in yardsticks},
        "error": short(row.error),
    }


def _line(row: Row, share: float, figures: Mapping[str, str]) -> str:
    kind = "chosen" if row.chosen else "baseline" if row.baseline else ""
    mark = f" <em>{kind}</em>" if kind else ""
    cells = "".join(cell(name, value) for name, value in figures.items())
    bar = f'<td class="speed"><div class="bar"><i style="width:{100 * share:.1f}%"></i></div></td>'
    return f'<tr class="{kind}"><th scope="row">{escape(row.variant)}{mark}</th>{bar}{cells}</tr>'


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.2g} %"


def cell(name: str, value: str) -> str:
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
