"""ReLU in one pass, in chunks that threads share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...jit import kernel
from .problem import ReluProblem

WARNS = False
_CHUNK = 32_768  # elements of a job: 128 KiB of float32


def forward(problem: ReluProblem, x: np.ndarray, y: np.ndarray) -> None:
    """Keep x where it is not <= 0, so that NaN stays NaN."""
    _forward.launch(-(-x.size // _CHUNK), x, y, work=8.0 * x.size)


def backward_input(problem: ReluProblem, dy: np.ndarray, x: np.ndarray, dx: np.ndarray) -> None:
    """Pass dy where x is not <= 0."""
    _backward.launch(-(-x.size // _CHUNK), dy, x, dx, work=8.0 * x.size)


def plan(problem: ReluProblem, direction: str, channels_last: tuple[()], dtype: np.dtype) -> Callable[..., None]:
    """Return a direction bound to its kernel."""
    run, arrays = (_forward, 2) if direction == "forward" else (_backward, 3)
    return run.bound(-(-problem.size // _CHUNK), *[np.empty(0, dtype)] * arrays, work=8.0 * problem.size)


@kernel
def _forward(job, x, y):
    zero = x.dtype.type(0)
    first, last = job * _CHUNK, min(x.size, (job + 1) * _CHUNK)
    source, target = x[first:last], y[first:last]
    for i in range(source.size):
        target[i] = zero if source[i] <= zero else source[i]


@kernel
def _backward(job, dy, x, dx):
    zero = x.dtype.type(0)
    first, last = job * _CHUNK, min(x.size, (job + 1) * _CHUNK)
    source, errors, target = x[first:last], dy[first:last], dx[first:last]
    for i in range(source.size):
        target[i] = zero if source[i] <= zero else errors[i]
