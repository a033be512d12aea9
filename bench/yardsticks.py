"""Two fixed loops that tell how fast the machine is just now: multiply-adds in registers, and a copy in memory.

They are sampled between the competitors of every group, so that a later run can be compared although the clock, a neighbour on the same core or
another on the same memory has changed the machine meanwhile. What they do must not change with the library, or runs before and after differ by it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from fastcnn import machine
from fastcnn.jit import kernel

MEMORY_BYTES = 2**26  # moved by a copy, read and written: more than caches hold, in some 4 ms
_VALUES, _REPEATS = 2**10, 6000  # of float32, 4 KiB: they stay in the first cache; some 0.5 ms


@kernel
def _multiply_add(job, values):  # type: ignore[no-untyped-def]
    part = values[job]
    for _ in range(_REPEATS):
        for i in range(part.size):
            part[i] = part[i] * np.float32(0.999) + np.float32(0.001)  # towards 1: never denormal


@functools.cache
def yardsticks() -> dict[str, Callable[[], object]]:
    """Return the loops by name; the multiply-adds run on as many threads as operations may."""
    threads = machine.get_threads()
    values = np.ones((threads, _VALUES), np.float32)
    work = 2.0 * _VALUES * _REPEATS * threads
    source, target = np.ones(MEMORY_BYTES // 8, np.float32), np.empty(MEMORY_BYTES // 8, np.float32)
    return {
        "multiply_add": lambda: _multiply_add.launch(threads, values, work=work),
        "memory": lambda: np.copyto(target, source),
    }
