"""The tables of a comparison: drawn with `rich` on a terminal where it is installed, else Markdown; and what they come to, losses first."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from .row import Ratio, Row

HEADINGS = ("case", "variant", "time", "noise", "GFLOP/s", "GB/s", "peak", "error")
LEGEND = (
    "`*` is chosen by auto; noise is half the quartile band of the time; peak is the share of the multiply-adds in this dtype that the "
    "threads can do; error is a share of the tolerance. × NAME is how many times as fast as NAME: another run finds every one of these "
    "ratios within its band, in nine of ten tries."
)
_CLEARLY = 1.05  # times as slow as the fastest variant, from which on a choice is worth a line


def render(rows: Sequence[Row], file: TextIO | None = None) -> None:
    """Print one table per operation and direction, see `LEGEND`: with `rich` on a terminal where it is installed, else as Markdown."""
    file = file or sys.stdout
    for title in dict.fromkeys(row.problem[:3] for row in rows):
        mine = [row for row in rows if row.problem[:3] == title]
        yardsticks = list(dict.fromkeys(name for row in mine for name in row.ratios))
        lines = [(*HEADINGS, *(f"× {name}" for name in yardsticks), "note"), *(_cells(row, yardsticks) for row in mine)]
        if not (file.isatty() and _render_rich(" ".join(title), lines, file)):
            print(f"### {' '.join(title)}\n\n{markdown(lines)}\n", file=file)


def _cells(row: Row, yardsticks: Iterable[str]) -> tuple[str, ...]:
    time = noise = ""
    if row.timing is not None:
        time = duration(row.timing.median)
        band = (row.timing.high - row.timing.low) / 2 / row.timing.median
        noise = f"±{band:.1%}" if row.timing.rounds > 1 else "1 round"
    variant = f"{row.label} *" if row.chosen else row.label
    share = "" if row.share_of_peak is None else f"{row.share_of_peak:.0%}"
    ratios = (_ratio(row.ratios[name]) if name in row.ratios else "" for name in yardsticks)
    return row.case, variant, time, noise, number(row.gflops), number(row.gbytes), share, number(row.error), *ratios, row.note


def number(value: float | None) -> str:
    """Return three digits, or as many as whole numbers have."""
    return "" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _ratio(ratio: Ratio) -> str:
    if ratio.band is None:
        return f"{number(ratio.value)} ±?"
    return f"{number(ratio.value)} ±{ratio.band:.1%}" if ratio.band < 0.1 else f"{number(ratio.value)} ±{ratio.band:.0%}"


def duration(seconds: float) -> str:
    """Return seconds in three digits, with their unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return a table whose first line is its headings; names and notes at the left, all else at the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = [heading not in ("case", "variant", "note") for heading in lines[0]]
    rule = ["-" * (width - 1) + (":" if numeric else "-") for width, numeric in zip(widths, right, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [c.rjust(w) if numeric else c.ljust(w) for c, w, numeric in zip(cells, widths, right, strict=True)]
        return f"| {' | '.join(padded)} |"

    return "\n".join(map(line, [lines[0], rule, *lines[1:]]))


def _render_rich(title: str, lines: Sequence[Sequence[str]], file: TextIO) -> bool:
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return False
    headings, *cells = lines
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("case", "variant", "note") else "right")
    for row, following in zip(cells, [*cells[1:], None], strict=True):
        style = "bold green" if row[1].endswith("*") else "red" if row[-1].startswith("WRONG") else "dim" if not row[2] else ""
        table.add_row(*row, style=style, end_section=following is None or following[0] != row[0])
    Console(file=file).print(table)
    return True


# --- What it comes to ----------------------------------------------------------------------------------------------------


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Return in words how the automatic choice fares: the losses to others, then to variants that it did not choose."""
    chosen = {row.problem: row for row in rows if row.chosen and row.timing}
    lines = []
    for name in dict.fromkeys(name for row in chosen.values() for name in row.ratios):
        ratios = {problem: row.ratios[name] for problem, row in chosen.items() if name in row.ratios}
        lost = {problem: ratio for problem, ratio in ratios.items() if ratio.value < 1}
        sure = sum(ratio.high is not None and ratio.high < 1 for ratio in lost.values())
        told = f"auto is faster than {name} on {len(ratios) - len(lost)} of {len(ratios)} problems"
        if lost:
            worst = min(lost, key=lambda problem: lost[problem].value)
            told += f", slower on {len(lost)} ({sure} beyond the band); at worst {_ratio(lost[worst])}: {' '.join(worst[1:2] + worst[3:])}"
        lines.append(told)
    slower = []
    for problem, row in chosen.items():
        fastest = min(
            (other for other in rows if other.problem == problem and other.timing and not (other.baseline or other.note)), key=_seconds
        )
        if _seconds(row) > _CLEARLY * _seconds(fastest):
            slower.append(
                f"{problem[1]} {problem[3]}: {row.variant} takes {_seconds(row) / _seconds(fastest):.2f} times as long as {fastest.variant}"
            )
    if slower:
        lines.append(f"auto's choice is not the fastest variant on {len(slower)} of {len(chosen)} problems: {'; '.join(slower)}")
    return lines


def _seconds(row: Row) -> float:
    return row.timing.median if row.timing else float("inf")
