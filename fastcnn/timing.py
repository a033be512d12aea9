"""Timing of functions side by side: interleaved rounds, medians and the band of noise around them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

SAMPLE_SECONDS = 1e-3  # the clock and the loop around the calls (~0.1 us each) vanish in a sample of this length

_LOOK_SECONDS, _MOST_LOOKS = 6e-3, 33  # Linux counts the seconds of a thread that goes on in steps of 4 ms
_GOES_ON = 2e-3  # seconds; the threads of TBB, which kernels run on, look out for 1 ms, and do not count


class Timing(NamedTuple):
    """Seconds of one call: the median over `rounds` samples and their quartiles."""

    median: float
    low: float
    high: float
    rounds: int


def measure(functions: Mapping[str, Callable[[], Any]], rounds: int = 30, budget_seconds: float = 3.0) -> dict[str, Timing]:
    """Time functions in turns (A B C A B C ...), so that a slow spell of the machine hits them all alike.

    Parameters
    ----------
    functions : mapping of name to callable
        Called at least four times each: to compile, to find how many calls make a sample, and for one round.
    rounds : int
        At most so many samples of each.
    budget_seconds : float
        For all functions; a slow one that has used up its equal share sits out the later rounds.

    Returns
    -------
    dict of name to Timing
    """
    loops = {name: calibrate(function)[0] for name, function in functions.items()}
    samples: dict[str, list[float]] = {name: [] for name in functions}
    share = budget_seconds / max(len(functions), 1)
    for _ in range(rounds):
        for name, function in functions.items():
            if sum(samples[name]) * (loops[name] + 1) < share:
                function()  # the others have left the caches and threads cold: without this call the noise trebles
                samples[name].append(_sample(function, loops[name]))
    return {name: _timing(taken) for name, taken in samples.items()}


def calibrate(function: Callable[[], Any]) -> tuple[int, float]:
    """Return (calls that make a sample of at least 1 ms, seconds of one call); the first call only warms up."""
    function()
    loops = 1
    while (seconds := _sample(function, loops)) * loops < SAMPLE_SECONDS:
        loops *= 2
    return loops, seconds


def lingers() -> bool:
    """Whether threads of this process compute although the caller does not: those of BLAS look out for more work for some 20 to 100 ms."""
    before = time.process_time()
    time.sleep(_LOOK_SECONDS)
    return time.process_time() - before > _GOES_ON


def settle() -> None:
    """Wait until no other thread of this process computes, 0.2 s at most.

    Kernels on two threads took twice their time right after a product by BLAS, whose threads kept one of the cores.
    """
    for _ in range(_MOST_LOOKS):
        if not lingers():
            return


def _sample(function: Callable[[], Any], loops: int) -> float:
    start = time.perf_counter()
    for _ in range(loops):
        function()
    return (time.perf_counter() - start) / loops


def _timing(samples: list[float]) -> Timing:
    low, median, high = np.percentile(samples, (25, 50, 75))
    return Timing(float(median), float(low), float(high), len(samples))
