"""The page of a run or a comparison: one HTML file that loads nothing, in light and dark, on paper and on a phone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from importlib import resources

from ..report import sections
from . import tables
from .record import BenchRun
from .verdict import VERDICTS, Change, Comparison

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
table.bench { width: 100%; }
.bench th, .bench td { padding: .2rem .9rem .2rem 0; text-align: right; white-space: nowrap; }
.bench th { color: var(--soft); font-weight: 400; border-bottom: 1px solid var(--rule); }
.bench .word { text-align: left; }
.bench .worse { color: rgb(var(--wrong)); font-weight: 600; } .bench .better { color: var(--c0); font-weight: 600; }
.bench .unclear { color: var(--soft); }
.bench svg { display: block; width: 10rem; height: 1rem; }
.bench svg rect { fill: var(--rule); } .bench svg line { stroke: var(--soft); stroke-width: 2; }
.bench svg .worse { stroke: rgb(var(--wrong)); } .bench svg .better { stroke: var(--c0); }
@media print { .scroll { overflow: visible; } .bench { font-size: 7pt; } }
"""
_SPAN = 0.3  # changes beyond 30 % lie at the edge of a drawing


def page_of_run(run: BenchRun) -> str:
    """Return a run as HTML."""
    body = [_header("Benchmarks", f"{len(run.rows)} rows", tables.run_head(run), [])]
    body += [sections.section(table.title, "", _table(table)) for table in tables.run_tables(run)]
    return _page(f"fastcnn bench: {run.path.name}", [*body, sections.section("Machine", "", sections.values(run.machine))])


def page_of_comparison(found: Comparison) -> str:
    """Return a comparison as HTML."""
    facts = [(verdict, str(found.count(verdict))) for verdict in VERDICTS]
    if not math.isnan(found.mean_ratio):
        facts.append(("our mean change", tables.percent(found.mean_ratio)))
    title = f"{len(found.regressions)} regression{'' if len(found.regressions) == 1 else 's'}"
    note = f"{tables.model(found)} Drawn from -{_SPAN:.0%} to +{_SPAN:.0%}, the threshold shaded."
    drawings = [_drawing(change, found.threshold) for change in tables.ordered(found)]
    body = [
        _header("Benchmarks, two runs", title, tables.comparison_head(found), facts),
        sections.section("Rows", note, _table(tables.comparison_table(found), drawings)),
        '<div class="columns">',
        sections.section("Machine before", "", sections.values(found.before.machine)),
        sections.section("Machine after", "", sections.values(found.after.machine)),
        "</div>",
    ]
    return _page(f"fastcnn bench: {found.before.path.name}, {found.after.path.name}", body)


def _header(kind: str, title: str, lines: Sequence[str], facts: list[tuple[str, str]]) -> str:
    about = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f"<header><p>{escape(kind)}</p><h1>{escape(title)}</h1>{about}{sections.facts(facts) if facts else ''}</header>"


def _table(table: tables.Table, drawings: Sequence[str] = ()) -> str:
    words = [i < table.words or heading == "note" for i, heading in enumerate(table.headings)]
    heads = [f'<th scope="col"{_word(word)}>{escape(heading)}</th>' for heading, word in zip(table.headings, words, strict=True)]
    rows = []
    for i, cells in enumerate(table.rows):
        found = [f"<td{_word(word, cell)}>{escape(cell)}</td>" for cell, word in zip(cells, words, strict=True)]
        rows.append(f"<tr>{''.join(found)}{f'<td>{drawings[i]}</td>' if drawings else ''}</tr>")
    head = f"<thead><tr>{''.join(heads)}{'<th></th>' if drawings else ''}</tr></thead>"
    return f'<div class="scroll"><table class="bench">{head}<tbody>{"".join(rows)}</tbody></table></div>'


def _word(word: bool, cell: str = "") -> str:
    verdict = f" {cell}" if cell in VERDICTS else ""
    return f' class="word{verdict}"' if word else ""


def _drawing(change: Change, threshold: float) -> str:
    """Return the interval of a change, before the band of the threshold."""
    if not math.isfinite(change.high):
        return ""
    limit = math.log1p(threshold)
    low, middle, high = (_place(math.log(ratio)) for ratio in (change.low, change.ratio, change.high))
    left, right = _place(-limit), _place(limit)
    about = f"{tables.percent(change.ratio)} ({tables.percent(change.low)} to {tables.percent(change.high)})"
    return (
        f'<svg viewBox="0 0 160 16" role="img" aria-label="{escape(about)}">'
        f'<rect x="{left:.1f}" y="0" width="{right - left:.1f}" height="16"/>'
        f'<line class="{change.verdict}" x1="{low:.1f}" x2="{high:.1f}" y1="8" y2="8"/>'
        f'<line class="{change.verdict}" x1="{middle:.1f}" x2="{middle:.1f}" y1="3" y2="13"/></svg>'
    )


def _place(change: float) -> float:
    span = math.log1p(_SPAN)
    return 80 + 78 * max(-1.0, min(change / span, 1.0))


def _page(title: str, parts: Sequence[str]) -> str:
    style = resources.files("fastcnn.report").joinpath("style.css").read_text("utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>\n{style}{_STYLE}</style>\n</head>\n<body>\n<main>\n'
        + "\n".join(parts)
        + "\n<footer>Made by fastcnn from the files of the runs alone.</footer>\n</main>\n</body>\n</html>\n"
    )
