"""Variants of an operation side by side: each checked against the reference, then timed in turns with the others."""

from __future__ import annotations

import contextlib
import difflib
import functools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TextIO

import numpy as np

from . import machine
from .agreement import Trial
from .registry import Case, Operation, operations
from .timing import Timing, measure

LONGEST_CALL = 1.0  # seconds; a baseline that needs more is left out of the table


class Baseline(NamedTuple):
    """Code from outside the library that variants are compared with.

    `run` has the parameters of the operation's reference; `flops`, its rough speed in FLOP/s, tells which problems are
    too large for it; ``refuses(problem)`` returns the reason where it computes only some problems.
    """

    name: str
    run: Callable[..., None]
    flops: float
    refuses: Callable[[Any], str | None] = lambda problem: None

    def leaves_out(self, op: Operation, direction: str, problem: Any, longest_call: float) -> str | None:
        """Return why this baseline is not timed on a problem, where a call may take `longest_call` seconds; None where it is."""
        if op.problem.work(problem, direction) > longest_call * self.flops:
            return f"left out: would take more than {longest_call:g} s a call"
        reason = self.refuses(problem)
        return f"refuses: {reason}" if reason else None


class Row(NamedTuple):
    """One variant, or baseline, on one case.

    `error` is a share of the tolerance; `speedup` is over the first baseline; where there is no timing, `note` tells why.
    """

    operation: str
    direction: str
    dtype: str
    case: str
    variant: str
    chosen: bool = False
    baseline: bool = False
    error: float | None = None
    timing: Timing | None = None
    gflops: float | None = None
    gbytes: float | None = None
    speedup: float | None = None
    note: str = ""

    @property
    def label(self) -> str:
        """The variant's name, or the baseline's marked as one; unique on a case."""
        return f"{self.variant} (baseline)" if self.baseline else self.variant

    def record(self) -> dict[str, Any]:
        """Return the row as plain values for JSON, which has no infinity: an infinite error becomes null."""
        error = self.error if self.error is not None and math.isfinite(self.error) else None
        return {**self._asdict(), "error": error, "timing": self.timing and self.timing._asdict()}


# --- What to compare ---------------------------------------------------------------------------------------------------


def operation(name: str) -> Operation:
    """Return an operation by name; ValueError where there is none."""
    return _lookup("operation", name, operations())


def cases_named(op: Operation, names: Sequence[str] | None) -> list[Case]:
    """Return benchmark or test cases of an operation by name, all benchmark cases for None; ValueError for an unknown name."""
    if names is None:
        return list(op.problem.BENCH)
    known = {case.name: case for case in (*op.problem.CASES, *op.problem.BENCH)}
    return [_lookup(f"{op.name} case", name, known) for name in names]


def directions_named(op: Operation, names: Sequence[str] | None) -> list[str]:
    """Return checked directions of an operation, all of them for None; ValueError for one that it does not have."""
    known = {direction: direction for direction in op.directions}
    return [_lookup(f"{op.name} direction", name, known) for name in (known if names is None else names)]


def _lookup(kind: str, name: str, known: dict[str, Any]) -> Any:
    if name not in known:
        close = difflib.get_close_matches(name, known, 3, 0.5)
        raise ValueError(f"unknown {kind} {name!r}; {'did you mean' if close else 'expected one of'} {', '.join(close or known)}")
    return known[name]


def baselines(op: str, direction: str) -> list[Baseline]:
    """Return the baselines of a checkout's bench/baselines.py; none where fastcnn is installed without it."""
    module = _baseline_module()
    return module.baselines(op, direction) if module else []


@functools.cache
def _baseline_module() -> ModuleType | None:
    root = Path(__file__).parents[1]
    path = root / "bench" / "baselines.py"
    if not path.is_file() or not (root / "pyproject.toml").is_file():  # an installed package must not run a stranger's bench/
        return None
    loader = SourceFileLoader("fastcnn_baselines", str(path))
    module = ModuleType(loader.name)
    loader.exec_module(module)
    return module


# --- Measuring ---------------------------------------------------------------------------------------------------------


def compare(
    op: str | Operation,
    cases: Sequence[Case] | None = None,
    directions: Sequence[str] | None = None,
    dtype: Any = np.float32,
    threads: int | None = None,
    budget_seconds: float = 3.0,
) -> list[Row]:
    """Check and time every variant of an operation, and the baselines, on every case.

    Parameters
    ----------
    op : str or Operation
    cases : sequence of Case, optional
        The operation's benchmark cases if not given.
    directions : sequence of str, optional
        All if not given.
    dtype : float32 or float64
    threads : int, optional
        For fastcnn and, where threadpoolctl is installed, for BLAS.
    budget_seconds : float
        For the timing of one case; variants too slow for their share of it get fewer rounds.

    Returns
    -------
    list of Row
        By direction and case; also for variants that refuse a case, or compute it wrongly and are not timed.

    Raises
    ------
    ValueError
        Unknown operation or direction, or more threads than there are.
    """
    found = operation(op) if isinstance(op, str) else op
    with _limit(threads):
        return [
            row
            for direction in directions_named(found, directions)
            for case in (found.problem.BENCH if cases is None else cases)
            for row in _compare_case(found, direction, case, dtype, budget_seconds)
        ]


