"""A residual, y = y + more, limited where a ReLU (or ReLU6) follows: a pass for convolutions that cannot add it as they store."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from .. import machine
from ..jit import Kernel, kernel

SIZES = np.dtype([("size", np.int64), ("jobs", np.int64), ("relu", np.int64)])
_JOB_BYTES = 256 * 1024  # of y, at least


def adding(run: Callable[..., None], size: int, relu: int, dtype: np.dtype) -> Callable[..., None]:
    """Return `run(x, weight, bias, y)` with a fifth array that is added to its result, all flat; for the caller's threads."""
    jobs = max(1, min(machine.get_threads(), size * dtype.itemsize // _JOB_BYTES))
    sizes, sample = np.array([(size, jobs, relu)], SIZES), np.empty(0, dtype)
    add = _kernel(dtype).bound(jobs, sizes, sample, sample, work=8.0 * size)

    def both(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, more: np.ndarray) -> None:
        run(x, weight, bias, y)
        add(sizes, y, more)

    return both


def limit(y: np.ndarray, relu: int) -> None:
    """Raise an array to 0 (relu 1), and limit it to 6 (2), as the tiles do when they store."""
    if relu:
        np.maximum(y, 0, out=y)
    if relu == 2:
        np.minimum(y, 6, out=y)


@functools.cache
def _kernel(dtype: np.dtype) -> Kernel:
    @kernel(specialisation=dtype.str)
    def add_part(job, sizes, y, more):
        s = sizes[0]
        first, last = job * s.size // s.jobs, (job + 1) * s.size // s.jobs
        total, term = y[first:last], more[first:last]
        least = y.dtype.type(0.0) if s.relu else y.dtype.type(-np.inf)
        most = y.dtype.type(6.0) if s.relu == 2 else y.dtype.type(np.inf)
        for i in range(total.size):
            value = total[i] + term[i]
            value = least if least > value else value  # NaN passes
            total[i] = most if most < value else value

    return add_part
