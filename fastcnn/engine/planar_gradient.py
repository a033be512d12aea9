"""The loops around the tile for backward-weight in planes (NCHW) of a few channels: the reduction runs along lines of pixels.

    dweight[k, c, r, s] = sum over n and i of dy[n, k, i] * x_s[n, c, i + r*Q],    i = p*Q + q,    x_s[h*Q + q] = padded x[h, q + s]

A band of dy's rows is one line, read where it lies; x, which has fewer channels, is copied once per kernel column, shifted by it and cut
to the rows of dy. Neither image is transposed, which in a first layer costs more than its few sums. Each lane of the vectors keeps a sum
of its own until the end.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import machine, simd
from ..jit import Kernel, kernel
from ..machine import tile_shape
from .correlate import Geometry as Correlation
from .correlate import tile_effort
from .filters import filter_effort
from .packing import clear
from .planar import line_copier


class Geometry(NamedTuple):
    """The correlation x -> y of stride 1 whose gradient is wanted, and how it is cut into units and jobs; strides in elements."""

    C: int
    H: int
    W: int
    x_n: int
    x_c: int
    x_h: int
    x_w: int
    K: int
    R: int
    top: int
    left: int
    P: int
    Q: int
    y_n: int
    y_c: int
    y_h: int
    y_w: int
    in_place: int  # 1: dy is read where it lies
    bands: int  # units of an image's height
    rows: int  # of the largest band
    units: int
    parts: int  # runs of units, each with a gradient of its own


GEOMETRY = np.dtype([(name, np.int64) for name in Geometry._fields])
_BUFFER_BYTES = 192 * 1024  # of dy in a unit
_MIN_TAPS, _MAX_TAPS = 3, 8  # side by side: each vector of dy is used so often, and sums of two rows at least must fit the registers
_MAX_CHANNELS = 4  # copied once per tap
_TOTAL_BYTES = 1024 * 1024  # of the sums of all lanes
_SUMS = 10  # that a tile needs to hide the latency of its additions
_MAX_ROWS = 8
# Measured, in vector multiply-adds per element: copies and transpositions here, and by `weight_gradient` where images are planar.
_SPEED, _COPY, _TRANSPOSE, _THEIR_TRANSPOSE = 0.8, 0.5, 1.0, 0.8


def suits(c: Correlation, itemsize: int) -> bool:
    """Whether this is the faster way: for planes, and for so few output channels that a vector of them would be empty."""
    if (c.stride_h, c.stride_w, c.groups) != (1, 1, 1) or c.N * c.P * c.Q == 0:
        return False
    if not _MIN_TAPS <= c.S <= _MAX_TAPS or c.C > _MAX_CHANNELS:
        return False
    sums, lanes = c.C * c.R * c.S, machine.lanes(itemsize)
    if sums * c.K * lanes * itemsize > _TOTAL_BYTES:
        return False
    ours = sums * c.K / lanes / _SPEED + c.S * c.C * (_COPY if c.x_w == 1 else _TRANSPOSE)
    ours += 0 if _in_place(c) else c.K * (_COPY if c.y_w == 1 else _TRANSPOSE)
    shape = tile_shape(c.K, itemsize)
    hidden = min(1.0, min(c.C * c.S, shape.height) * shape.vectors / _SUMS)
    theirs = tile_effort(c.K, sums) * itemsize / 4 / hidden + _THEIR_TRANSPOSE * (c.C * (c.x_c != 1) + c.K * (c.y_c != 1))
    return c.N * c.P * c.Q * (theirs - ours) + filter_effort(sums * c.K) > 0


def _in_place(c: Correlation) -> bool:
    """Whether the rows of an output channel follow one another."""
    return c.y_w == 1 and (c.P == 1 or c.y_h == c.Q)


def weight_gradient(c: Correlation, dtype: np.dtype) -> Callable[..., None]:
    """Return a function ``(x, dy, dweight)`` on flat x and dy, for the threads that the caller has now."""
    g = _cut(c, dtype.itemsize)
    fixed, sample = np.array([g], GEOMETRY), np.empty(0, dtype)
    flops = 2.0 * c.N * c.P * c.Q * c.K * c.C * c.R * c.S
    run = _kernel(c.S, dtype).bound(g.parts, fixed, sample, sample, sample, work=flops)

    def gradient(x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
        if g.parts == 1 and dweight.flags.c_contiguous:
            run(fixed, x, dy, dweight.reshape(-1))
            return
        partial = np.empty((g.parts, *dweight.shape), dtype)
        run(fixed, x, dy, partial.reshape(-1))
        with np.errstate(over="ignore", invalid="ignore"):
            np.sum(partial, axis=0, out=dweight)

    return gradient


def _cut(c: Correlation, itemsize: int) -> Geometry:
    bands = -(-c.P // max(1, _BUFFER_BYTES // (c.K * c.Q * itemsize)))
    if c.N * bands < machine.get_threads():
        bands = min(c.P, machine.get_threads())
    units = c.N * bands
    return Geometry(
        c.C, c.H, c.W, c.x_n, c.x_c, c.x_h, c.x_w, c.K, c.R, c.top, c.left, c.P, c.Q, c.y_n, c.y_c, c.y_h, c.y_w,
        int(_in_place(c)), bands, -(-c.P // bands), units, min(units, machine.get_threads()),
    )  # fmt: skip


@functools.cache
def _kernel(taps: int, dtype: np.dtype) -> Kernel:
    lanes = machine.lanes(dtype.itemsize)
    height = max(1, min(_MAX_ROWS, (machine.isa().registers - 1) // taps - 1))  # sums, as many lines of x, and a vector of dy
    correlate = simd.correlation_tile(taps, height, lanes, dtype)
    copy_lines, copy_shifted = line_copier(dtype), _shifted_copier(taps, dtype)

    @kernel(specialisation=(lanes, dtype.str))
    def copy_rest(x, at, pitch, count, length, out):
        for i in range(count):
            source, target = x[at + i * pitch : at + i * pitch + length], out[i * lanes : (i + 1) * lanes]
            for j in range(source.size):
                target[j] = source[j]
            for j in range(source.size, target.size):
                target[j] = 0

    @kernel(specialisation=(taps, height, lanes, dtype.str))
    def gradient_of_bands(job, geometry, x, dy, partial):
        g = geometry[0]
        x_line = (g.rows + g.R - 1) * g.Q
        image = np.empty(g.C * taps * x_line, x.dtype)
        copied = np.empty(0 if g.in_place else g.K * g.rows * g.Q, x.dtype)
        # The rest of a line that is no multiple of a vector, followed by zeros: of dy, and of x for each channel, kernel row and column.
        rest, x_rest = np.empty(g.K * lanes, x.dtype), np.empty(g.C * g.R * taps * lanes, x.dtype)
        total = np.zeros(g.C * g.R * g.K * taps * lanes, x.dtype)
        tiles = -(-g.K // height)
        for unit in range(job * g.units // g.parts, (job + 1) * g.units // g.parts):
            n, band = unit // g.bands, unit % g.bands
            first = band * g.P // g.bands
            rows = (band + 1) * g.P // g.bands - first
            copy_shifted(geometry, x, n, first, rows, image, x_line)
            if g.in_place:
                errors, origin, line = dy, n * g.y_n + first * g.y_h, g.y_c
            else:
                errors, origin, line = copied, 0, g.rows * g.Q
                copy_lines(dy, n * g.y_n + first * g.y_h, g.y_c, g.y_h, g.y_w, g.K, rows, g.Q, copied, 0, line, g.Q)
            steps = rows * g.Q // lanes
            done = steps * lanes
            left = rows * g.Q - done
            if left:
                copy_rest(errors, origin + done, line, g.K, left, rest)
                for c in range(g.C):
                    for r in range(g.R):
                        to = (c * g.R + r) * taps * lanes
                        copy_rest(image, c * taps * x_line + r * g.Q + done, x_line, taps, left, x_rest[to : to + taps * lanes])
            # Bounds. Whole vectors end within the band's lines, of dy and, r rows further, of x; the rest is read from its copies, where
            # zeros meet zeros: what lies behind the line is another row of x, and may be infinite.
            for t in range(tiles):
                k = t * g.K // tiles
                tall = (t + 1) * g.K // tiles - k
                for c in range(g.C):
                    for r in range(g.R):
                        row = c * g.R + r
                        to = (row * g.K + k) * taps * lanes
                        if steps:
                            correlate(tall, image, c * taps * x_line + r * g.Q, x_line, errors, origin + k * line, line, steps, total, to)
                        if left:
                            correlate(tall, x_rest, row * taps * lanes, lanes, rest, k * lanes, lanes, 1, total, to)
        for k in range(g.K):
            for c in range(g.C):
                for r in range(g.R):
                    for s in range(taps):
                        at = (((c * g.R + r) * g.K + k) * taps + s) * lanes
                        part, result = total[at : at + lanes], x.dtype.type(0)
                        for lane in range(part.size):
                            result += part[lane]
                        partial[(((job * g.K + k) * g.C + c) * g.R + r) * taps + s] = result

    return gradient_of_bands


@functools.cache
def _shifted_copier(taps: int, dtype: np.dtype) -> Kernel:
    """Return a kernel that copies the padded rows which a band of an image needs, once per kernel column, into out[c, s, row, q]."""
    copy_lines = line_copier(dtype)

    @kernel(specialisation=(taps, dtype.str))
    def copy_shifted(geometry, x, n, first, rows, out, pitch):
        g = geometry[0]
        needed, h = rows + g.R - 1, first - g.top
        top, bottom = min(needed, max(0, -h)), max(0, min(needed, g.H - h))
        for s in range(taps):
            w = s - g.left
            left, right = min(g.Q, max(0, -w)), max(0, min(g.Q, g.W - w))
            empty = top >= bottom or left >= right
            for c in range(g.C):
                at = (c * taps + s) * pitch
                if empty or right - left < g.Q:
                    clear(out, at, at + pitch)
                else:
                    clear(out, at, at + top * g.Q)
                    clear(out, at + bottom * g.Q, at + pitch)
            if not empty:
                source, to = n * g.x_n + (h + top) * g.x_h + (w + left) * g.x_w, s * pitch + top * g.Q + left
                copy_lines(x, source, g.x_c, g.x_h, g.x_w, g.C, bottom - top, right - left, out, to, taps * pitch, g.Q)

    return copy_shifted
