"""Times every entry of the grid, after checking it against the reference in float64."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from fastcnn.agreement import Trial
from fastcnn.registry import Operation
from fastcnn.timing import calibrate

from .grid import SUITES, Entry

_DTYPE = np.float32


def test_bench(entry: Entry, benchmark: Any, pytestconfig: pytest.Config) -> None:
    """Check one entry, then time it for the suite's seconds."""
    trial = _trial(entry.op, entry.direction, entry.case.problem)
    error = trial.error(entry.run)
    if not error <= 1:
        pytest.fail(f"{entry.id} is wrong: its error is {error:.3g} times the tolerance; not timed")
    call = trial.call(entry.run)
    loops, seconds = calibrate(call)
    rounds = int(SUITES[pytestconfig.getoption("--suite")].seconds / (loops * seconds))
    benchmark.group = entry.group
    benchmark.pedantic(call, rounds=min(max(rounds, 1), 100), iterations=loops)
    benchmark.extra_info["error_share"] = error
    if benchmark.stats:  # None under --benchmark-disable
        median = benchmark.stats.stats.median
        benchmark.extra_info["GFLOP/s"] = entry.op.problem.work(entry.case.problem, entry.direction) / median / 1e9
        benchmark.extra_info["GB/s"] = entry.op.problem.traffic(entry.case.problem, entry.direction, _DTYPE) / median / 1e9


@functools.lru_cache(maxsize=1)  # the entries of a group follow one another and share their inputs and the reference's result
def _trial(op: Operation, direction: str, problem: Any) -> Trial:
    return Trial(op, direction, problem, _DTYPE, np.random.default_rng(0))
