"""Pooling over windows given as tables: their first pixel and how many follow, so that sliding, dilated and adaptive ones are alike.

A window is a range of rows times a range of columns. Images are C interleaved channels; planes (NCHW) are images of one channel. With
channels enough for vectors a window is read once, with the results in registers (`window_simd`); else its rows first become one row, all
columns at once, and then its columns one value.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from .. import machine
from ..jit import Kernel, kernel
from .window_simd import run_sum, window_maximum, window_sum


class Size(NamedTuple):
    """What kernels know of the images: C channels, H x W pixels to P x Q windows, whose taps are `dilation` pixels apart.

    A kernel computes units of its own, a row of windows say, of which there are `units`, and a job is a `part` of them.
    """

    C: int
    H: int
    W: int
    P: int
    Q: int
    dilation_h: int = 1
    dilation_w: int = 1
    units: int = 0
    part: int = 1

    def cut(self, units: int, elements: int) -> tuple[int, np.ndarray]:
        """Return how many jobs are made of units, which have so many `elements` in all, and the sizes as kernels take them.

        To begin a job takes 0.1 us, as its arrays are handed over anew.
        """
        part = max(1, _PART * units // max(elements, 1))
        return -(-units // part), np.array([self._replace(units=units, part=part)], _SIZE)


_PART = 2**14  # elements of a job, about: 64 KiB of float32
_SIZE = np.dtype([(name, np.int64) for name in Size._fields])


# --- Tables: (first, taps) of every window along an axis ---------------------------------------------------------------


def sliding(size: int, kernel: int, stride: int, before: int, dilation: int, windows: int) -> np.ndarray:
    """Return the taps that lie inside an axis of `size`, of windows that slide by `stride` from -`before`; (0, 0) where there is none."""
    origin = np.arange(windows, dtype=np.int64) * stride - before
    skipped = np.maximum(0, -(origin // dilation))
    taps = np.minimum(kernel, (size - 1 - origin) // dilation + 1) - skipped
    return np.stack([np.where(taps > 0, origin + skipped * dilation, 0), np.maximum(taps, 0)], axis=1)


def adaptive(size: int, windows: int) -> np.ndarray:
    """Return windows that share an axis evenly: from floor(i size / windows) to ceil((i + 1) size / windows)."""
    i = np.arange(windows, dtype=np.int64)
    first = i * size // max(windows, 1)
    return np.stack([first, -(-(i + 1) * size // max(windows, 1)) - first], axis=1)


def holders(table: np.ndarray, size: int) -> np.ndarray:
    """Return the windows that hold each element of an axis, as a table: they follow one another where there is no dilation."""
    elements = np.arange(size)
    first = np.searchsorted(table[:, 0] + table[:, 1], elements, side="right")
    return np.stack([first, np.searchsorted(table[:, 0], elements, side="right") - first], axis=1)


# --- Vectors of channels -----------------------------------------------------------------------------------------------


def strips() -> tuple[int, int, int]:
    """Return how many channels are pooled at once: as many as possible of the first, then of the second; of the third where C is less.

    Images of still fewer channels have no vectors.
    """
    lanes = machine.lanes(4)
    return 4 * lanes, lanes, lanes // 2


@functools.cache
def pixel_pooler(dtype: np.dtype, places: bool) -> Kernel:
    """Return a kernel for the maxima of rows of windows, and with `places` where they are; images of at least `strips()[2]` channels.

    H * W is below 2**31. A window without taps gives `lowest` and -1.
    """
    wide, one, half = strips()
    whole, narrow, least = (window_maximum(*shape, dtype, places) for shape in ((4, one), (1, one), (1, half)))

    @kernel(specialisation=(dtype.str, places))
    def pool_pixels(job, size, rows, columns, x, y, indices, lowest):
        g = size[0]
        C, W = g.C, g.W
        for unit in range(job * g.part, min((job + 1) * g.part, g.units)):
            n, p = unit // g.P, unit % g.P
            top, height = rows[p, 0], rows[p, 1]
            row, pixel, row_place = g.dilation_h * W * C, g.dilation_w * C, g.dilation_h * W
            for q in range(g.Q):
                left, width = columns[q, 0], columns[q, 1]
                at, out = top * W + left, (unit * g.Q + q) * C
                if height == 0 or width == 0:
                    for c in range(out, out + C):
                        y[c] = lowest[0]
                        if places:
                            indices[c] = -1
                    continue
                first, c = (n * g.H * W + at) * C, 0
                # Bounds: a strip ends at channel C - 1 at the latest, of a tap inside the image.
                while c < C:
                    if c + wide <= C:
                        whole(x, first + c, height, row, width, pixel, y, out + c, indices, at, row_place, g.dilation_w)
                        c += wide
                    elif one <= C:
                        k = min(c, C - one)
                        narrow(x, first + k, height, row, width, pixel, y, out + k, indices, at, row_place, g.dilation_w)
                        c += one
                    else:
                        k = min(c, C - half)
                        least(x, first + k, height, row, width, pixel, y, out + k, indices, at, row_place, g.dilation_w)
                        c += half

    return pool_pixels


@functools.cache
def pixel_averager(dtype: np.dtype) -> Kernel:
    """Return a kernel for rows of windows: sums of x times both weights of its pixel, divided by both counts of the window.

    Images have at least `strips()[2]` channels; a window without taps gives 0.
    """
    wide, one, half = strips()
    whole, narrow, least = (window_sum(*shape, dtype) for shape in ((4, one), (1, one), (1, half)))

    @kernel(specialisation=dtype.str)
    def average_pixels(job, size, rows, columns, row_weights, column_weights, row_counts, column_counts, x, y):
        g = size[0]
        C, W = g.C, g.W
        for unit in range(job * g.part, min((job + 1) * g.part, g.units)):
            n, p = unit // g.P, unit % g.P
            top, height = rows[p, 0], rows[p, 1]
            for q in range(g.Q):
                left, width = columns[q, 0], columns[q, 1]
                out = (unit * g.Q + q) * C
                if height == 0 or width == 0:
                    for c in range(out, out + C):
                        y[c] = y.dtype.type(0)
                    continue
                first, divisor, c = ((n * g.H + top) * W + left) * C, row_counts[p] * column_counts[q], 0
                # Bounds: a strip ends at channel C - 1 at the latest, of a tap inside the image.
                while c < C:
                    if c + wide <= C:
                        whole(x, first + c, height, W * C, width, C, row_weights, top, column_weights, left, divisor, y, out + c)
                        c += wide
                    elif one <= C:
                        k = min(c, C - one)
                        narrow(x, first + k, height, W * C, width, C, row_weights, top, column_weights, left, divisor, y, out + k)
                        c += one
                    else:
                        k = min(c, C - half)
                        least(x, first + k, height, W * C, width, C, row_weights, top, column_weights, left, divisor, y, out + k)
                        c += half

    return average_pixels


# --- A few channels, or one ---------------------------------------------------------------------------------------------


@kernel
def pool_places(job, size, rows, columns, x, y, indices, lowest):
    """Images: maxima and where they are, the first of equals in row-major order, the last NaN."""
    g = size[0]
    C, length = g.C, g.W * g.C
    highest, origin = np.empty(length, x.dtype), np.empty(length, np.int32)  # of every column of the rows, and its row
    for unit in range(job * g.part, min((job + 1) * g.part, g.units)):
        image, out = unit * g.H * length, unit * g.P * g.Q * C
        for p in range(g.P):
            for r in range(rows[p, 1]):
                here = np.int32(rows[p, 0] + r * g.dilation_h)
                first = image + here * length
                values = x[first : first + length]
                if r == 0:
                    for i in range(length):
                        highest[i], origin[i] = values[i], here
                    continue
                for i in range(length):
                    better = (values[i] > highest[i]) | (values[i] != values[i])
                    highest[i] = values[i] if better else highest[i]
                    origin[i] = here if better else origin[i]
            for q in range(g.Q):
                width = columns[q, 1] if rows[p, 1] > 0 else 0
                for c in range(C):
                    best, row, place = lowest[0], -1, -1
                    for s in range(width):
                        column = columns[q, 0] + s * g.dilation_w
                        value, h = highest[column * C + c], origin[column * C + c]
                        above = value > best or (value == best and h < row)
                        if row < 0 or above or (value != value and (best == best or h >= row)):
                            best, row, place = value, h, h * g.W + column
                    y[out + c], indices[out + c] = best, place
                out += C


@kernel
def pool_rows(job, size, rows, columns, x, y, indices, lowest):
    """Images: maxima alone."""
    g = size[0]
    C, length = g.C, g.W * g.C
    highest = np.empty(length, x.dtype)
    for unit in range(job * g.part, min((job + 1) * g.part, g.units)):
        image, out = unit * g.H * length, unit * g.P * g.Q * C
        for p in range(g.P):
            for i in range(length):
                highest[i] = lowest[0]
            for r in range(rows[p, 1]):
                first = image + (rows[p, 0] + r * g.dilation_h) * length
                values = x[first : first + length]
                for i in range(length):
                    highest[i] = values[i] if (values[i] > highest[i]) | (values[i] != values[i]) else highest[i]
            for q in range(g.Q):
                for c in range(C):
                    best = lowest[0]
                    for s in range(columns[q, 1]):
                        value = highest[(columns[q, 0] + s * g.dilation_w) * C + c]
                        if value > best or value != value:
                            best = value
                    y[out + c] = best
                out += C


@kernel
def average_rows(job, size, rows, columns, row_weights, column_weights, row_counts, column_counts, x, y):
    """Images: as `pixel_averager`."""
    g = size[0]
    C, length = g.C, g.W * g.C
    total = np.empty(length, x.dtype)
    for unit in range(job * g.part, min((job + 1) * g.part, g.units)):
        image, out = unit * g.H * length, unit * g.P * g.Q * C
        for p in range(g.P):
            for i in range(length):
                total[i] = 0
            for r in range(rows[p, 1]):
                first, weight = image + (rows[p, 0] + r) * length, row_weights[rows[p, 0] + r]
                values = x[first : first + length]
                for i in range(length):
                    total[i] += weight * values[i]
            for q in range(g.Q):
                divisor = row_counts[p] * column_counts[q]
                for c in range(C):
                    whole = x.dtype.type(0)
                    for w in range(columns[q, 0], columns[q, 0] + columns[q, 1]):
                        whole += column_weights[w] * total[w * C + c]
                    y[out + c] = whole / divisor
                out += C


@functools.cache
def run_averager(dtype: np.dtype) -> Kernel:
    """Return a kernel for planes whose only column of windows is as wide as they are: each window is one run of elements.

    As `average_rows`, with row weights of 1.
    """
    lanes = strips()[1]
    total = run_sum(lanes, dtype)

    @kernel(specialisation=dtype.str)
    def average_runs(job, size, rows, columns, row_weights, column_weights, row_counts, column_counts, x, y):
        g = size[0]
        for unit in range(job * g.part, min((job + 1) * g.part, g.units)):
            for p in range(g.P):
                first, count = unit * g.H * g.W + rows[p, 0] * g.W, rows[p, 1] * g.W
                if count >= lanes:
                    whole = total(x, first, count // lanes, count % lanes)
                else:
                    whole = x.dtype.type(0)
                    for i in range(first, first + count):
                        whole += x[i]
                y[unit * g.P + p] = whole / (row_counts[p] * column_counts[0])

    return average_runs


# --- Back by indices ----------------------------------------------------------------------------------------------------

_CHUNK = 2**16  # indices that a job looks at


def extremes(indices: np.ndarray) -> tuple[int, int]:
    """Return the lowest and the highest of some contiguous indices, of which there must be one: in one pass, which NumPy takes two for."""
    flat = indices.reshape(-1)
    found = np.empty((-(-flat.size // _CHUNK), 2), np.int64)
    _extremes.launch(len(found), flat, found, work=8.0 * flat.size)
    return int(found[:, 0].min()), int(found[:, 1].max())


@kernel
def _extremes(job, indices, found):
    part = indices[job * _CHUNK : min(indices.size, (job + 1) * _CHUNK)]
    lowest, highest = part[0], part[0]
    for i in range(part.size):
        lowest, highest = min(lowest, part[i]), max(highest, part[i])
    found[job, 0], found[job, 1] = lowest, highest


@kernel
def route(job, size, dy, indices, dx):
    """Images: every gradient is added to the pixel of its maximum; none where there was none (-1)."""
    g = size[0]
    C, area, pixels = g.C, g.P * g.Q, g.H * g.W
    for unit in range(job * g.part, min((job + 1) * g.part, g.units)):
        image = dx[unit * pixels * C : (unit + 1) * pixels * C]
        for i in range(image.size):
            image[i] = 0
        for window in range(unit * area, (unit + 1) * area):
            errors, places = dy[window * C : (window + 1) * C], indices[window * C : (window + 1) * C]
            for c in range(C):
                if places[c] >= 0:
                    image[places[c] * C + c] += errors[c]
