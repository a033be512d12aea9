"""Three fixed loops that tell how fast the machine is just now: a chain that follows the clock, multiply-adds at full rate, and a copy.

They are sampled between the competitors of every group, so that a later run can be compared although the clock, a neighbour on the same
core or another on the same memory has changed the machine meanwhile. What they do must not change with the library, or runs before and
after differ by it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from fastcnn import machine
from fastcnn.jit import kernel

from .fresh import fresh

MEMORY_BYTES = 2**26  # moved by a copy, read and written: more than caches hold, in some 4 ms
MATTERS_FROM = 2**22  # bytes that a call moves; fewer stay in a core's own caches and its share of a common one
_VALUES, _REPEATS = 2**10, 6000  # of float32, 4 KiB: they stay in the first cache; some 0.5 ms
_CHAIN = 200_000  # multiply-adds, each of which waits for the one before: a neighbour on the same core leaves it alone; some 0.4 ms


@kernel
def _multiply_add(job, values):  # type: ignore[no-untyped-def]
    part = values[job]
    for _ in range(_REPEATS):
        for i in range(part.size):
            part[i] = part[i] * np.float32(0.999) + np.float32(0.001)  # towards 1: never denormal


@kernel
def _chain(job, values):  # type: ignore[no-untyped-def]
    value = values[job]
    for _ in range(_CHAIN):
        value = value * np.float32(0.999) + np.float32(0.001)
    values[job] = value


@functools.cache
def yardsticks() -> dict[str, Callable[[], object]]:
    """Return the loops by name; the multiply-adds run on as many threads as operations may."""
    threads = machine.get_threads()
    values = fresh((threads, _VALUES), np.float32)  # begins at a cache line, or threads would take turns with the line that they share
    values[...] = 1
    work = 2.0 * _VALUES * _REPEATS * threads
    source, target = np.ones(MEMORY_BYTES // 8, np.float32), np.empty(MEMORY_BYTES // 8, np.float32)
    end = np.ones(1, np.float32)
    return {
        "clock": lambda: _chain.launch(1, end, work=1.0),
        "multiply_add": lambda: _multiply_add.launch(threads, values, work=work),
        "memory": lambda: np.copyto(target, source),
    }
