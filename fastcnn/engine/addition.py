"""Sums of two arrays of one shape, in chunks that threads share: what joins the ways through a residual block."""

from __future__ import annotations

import numpy as np

from ..jit import kernel

_CHUNK = 32_768  # elements of a job: 128 KiB of float32


def add(a: np.ndarray, b: np.ndarray, y: np.ndarray) -> None:
    """Write a + b to y: flat arrays of one length and float dtype."""
    _add.launch(-(-y.size // _CHUNK), a, b, y, work=8.0 * y.size)


@kernel
def _add(job, a, b, y):
    first, last = job * _CHUNK, min(y.size, (job + 1) * _CHUNK)
    left, right, target = a[first:last], b[first:last], y[first:last]
    for i in range(target.size):
        target[i] = left[i] + right[i]
