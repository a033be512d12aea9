"""Runs and comparisons in words: the head, the cells of every row, and Markdown of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .record import YARDSTICKS, BenchRun, Row
from .verdict import LEVEL, VERDICTS, Change, Comparison

NOISY = 0.05  # a spread of the fixed loops that is worth a warning
_ABOUT = {"clock": "a chain", "multiply_add": "multiply-adds", "memory": "a copy in memory"}
_SAME_MACHINE = ("cpu", "isa", "threads", "threading_layer", "blas")  # what must be alike for times to be comparable


class Table(NamedTuple):
    """A title, headings, and rows of text; `words` of the columns, the first ones, are text, the others numbers."""

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    words: int


def run_tables(run: BenchRun) -> list[Table]:
    """Return one table for each operation, direction and case, the fastest competitor first."""
    groups: dict[str, list[Row]] = {}
    for row in run.rows.values():
        groups.setdefault(row.group, []).append(row)
    headings = "variant", "time", "noise", "times the fastest", "GFLOP/s", "GB/s", "error"
    return [
        Table(group, headings, [_run_cells(row, min(r.median for r in rows)) for row in sorted(rows, key=lambda row: row.median)], 1)
        for group, rows in groups.items()
    ]


def _run_cells(row: Row, fastest: float) -> tuple[str, ...]:
    noise = f"±{(row.high - row.low) / 2 / row.median:.1%}" if row.high > row.low else "1 sample"
    name = f"{row.variant} (baseline)" if row.baseline else row.variant
    return name, duration(row.median), noise, _figure(row.median / fastest), _figure(row.gflops), _figure(row.gbytes), _figure(row.error)


def comparison_table(found: Comparison) -> Table:
    """Return all rows of a comparison: what is worse first, then better, unclear and same; the greatest change first in each."""
    headings = "benchmark", "verdict", "before", "after", "change", "95 % interval", "note"
    return Table("", headings, [change_cells(change) for change in ordered(found)], 2)


def ordered(found: Comparison) -> list[Change]:
    """Return the rows as tables show them."""
    return sorted(found.changes, key=lambda change: (VERDICTS.index(change.verdict), -abs(math.log(change.ratio))))


def change_cells(change: Change) -> tuple[str, ...]:
    """Return the cells of one row of a comparison."""
    name = f"{change.before.name} (baseline)" if change.before.baseline else change.before.name
    known = math.isfinite(change.high)
    interval = f"{percent(change.low)} to {percent(change.high)}" if known else ""
    times = duration(change.before.median), duration(change.after.median)
    return name, change.verdict, *times, percent(change.ratio), interval, change.note


def percent(ratio: float) -> str:
    """Return a ratio of times as its change: +10.0 % for 1.1."""
    return f"{100 * (ratio - 1):+.1f} %".replace("+0.0", "0.0").replace("-0.0", "0.0")


def summary(found: Comparison) -> str:
    """Return the verdicts in one line."""
    counts = ", ".join(f"{found.count(verdict)} {verdict}" for verdict in VERDICTS)
    mean = "" if math.isnan(found.mean_ratio) else f"; our times changed by {percent(found.mean_ratio)} on average (geometric mean)"
    return f"{len(found.changes)} rows: {counts}{mean}."


def model(found: Comparison) -> str:
    """Return what the verdicts mean."""
    alone = (
        "What a process decides once, where its code lies, say, is not part of that noise: two runs of either version, which must agree, "
        "are surer. "
    )
    pairs = f"{found.pairs} pairs of runs had to agree; the first is shown. " if found.pairs > 1 else alone
    return (
        f"worse, better: changed by more than {100 * found.threshold:g} %, beyond the noise between the blocks of the runs; if that were "
        f"all, the probability of a false alarm on unchanged code would be below {LEVEL:.0%}, all rows together. {pairs}"
        "same: the 95 % interval lies within the threshold. Changes are those of a block's best sample, the machine's speed divided out."
    )


def run_head(run: BenchRun) -> list[str]:
    """Return lines on a run's machine, with a warning where it was too noisy."""
    told = run.machine
    versions, load = (found if isinstance(found := told.get(name), dict) else {} for name in ("versions", "load"))
    words = [str(told[name]) for name in ("cpu", "isa") if name in told]
    words += [f"{told['threads']} thread(s)"] if "threads" in told else []
    words += [f"{name} {version}" for name, version in versions.items() if name in ("fastcnn", "numpy", "numba")]
    words += [f"load {load.get('start')} to {load.get('end')}"] if load else []
    return [f"{run.path.name}: {', '.join([run.date[:19].replace('T', ' '), *words])}", *_noise(run)]


def comparison_head(found: Comparison) -> list[str]:
    """Return lines on both machines, on how they differ, and on what is missing from either run."""
    lines = [*run_head(found.before), *run_head(found.after)]
    if found.drifts:
        drift = ", ".join(f"{_ABOUT[name]} {percent(ratio)}" for name, ratio in found.drifts.items())
        lines.append(f"The machine itself, by the time of fixed loops between the samples: {drift}; this is divided out.")
    differing = [name for name in _SAME_MACHINE if found.before.machine.get(name) != found.after.machine.get(name)]
    if differing:
        told = "; ".join(f"{n.replace('_', ' ')}: {found.before.machine.get(n)}, then {found.after.machine.get(n)}" for n in differing)
        lines.append(f"Warning: the runs are not comparable, their machines differ ({told}).")
    if found.before.date > found.after.date:
        lines.append("Warning: the first file is the later run; verdicts are on the second.")
    for where, names in (("later", found.only_before), ("earlier", found.only_after)):
        if names:
            lines.append(f"Missing from the {where} run: {', '.join(names)}.")
    return lines


def _noise(run: BenchRun) -> list[str]:
    lines = []
    for name in YARDSTICKS:
        values = [seconds for row in run.rows.values() for seconds in row.yardsticks.get(name, ())]
        if values:
            low, median, high = np.percentile(values, (10, 50, 90))
            if (spread := (high - low) / median) > NOISY:
                lines.append(
                    f"Note: {run.path.name}: the machine was noisy; the time of {_ABOUT[name]} differed by {spread:.0%} between blocks."
                )
    return lines


def markdown_of_run(run: BenchRun) -> str:
    """Return a run as Markdown."""
    parts = ["  \n".join(run_head(run)), "noise is half the quartile band; error is a share of the tolerance."]
    return "\n\n".join([*parts, *(f"### {table.title}\n\n{_markdown(table)}" for table in run_tables(run))]) + "\n"


def markdown_of_comparison(found: Comparison) -> str:
    """Return a comparison as Markdown."""
    parts = ["  \n".join(comparison_head(found)), f"**{summary(found)}**", _markdown(comparison_table(found)), model(found)]
    return "\n\n".join(parts) + "\n"


def _markdown(table: Table) -> str:
    lines = [table.headings, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = [i >= table.words and heading != "note" for i, heading in enumerate(table.headings)]
    rule = ["-" * (width - 1) + (":" if number else "-") for width, number in zip(widths, right, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(c.rjust(w) if number else c.ljust(w) for c, w, number in zip(cells, widths, right, strict=True))} |"

    return "\n".join(map(line, [lines[0], rule, *lines[1:]]))


def duration(seconds: float) -> str:
    """Return seconds in three digits with their unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
