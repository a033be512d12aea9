"""What ``pytest bench --benchmark-json`` has written, checked: machine, rows and their blocks of samples."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import files

YARDSTICKS = ("clock", "multiply_add", "memory")  # the fixed loops; the last one only beside rows that move much


class NoRun(ValueError):
    """A file holds no run of the benchmarks; the message names it and what is wrong."""


class Row(NamedTuple):
    """One benchmark of a run.

    Attributes
    ----------
    name, group : str
        E.g. conv2d-forward-direct-mnist-24c5, and the same without the variant: its competitors have that, too.
    median, low, high : float
        Seconds of a call, over all samples: median and quartiles.
    gflops, gbytes : float or None
        GFLOP/s and GB/s.
    error : float or None
        The share of the tolerance.
    baseline : bool
        Whether it is code of others, or the reference: shown and judged, but fails no run.
    traffic : float
        Bytes that a call reads and writes at least.
    blocks : tuple of tuples of float
        The samples, seconds; empty where the run kept none.
    yardsticks : dict of str to tuple of float
        For each name of `YARDSTICKS` its best seconds in every block.
    """

    name: str
    group: str
    median: float
    low: float
    high: float
    gflops: float | None = None
    gbytes: float | None = None
    error: float | None = None
    baseline: bool = False
    traffic: float = 0.0
    blocks: tuple[tuple[float, ...], ...] = ()
    yardsticks: Mapping[str, tuple[float, ...]] = {}

    @property
    def variant(self) -> str:
        """The name without the group's words around it: direct."""
        head, tail = 0, 0
        while head < len(self.group) and self.name[head] == self.group[head]:
            head += 1
        while tail < len(self.group) - head and self.name[-1 - tail] == self.group[-1 - tail]:
            tail += 1
        return self.name[head : len(self.name) - tail].strip("-") or self.name


class BenchRun(NamedTuple):
    """A run: where it was read, when it was, on what, and its rows by name.

    `yardstick_bytes` is what the copy of the memory yardstick moves.
    """

    path: Path
    date: str
    machine: Mapping[str, Any]
    rows: Mapping[str, Row]
    yardstick_bytes: float = 0.0


def read_bench(path: Path) -> BenchRun:
    """Return a run of the benchmarks.

    Raises
    ------
    NoRun
        The file cannot be read or holds something else.
    """
    try:
        found = files.load_json(path)
    except OSError as error:
        raise NoRun(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise NoRun(f"{path} is no JSON: {str(error).splitlines()[0]}") from error
    benchmarks = found.get("benchmarks") if isinstance(found, dict) else None
    if not isinstance(benchmarks, list) or not benchmarks:
        raise NoRun(f"{path} holds no benchmarks; `pytest bench --benchmark-json=FILE` writes some")
    rows = [_row(path, benchmark) for benchmark in benchmarks]
    names = {row.name: row for row in rows}
    if len(names) < len(rows):
        raise NoRun(f"{path}: {next(row.name for row in rows if names[row.name] is not row)} is there twice")
    date, machine = found.get("datetime"), found.get("machine_info")
    own = machine.get("fastcnn") if isinstance(machine, dict) else None
    own = own if isinstance(own, dict) else {}
    moved = found.get("memory_bytes") if isinstance(found := own.get("yardsticks"), dict) else None
    return BenchRun(Path(path), date if isinstance(date, str) else "", own, names, _number(moved) or 0.0)


def _row(path: Path, benchmark: Any) -> Row:
    try:
        extra, stats = benchmark.get("extra_info", {}), benchmark["stats"]
        samples = extra.get("blocks") or []
        blocks = tuple(tuple(map(_positive, block)) for block in samples)
        name = str(benchmark.get("param") or benchmark["name"])
        data = [seconds for block in blocks for seconds in block] or list(map(_positive, stats.get("data") or [stats["median"]]))
        low, median, high = _quartiles(data)
        yardsticks = {key: tuple(map(_positive, values)) for key, values in (extra.get("yardsticks") or {}).items()}
        needed = {*YARDSTICKS[:2], *yardsticks}
        if blocks and (not all(blocks) or any(len(yardsticks.get(key, ())) != len(blocks) for key in needed)):
            raise ValueError("a block is empty, or its yardsticks are missing")
        return Row(
            name, str(benchmark.get("group") or name), median, low, high,
            _number(extra.get("GFLOP/s")), _number(extra.get("GB/s")), _number(extra.get("error_share")),
            extra.get("baseline") is True, _number(extra.get("traffic_bytes")) or 0.0, blocks, yardsticks,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NoRun(f"{path}: a benchmark is damaged ({type(error).__name__}: {error}): {str(benchmark)[:80]}") from error


def _quartiles(data: Sequence[float]) -> tuple[float, float, float]:
    if len(data) == 1:
        return data[0], data[0], data[0]
    low, median, high = statistics.quantiles(data, n=4, method="inclusive")
    return low, median, high


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= sys.float_info.max


def _positive(value: Any) -> float:
    if not _is_positive(value):
        raise ValueError(f"expected seconds; got {value!r}")
    return float(value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max else None
