"""Images from channels-last memory to planes, and back: what a flattening layer copies."""

from __future__ import annotations

import functools

import numpy as np

from ..jit import Kernel, kernel
from .packing import transposer


def transpose_each(x: np.ndarray, y: np.ndarray) -> None:
    """Copy y[n, j, i] = x[n, i, j]; both are C-contiguous."""
    N, rows, columns = x.shape
    sizes = np.array([rows, columns])
    _transpose(x.dtype).launch(N, sizes, x.reshape(-1), y.reshape(-1), work=8.0 * x.size)


@functools.cache
def _transpose(dtype: np.dtype) -> Kernel:
    transpose = transposer(dtype)

    @kernel(specialisation=dtype.str)
    def transpose_image(job, sizes, x, y):
        rows, columns = sizes[0], sizes[1]
        at = job * rows * columns
        # Bounds: the blocks of transpose lie in x[at + i * columns + j] and y[at + j * rows + i], i < rows, j < columns.
        transpose(x, at, columns, y, at, rows, rows, columns)

    return transpose_image
