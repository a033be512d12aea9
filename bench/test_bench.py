"""Checks every entry of the grid against the reference in float64, then times it beside its competitors.

Each entry is two tests. ``test_right`` checks it, and its group's first test takes half of the samples; ``test_bench`` takes the other half
once all of the first are there, some minutes apart, and reports both. Selected alone, ``test_bench`` does all of it.
"""

from __future__ import annotations

from typing import Any

import pytest

from .grid import Entry
from .group import Group, traffic
from .sampling import BLOCKS
from .tape import TAPE


def test_right(entry: Entry, group: Group, sampling: bool) -> None:
    """Check one entry, and sample its group for the first time."""
    if sampling:
        group.sample(BLOCKS // 2)
    _check(entry, group)


@pytest.mark.benchmark(timer=TAPE.clock)
def test_bench(entry: Entry, group: Group, sampling: bool, benchmark: Any) -> None:
    """Report the samples of one entry."""
    error = _check(entry, group)
    benchmark.group = entry.group
    if not sampling:  # --benchmark-disable, or pytest-xdist
        benchmark.pedantic(TAPE.play)
        return
    found = group.samples(entry)
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
