"""Why a variant serves a problem: each one's verdict, the rate that its cost predicts, and the rate that it reaches."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from . import machine
from .peak import peak_gflops
from .registry import Operation
from .timing import measure


class Explanation(NamedTuple):
    """What is known of one variant on one problem; rates in GFLOP/s of the operation's own work, None where unknown."""

    variant: str
    verdict: str
    predicted: float | None
    measured: float | None
    share_of_peak: float | None

    def __str__(self) -> str:
        text = self.verdict
        if self.predicted is not None:
            text += f"; predicted {self.predicted:.1f} GFLOP/s"
        if self.measured is not None:
            text += f", measured {self.measured:.1f}, {self.share_of_peak:.0%} of the peak"
        return text


def explain(op: Operation, problem: Any, direction: str, precision: str = "high", timed: bool = False) -> Iterator[Explanation]:
    """Yield an explanation per variant, the preferred ones first; the prediction is for one thread, at the peak measured now.

    Parameters
    ----------
    timed : bool
        Also run every variant that estimates a cost, in float32, on the threads that the caller has, and give its share of their peak.
    """
    verdicts = dict(op.explain(problem, direction, precision))
    able = [name for name, verdict in verdicts.items() if not verdict.startswith("refuses")]
    costs = {name: cost for name in able if (cost := op.variants[name].cost(problem, direction))}
    work = op.problem.work(problem, direction) / 1e9
    rates: dict[str, float] = {}
    peak = None
    if timed and costs:
        arguments = op.problem.arguments(problem, direction, np.float32, np.random.default_rng(0))
        outputs = op.problem.outputs(problem, direction, np.float32)
        runs = {name: op.variants[name].directions[direction] for name in costs}
        calls = {name: functools.partial(run, problem, *arguments, *outputs) for name, run in runs.items()}
        times = measure(calls, budget_seconds=1.0)
        rates = {name: work / timing.median for name, timing in times.items()}
        peak = peak_gflops(machine.get_threads())
    lanes = machine.lanes(4)
    multiply_adds = peak_gflops(1) * 1e9 / (2 * lanes) if costs else None  # vectors per second
    for name, verdict in verdicts.items():
        predicted = work * multiply_adds / costs[name] if name in costs and multiply_adds else None
        rate = rates.get(name)
        yield Explanation(name, verdict, predicted, rate, rate / peak if rate and peak else None)
