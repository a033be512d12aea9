"""Loops for what NumPy has no function for, or needs several passes for."""

from __future__ import annotations

import math

import numpy as np

from .. import checks
from ..jit import kernel

_ELEMENTS = 4096  # of a job


def erf(x: np.ndarray) -> np.ndarray:
    """Return the error function of every element, in the dtype of x."""
    values = checks.contiguous(x if x.dtype in checks.FLOATS else x.astype(np.float32))
    result = np.empty(values.shape, values.dtype)
    _erf.launch(-(-values.size // _ELEMENTS), values.reshape(-1), result.reshape(-1), work=100.0 * values.size)
    return result.astype(x.dtype, copy=False)


@kernel
def _erf(job, x, y):  # type: ignore[no-untyped-def]
    for i in range(job * 4096, min((job + 1) * 4096, x.size)):
        y[i] = math.erf(x[i])