@contextlib.contextmanager
def _limit(threads: int | None) -> Iterator[None]:
    with contextlib.ExitStack() as limits:
        if threads is not None:
            limits.enter_context(machine.threads(threads))
            with contextlib.suppress(ImportError):
                import threadpoolctl

                limits.enter_context(threadpoolctl.threadpool_limits(threads, "blas"))
        yield


def _compare_case(op: Operation, direction: str, case: Case, dtype: Any, budget_seconds: float) -> list[Row]:
    trial = Trial(op, direction, case.problem, dtype, np.random.default_rng(0))
    rows, calls = [], {}
    for row, run in _candidates(op, direction, case, dtype):
        if run is not None:
            error = trial.error(run)
            if error <= 1:
                calls[row.label] = trial.call(run)
            row = row._replace(error=error, note="" if error <= 1 else f"WRONG: error is {error:.3g} times the tolerance; not timed")
        rows.append(row)
    timings = measure(calls, budget_seconds=budget_seconds)
    yardstick = next((timings.get(row.label) for row in rows if row.baseline), None)
    work, traffic = op.problem.work(case.problem, direction), op.problem.traffic(case.problem, direction, dtype)

    def rated(row: Row) -> Row:
        timing = timings[row.label]
        gflops, gbytes = work / timing.median / 1e9, traffic / timing.median / 1e9
        return row._replace(timing=timing, gflops=gflops, gbytes=gbytes, speedup=yardstick and yardstick.median / timing.median)

    return [rated(row) if row.label in timings else row for row in rows]


def _candidates(op: Operation, direction: str, case: Case, dtype: Any) -> Iterator[tuple[Row, Callable[..., None] | None]]:
    """Yield every variant and baseline; without its function, but with a note, where it is not to be run."""
    row = Row(op.name, direction, str(np.dtype(dtype)), case.name, "")
    for name, verdict in op.explain(case.problem, direction):
        if verdict.startswith("refuses"):
            yield row._replace(variant=name, note=verdict), None
        else:
            yield row._replace(variant=name, chosen=verdict.startswith("chosen")), op.variants[name].directions[direction]
    for baseline in baselines(op.name, direction):
        note = baseline.leaves_out(op, direction, case.problem, LONGEST_CALL)
        yield row._replace(variant=baseline.name, baseline=True, note=note or ""), None if note else baseline.run


# --- Rendering ---------------------------------------------------------------------------------------------------------

HEADINGS = ("case", "variant", "time", "noise", "GFLOP/s", "GB/s", "speed-up", "error", "note")
LEGEND = "`*` is chosen by auto; speed-up is over the first baseline; noise is half the quartile band; error is a share of the tolerance."


def render(rows: Sequence[Row], file: TextIO | None = None) -> None:
    """Print one table per operation and direction, see `LEGEND`: with `rich` on a terminal where it is installed, else as Markdown."""
    file = file or sys.stdout
    titles = list(dict.fromkeys((row.operation, row.direction, row.dtype) for row in rows))
    for title in titles:
        cells = [_cells(row) for row in rows if row[:3] == title]
        if not (file.isatty() and _render_rich(" ".join(title), cells, file)):
            print(f"### {' '.join(title)}\n\n{_markdown([HEADINGS, *cells])}\n", file=file)


def _cells(row: Row) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"

    time = noise = ""
    if row.timing is not None:
        time = _duration(row.timing.median)
        band = (row.timing.high - row.timing.low) / 2 / row.timing.median
        noise = f"±{band:.1%}" if row.timing.rounds > 1 else "1 round"
    variant = f"{row.label} *" if row.chosen else row.label
    return row.case, variant, time, noise, number(row.gflops), number(row.gbytes), number(row.speedup), number(row.error), row.note


def _duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = [heading in HEADINGS[2:-1] for heading in lines[0]]
    rule = ["-" * (width - 1) + (":" if right else "-") for width, right in zip(widths, numeric, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [c.rjust(w) if right else c.ljust(w) for c, w, right in zip(cells, widths, numeric, strict=True)]
        return f"| {' | '.join(padded)} |"

    return "\n".join(map(line, [lines[0], rule, *lines[1:]]))


def _render_rich(title: str, cells: Sequence[Sequence[str]], file: TextIO) -> bool:
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return False
    table = Table(title=title)
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in HEADINGS[2:-1] else "left")
    for row, following in zip(cells, [*cells[1:], None], strict=True):
        style = "bold green" if row[1].endswith("*") else "red" if row[-1].startswith("WRONG") else "dim" if row[-1] else ""
        table.add_row(*row, style=style, end_section=following is None or following[0] != row[0])
    Console(file=file).print(table)
    return True
