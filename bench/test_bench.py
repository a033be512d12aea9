"""Checks every entry of the grid against the reference in float64, then times it beside its competitors.

Each entry is two tests. ``test_right`` checks it; ``test_bench`` reports its samples. The first ``test_bench`` of a session lets all that
is right take them, in processes of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .grid import Entry
from .group import Group, traffic
from .sampling import Samples
from .tape import TAPE


def test_right(entry: Entry, group: Group) -> None:
    """Check one entry."""
    _check(entry, group)


@pytest.mark.benchmark(timer=TAPE.clock)
def test_bench(entry: Entry, group: Group, sampled: Callable[[Entry], Samples] | None, benchmark: Any) -> None:
    """Report the samples of one entry."""
    error = _check(entry, group)
    benchmark.group = entry.group
    if sampled is None:  # --benchmark-disable, or pytest-xdist
        benchmark.pedantic(TAPE.play)
        return
    found = sampled(entry)
    TAPE.load(found.flat, found.loops)
    benchmark.pedantic(TAPE.play, rounds=len(found.flat), iterations=found.loops)
    work = entry.op.problem.work(entry.case.problem, entry.direction)
    moved = traffic(entry)
    median = benchmark.stats.stats.median
    benchmark.extra_info.update({
        "error_share": error,
        "GFLOP/s": work / median / 1e9,
        "GB/s": moved / median / 1e9,
        "traffic_bytes": moved,
        "baseline": entry.baseline,
        "blocks": found.blocks,
        "yardsticks": found.yardsticks,
    })  # fmt: skip


def _check(entry: Entry, group: Group) -> float:
    error = group.error(entry)
    if not error <= 1:
        pytest.fail(f"{entry.id} is wrong: its error is {error:.3g} times the tolerance; not timed")
    return error
