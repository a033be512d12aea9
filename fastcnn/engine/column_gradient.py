"""The loops around the tile for backward-weight of few pixels: a product with columns, written where it belongs.

    dweight[k, j] = sum over n and i of dy[n, k, i] * columns[n, i, j],    j = (c, r, s),    columns as `im2col` has them

Where there are more weights than pixels, time goes into storing the gradient: a blocked one would be written, read and transposed. Here
the tile's rows are output channels and its vectors neighbouring weights, so that each is stored once. A job owns a run of columns and
gathers no others.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import machine, simd
from ..jit import Kernel, kernel
from ..machine import TileShape, tile_shape, tile_speed
from .correlate import Geometry as Correlation


class Geometry(NamedTuple):
    """The correlation x -> y whose gradient is wanted, and how it is cut into jobs; strides in elements."""

    N: int
    C: int
    H: int
    W: int
    x_n: int
    x_c: int
    x_h: int
    x_w: int
    K: int
    R: int
    S: int
    stride_h: int
    stride_w: int
    top: int
    left: int
    P: int
    Q: int
    y_n: int
    y_c: int
    y_p: int  # elements from pixel to pixel
    blocks: int  # of columns
    jobs: int


GEOMETRY = np.dtype([(name, np.int64) for name in Geometry._fields])
_COLUMN_BYTES = 64 * 1024  # of a job
_GATHER = 5.0  # vector multiply-adds per element of the columns


def effort(c: Correlation, itemsize: int) -> float:
    """Return an estimate of the time in vector multiply-adds; infinite where this cannot serve."""
    columns = c.C * c.R * c.S
    shape = tile_shape(columns, itemsize, widest=columns) if columns >= machine.lanes(itemsize) else None
    if shape is None or c.groups != 1 or c.N * c.P * c.Q == 0 or (c.y_h != c.Q * c.y_w and c.P > 1):
        return float("inf")
    lanes = machine.lanes(itemsize)
    return c.N * c.P * c.Q * columns * (c.K / lanes / tile_speed(shape, itemsize) + _GATHER)


def weight_gradient(c: Correlation, dtype: np.dtype) -> Callable[..., None]:
    """Return a function ``(x, dy, dweight)`` on flat x and dy, for the threads that the caller has now."""
    columns, pixels = c.C * c.R * c.S, c.N * c.P * c.Q
    shape = tile_shape(columns, dtype.itemsize, widest=columns)
    blocks = -(-columns // shape.block)
    jobs = max(-(-blocks * shape.block * pixels * dtype.itemsize // _COLUMN_BYTES), machine.get_threads())
    g = Geometry(
        c.N, c.C, c.H, c.W, c.x_n, c.x_c, c.x_h, c.x_w, c.K, c.R, c.S, c.stride_h, c.stride_w, c.top, c.left, c.P, c.Q,
        c.y_n, c.y_c, c.y_w, blocks, min(jobs, blocks),
    )  # fmt: skip
    fixed, sample = np.array([g], GEOMETRY), np.empty(0, dtype)
    run = _kernel(shape, dtype).bound(g.jobs, fixed, sample, sample, sample, work=2.0 * pixels * columns * c.K)

    def gradient(x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
        target = dweight if dweight.flags.c_contiguous else np.empty(dweight.shape, dtype)
        run(fixed, x, dy, target.reshape(-1))
        if target is not dweight:
            dweight[...] = target

    return gradient


@functools.cache
def _kernel(shape: TileShape, dtype: np.dtype) -> Kernel:
    tile, gather = simd.tile(shape, dtype), _gatherer(dtype)
    block, height = shape.block, shape.height

    @kernel(specialisation=(shape, dtype.str))
    def gradient_of_columns(job, geometry, x, dy, dweight):
        g = geometry[0]
        size, pixels = g.C * g.R * g.S, g.P * g.Q
        first, last = job * g.blocks // g.jobs, (job + 1) * g.blocks // g.jobs
        begin, end = min(first * block, size - block), min(last * block, size)
        width = end - begin
        columns = np.empty(g.N * pixels * width, x.dtype)
        gather(geometry, x, begin, width, columns)
        zeros = np.zeros(block, x.dtype)
        tiles = -(-g.K // height)
        # Bounds. The last block is moved to end with the columns, at begin or later, and computes some of them a second time; where that
        # is another job's place, both write the same bits.
        for t in range(tiles):
            k = t * g.K // tiles
            tall = (t + 1) * g.K // tiles - k
            for b in range(first, last):
                j = min(b * block, size - block)
                tile(
                    tall, dy, k * g.y_c, g.y_c, g.y_n, g.y_p, columns, j - begin, pixels * width, width,
                    zeros, 0, 0, 0, dweight, k * size + j, size, g.N, pixels,
                )  # fmt: skip

    return gradient_of_columns


@functools.cache
def _gatherer(dtype: np.dtype) -> Kernel:
    """Return a kernel that copies columns begin .. begin + width into out[n, pixel, column]; pixels outside of the image are 0."""

    @kernel(specialisation=dtype.str)
    def gather(geometry, x, begin, width, out):
        g = geometry[0]
        taps = g.R * g.S
        c_first, c_last = begin // taps, (begin + width - 1) // taps + 1
        zero = x.dtype.type(0)
        for n in range(g.N):
            for p in range(g.P):
                for q in range(g.Q):
                    to = ((n * g.P + p) * g.Q + q) * width
                    line = out[to : to + width]
                    at = n * g.x_n + (p * g.stride_h - g.top) * g.x_h + (q * g.stride_w - g.left) * g.x_w
                    for r in range(g.R):
                        h = p * g.stride_h - g.top + r
                        for s in range(g.S):
                            w = q * g.stride_w - g.left + s
                            inside = 0 <= h < g.H and 0 <= w < g.W
                            tap = r * g.S + s
                            # Channels of this tap whose columns lie in the run: c*taps + tap - begin, from 0 to width - 1.
                            c0 = c_first + int(c_first * taps + tap < begin)
                            c1 = c_last - int((c_last - 1) * taps + tap >= begin + width)
                            if inside:
                                source = at + r * g.x_h + s * g.x_w
                                pixels = x[source + c0 * g.x_c : source + (c1 - 1) * g.x_c + 1]
                                target = line[c0 * taps + tap - begin : (c1 - 1) * taps + tap - begin + 1]
                                for c in range(c1 - c0):
                                    target[c * taps] = pixels[c * g.x_c]
                            else:
                                for c in range(c0, c1):
                                    line[c * taps + tap - begin] = zero

    return gather
