"""Sums over the rows of a matrix: the gradient of a bias, which every output of its channel adds to.

Rows are summed a chunk at a time, and then the sums of chunks, which rounds less than one long sum and takes any number of threads: the
chunks depend on the shape alone, and so do the bits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from .. import machine
from ..jit import Kernel, in_turn, kernel

_ELEMENTS, _LONGEST = 2**16, 2048  # of a chunk, and its rows at most


def column_sums(shape: tuple[int, int], dtype: np.dtype, passed: bool = False) -> Callable[..., None]:
    """Return a function ``(x, total)`` on flat arrays for matrices x of a shape; for the threads that the caller has now.

    A row may hold several pixels: ``total`` is as long as one, and has the sums of all of them. With `passed` the function takes
    ``(x, y, total)`` and sums what stands where y, of the same shape, is not <= 0 (NaN passes).
    """
    return _column_sums(*shape, dtype, passed, machine.get_threads())


@functools.lru_cache(maxsize=1024)
def _column_sums(rows: int, width: int, dtype: np.dtype, passed: bool, threads: int) -> Callable[..., None]:
    if width == 0:
        return lambda *_: None
    chunk = max(1, min(_LONGEST, _ELEMENTS // width))
    chunks = max(1, -(-rows // chunk))
    sizes, sample = np.array([rows, width, chunk]), np.empty(0, dtype)
    steps = [(_chunk_summer(passed), chunks, 8.0 * rows * width), (_add_up, 1, 0.0)]
    run = in_turn(steps, sizes, sample, sample, sample, sample)

    def sums(x: np.ndarray, y: np.ndarray, total: np.ndarray) -> None:
        run(sizes, x, y, np.empty(chunks * width, dtype), total)

    return sums if passed else lambda x, total: sums(x, x, total)


@functools.cache
def _chunk_summer(passed: bool) -> Kernel:
    @kernel(specialisation=passed)
    def sum_chunk(job, sizes, x, y, partial, total):
        rows, width, chunk = sizes[0], sizes[1], sizes[2]
        zero = x.dtype.type(0)
        sums = partial[job * width : (job + 1) * width]
        for i in range(width):
            sums[i] = zero
        for row in range(job * chunk, min(rows, (job + 1) * chunk)):
            values, gates = x[row * width : (row + 1) * width], y[row * width : (row + 1) * width]
            for i in range(sums.size):
                if passed:
                    sums[i] += zero if gates[i] <= zero else values[i]
                else:
                    sums[i] += values[i]

    return sum_chunk


@kernel
def _add_up(job, sizes, x, y, partial, total):
    """Add the chunks to the first one, in order, and then its pixels to one another."""
    width, columns = sizes[1], total.size
    sums = partial[:width]
    for first in range(width, partial.size, width):
        chunk = partial[first : first + width]
        for i in range(sums.size):
            sums[i] += chunk[i]
    for k in range(columns):
        total[k] = 0
    for first in range(0, width, columns):
        pixel = sums[first : first + columns]
        for k in range(total.size):
            total[k] += pixel[k]
