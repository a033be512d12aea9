"""Images from channels-last memory to planes, and back: what a flattening layer copies."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from .. import machine
from ..jit import Kernel, kernel
from .packing import transposer


def transposition(shape: tuple[int, int, int], dtype: np.dtype) -> Callable[[np.ndarray, np.ndarray], None]:
    """Return a function ``(x, y)`` on flat arrays: y[n, j, i] = x[n, i, j] for x of a shape; for the threads that the caller has now."""
    return _bound(shape, dtype, machine.get_threads())


@functools.lru_cache(maxsize=256)
def _bound(shape: tuple[int, ...], dtype: np.dtype, threads: int) -> Callable[..., None]:
    N, rows, columns = shape
    sizes, sample = np.array([rows, columns]), np.empty(0, dtype)
    run = _transpose(dtype).bound(N, sizes, sample, sample, work=8.0 * N * rows * columns)
    return lambda x, y: run(sizes, x, y)


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
