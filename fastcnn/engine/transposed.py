"""Images from channels-last memory to planes, and back: what a flattening layer copies."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from .. import machine
from ..jit import Kernel, kernel
from .packing import transposer


def transpose_each(x: np.ndarray, y: np.ndarray) -> None:
    """Copy y[n, j, i] = x[n, i, j]; both are C-contiguous."""
    _bound(x.shape, x.dtype, machine.get_threads())(x.reshape(-1), y.reshape(-1))


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
