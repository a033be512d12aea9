"""What a second thread gains, what starting it costs, and what is left of it when another program keeps a core busy."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fastcnn import machine
from fastcnn.jit import SERIAL_BELOW, kernel
from fastcnn.ops.conv2d import OPERATION
from fastcnn.peers.team import usable_cores
from fastcnn.registry import Case
from fastcnn.timing import measure

from ..suites import SUITES
from .figure import BUSY, PARALLEL_CALL, SPEED_UP, Figure

_LONG = 1e-3  # seconds on one thread, above which two are asked to pay
_QUICK = ("resnet50-n1-64x56-64k3", "mnist-n64-32x24-32k5")
_SETTLE = 0.3  # seconds until the busy program runs


def figures(quick: bool) -> Iterator[Figure]:
    """Yield the cost of a launch, and for problems of more than a millisecond the speed-up of two threads and what a busy core leaves."""
    if min(machine.max_threads(), len(usable_cores())) < 2:
        yield Figure("threads", "all", None, "x", SPEED_UP, "this process may use one core only")
        return
    yield _launch()
    cases = [case for suite in SUITES.values() for case in suite if not quick or case.name in _QUICK]
    for direction in ("forward",) if quick else OPERATION.directions:
        for case in cases:
            yield from _case_figures(case, direction, quick)


@kernel
def _nothing(job, out):  # type: ignore[no-untyped-def]
    out[job] = job


def _launch() -> Figure:
    threads = machine.max_threads()
    out = np.empty(threads)
    with machine.threads(threads):
        launch = _nothing.bound(threads, out, work=SERIAL_BELOW)
        seconds = measure({"launch": lambda: launch(out)})["launch"].median
    return Figure("threads", f"an empty call on {threads} threads", seconds, "s", PARALLEL_CALL)


def _case_figures(case: Case, direction: str, quick: bool) -> Iterator[Figure]:
    run = _call(case, direction)
    one, two = (functools.partial(_on, threads, run) for threads in (1, 2))
    begin = time.perf_counter()
    one()
    if time.perf_counter() - begin < _LONG / 4:  # even with what compiling takes
        return
    times = measure({"one": one, "two": two}, budget_seconds=0.3 if quick else 1.0)
    alone = times["one"].median
    if alone < _LONG:
        return
    name = f"{case.name} {direction}"
    yield Figure("two threads", name, alone / times["two"].median, "x", SPEED_UP, f"{alone * 1e3:.1f} ms on one")
    with _busy_core():
        beside = measure({"two": two}, budget_seconds=0.3 if quick else 1.0)["two"].median
    yield Figure("a core busy", name, beside / times["two"].median, "x", BUSY, "two threads, over two on a quiet machine")


def _call(case: Case, direction: str) -> Callable[[], None]:
    """Return a call of the variant that is chosen for a problem, past the checks."""
    arguments = OPERATION.problem.arguments(case.problem, direction, np.float32, np.random.default_rng(0))
    images = [
        _channels_last(array) if array.shape in (case.problem.input_shape, case.problem.output_shape) else array for array in arguments
    ]
    outputs = OPERATION.problem.outputs(case.problem, direction, np.float32)
    run = OPERATION.choose(case.problem, direction)
    return functools.partial(run, case.problem, *images, *outputs)


def _channels_last(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def _on(threads: int, run: Callable[[], None]) -> None:
    with machine.threads(threads):
        run()


@contextlib.contextmanager
def _busy_core() -> Iterator[None]:
    """Keep a core of ours busy with another program, where the system can say which."""
    spin: Sequence[str] = (sys.executable, "-c", "while True: pass")
    busy = subprocess.Popen(spin)
    try:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(busy.pid, {max(os.sched_getaffinity(0))})
        time.sleep(_SETTLE)
        yield
    finally:
        busy.kill()
        busy.wait()
