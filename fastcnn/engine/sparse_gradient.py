"""The weight gradient of a pooled correlation from the few pixels that a gradient reaches.

Behind max-pooling with ReLU a window passes its gradient to one pixel, or to none: of 2 x 2 windows, half of them open, seven pixels in
eight have the gradient 0. So the gradients that are not 0 are listed, channel by channel, with the places in x that they meet:

    dweight[k, r, s, c] = sum over (value, place) in the list of k of value * x[place + r*row + s*C + c]

In a channels-last x the S*C elements of a kernel row are contiguous; R x (S*C) sums stay in registers while a list is read, an instruction
per vector (`gathered_tile`). A unit of work is a band of an image, or several small images, whose padded copy stays in the cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import machine
from ..jit import Kernel, kernel
from .packing import clear, row_packer, transposer
from .sparse_simd import BLOCK, GatherShape, compressed, entry_type, gathered_tile, passed_entries
from .sparse_tiling import Tiling, tiling


class Pooled(NamedTuple):
    """A correlation of x (N, C, H, W), strides in elements, pooled in windows to channels-last (N, P, Q, K)."""

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
    window_h: int
    window_w: int
    P: int
    Q: int


class Geometry(NamedTuple):
    """A `Pooled` cut into units and jobs; `sparse_gradient` says what it is."""

    p: Pooled
    rows: int  # of windows in a unit
    bands: int  # of an image
    width: int  # columns of windows in a unit
    chunks: int  # of an image
    images: int  # in a unit
    units: int
    parts: int  # runs of units, each with a gradient of its own
    splits: int  # runs of blocks of channels
    blocks: int  # of channels
    pixels_h: int  # rows of x that a unit reads, of an image
    pixels_w: int
    tiles: int
    reach: int
    pitch: int  # of a line of the gradient

    def record(self) -> np.ndarray:
        """Return the numbers as kernels read them."""
        return np.array([(*self.p, *self[1:])], RECORD)


RECORD = np.dtype([(name, np.int64) for name in (*Pooled._fields, *Geometry._fields[1:])])
WINDOWS = 288  # whose entries of `BLOCK` channels are made at a time: 18 KiB of the L1 cache
# Vector multiply-adds, measured: of an element of dy until it is in a list or is not, and of one that is copied; by how much more than
# instructions an entry costs as x comes from L2; of a list (two loops whose ends are mispredicted); of a weight's gradient, where large.
SCAN, COPY, _MEMORY, _PER_LIST, _RESULT = 2.2, 0.2, 1.3, 40.0, 2.5
_BUFFER_BYTES = 32 * 1024  # of x
_GRADIENT_BYTES = 640 * 1024  # of a job's gradient


def weight_gradient(p: Pooled, dtype: np.dtype) -> Callable[..., None]:
    """Return a function ``(x, dy, y, winners, dweight, dbias)``, all flat but the last two, for the threads that the caller has now."""
    t = tiling(p.R, p.S * p.C, dtype.itemsize)
    g = _cut(p, t, dtype.itemsize)
    fixed, sample, places = g.record(), np.empty(0, dtype), np.empty(0, np.uint8)
    flops = 1.0 * p.N * p.P * p.Q * p.K * p.C * p.R * p.S
    run = _kernel(t.tile, dtype).bound(g.parts * g.splits, fixed, sample, sample, sample, places, sample, sample, work=flops)
    size, sums = p.K * p.R * t.pitch, g.parts * p.K
    finish = _finisher(dtype).bound(p.K, fixed, sample, sample, sample, sample, work=8.0 * g.parts * size)

    def gradient(x: np.ndarray, dy: np.ndarray, y: np.ndarray, winners: np.ndarray, dweight: np.ndarray, dbias: np.ndarray) -> None:
        partial, totals = np.empty(g.parts * size, dtype), np.empty(sums, dtype)
        run(fixed, x, dy, y, winners, partial, totals)
        finish(fixed, partial, totals, dweight.reshape(-1), dbias)

    return gradient


def weight_effort(p: Pooled) -> float:
    """Return the time of a weight gradient in vector multiply-adds, where half of the windows pass a gradient."""
    t = tiling(p.R, p.S * p.C, 4)
    g = _cut(p, t, 4)
    windows = float(p.N * p.P * p.Q * p.K)
    lists = p.K * g.units * (_PER_LIST + 2.5 * t.effort)  # a list's sums are loaded and stored
    results = _RESULT * g.parts * p.K * p.R * p.S * p.C
    return SCAN * windows + _MEMORY * t.effort * windows / 2 + lists + results + COPY * p.N * p.H * p.W * p.C


def _cut(p: Pooled, t: Tiling, itemsize: int) -> Geometry:
    """Return the geometry with its units and jobs."""
    threads = machine.get_threads()
    columns = ((p.Q * p.window_w) - 1) * p.stride_w + p.S
    step_h, step_w = p.window_h * p.stride_h, p.window_w * p.stride_w
    budget = max(1, _BUFFER_BYTES // (p.C * itemsize))  # pixels of x
    tall = step_h + p.R - 1
    width = p.Q if columns * tall <= 2 * budget else max(4, (budget // tall - p.S) // step_w)
    width = -(-p.Q // -(-p.Q // min(width, p.Q, WINDOWS)))
    columns = (width * p.window_w - 1) * p.stride_w + p.S
    rows = max(1, min(p.P, (budget // columns - p.R) // step_h, WINDOWS // width))
    bands = max(-(-p.P // rows), min(p.P, threads // max(p.N, 1)))  # few images: at least one unit for each thread
    rows = -(-p.P // bands)
    whole = rows == p.P and width == p.Q
    size = ((rows * p.window_h - 1) * p.stride_h + p.R) * columns
    images = max(1, min(budget // size, WINDOWS // (rows * width), -(-p.N // threads))) if whole else 1
    bands, chunks = -(-p.P // rows), -(-p.Q // width)
    units = -(-p.N // images) * bands * chunks
    blocks = -(-p.K // BLOCK)
    splits = min(blocks, max(1, -(-p.K * p.R * t.pitch * itemsize // _GRADIENT_BYTES)))
    parts = min(units, threads) if splits % threads and splits < 4 * threads else 1
    return Geometry(
        p, rows, bands, width, chunks, images, units, parts, splits, blocks,
        (rows * p.window_h - 1) * p.stride_h + p.R, columns, t.tiles, t.reach, t.pitch,
    )  # fmt: skip


@functools.cache
def _kernel(shape: GatherShape, dtype: np.dtype) -> Kernel:
    gather, compress, pass_row, pack_rows = gathered_tile(shape, dtype), compressed(dtype), passed_entries(dtype), row_packer(dtype)
    rows_of_tile, width_of_tile, entry = shape.rows, shape.vectors * shape.lanes, entry_type(dtype)

    @kernel(specialisation=(shape, dtype.str))
    def gradient_of_units(job, geometry, x, dy, y, winners, partial, totals):
        g = geometry[0]
        part, split = job % g.parts, job // g.parts
        first_k, last_k = split * g.blocks // g.splits * BLOCK, min((split + 1) * g.blocks // g.splits * BLOCK, g.K)
        size, line = g.pixels_h * g.pixels_w * g.C, g.pixels_w * g.C
        image = np.empty(g.images * size + g.pitch, x.dtype)
        clear(image, g.images * size, g.images * size + g.pitch)  # a tile reads on beyond its line
        most = g.images * g.rows * g.width
        entries, listed = np.empty(2 * most * BLOCK, entry), np.empty(2 * most, entry)
        gradient_k, sums = g.R * g.pitch, np.empty(BLOCK, x.dtype)
        clear(partial, (part * g.K + first_k) * gradient_k, (part * g.K + last_k) * gradient_k)
        clear(totals, part * g.K + first_k, part * g.K + last_k)
        down, right = g.stride_h * line, g.stride_w * g.C
        for unit in range(part * g.units // g.parts, (part + 1) * g.units // g.parts):
            chunk, at = unit % g.chunks, unit // g.chunks
            band, first = at % g.bands, at // g.bands * g.images
            p0, q0 = band * g.rows, chunk * g.width
            rows, width, images = min(g.rows, g.P - p0), min(g.width, g.Q - q0), min(g.images, g.N - first)
            h, w = p0 * g.window_h * g.stride_h - g.top, q0 * g.window_w * g.stride_w - g.left
            for n in range(images):
                target = image[n * size : (n + 1) * size]
                pack_rows(x, (first + n) * g.x_n, g.x_c, g.x_h, g.x_w, g.H, g.W, g.C, h, w, target, g.pixels_h, g.pixels_w, g.C)
            for k0 in range(first_k, last_k, BLOCK):
                k = min(k0, g.K - BLOCK)  # the last block overlaps the one before it, of which nothing is done again
                clear(sums, 0, BLOCK)
                count = 0
                for n in range(images):
                    for p in range(rows):
                        # Bounds: g.K >= BLOCK, so that a block ends in the pixel that it begins in.
                        pass_row(
                            dy, y, winners, (((first + n) * g.P + p0 + p) * g.Q + q0) * g.K + k, g.K, width,
                            n * size + p * g.window_h * down, g.window_w * right, g.window_w, down, right, entries, count, sums,
                        )  # fmt: skip
                        count += width * BLOCK
                for v in range(k0 - k, min(BLOCK, last_k - k)):
                    totals[part * g.K + k + v] += sums[v]
                    length = compress(entries, v, count // BLOCK, listed, 0)
                    # Bounds. A place is a pixel's, of the padded copy; R rows from it on and S*C elements are in the copy, the rest of a
                    # tile's last line in what follows it.
                    out = (part * g.K + k + v) * gradient_k
                    for r in range(0, g.R, rows_of_tile):
                        for m in range(0, g.pitch, width_of_tile):
                            gather(length, listed, 0, image, r * line + m, line, partial, out + r * g.pitch + m, g.pitch, width_of_tile)

    return gradient_of_units


@functools.cache
def _finisher(dtype: np.dtype) -> Kernel:
    """Return a kernel that sums the parts of filter `job`, in order, and turns (R, S*C) into (C, R, S)."""
    transpose = transposer(dtype)

    @kernel(specialisation=dtype.str)
    def sum_parts(job, geometry, partial, totals, dweight, dbias):
        g = geometry[0]
        taps, size, total = g.R * g.S, g.R * g.pitch, totals[job]
        for part in range(1, g.parts):
            total += totals[part * g.K + job]
        dbias[job] = total
        gradient = np.empty(taps * g.C, partial.dtype)
        for r in range(g.R):
            line, at = gradient[r * g.reach : (r + 1) * g.reach], job * size + r * g.pitch
            term = partial[at : at + g.reach]
            for i in range(line.size):
                line[i] = term[i]
            for part in range(1, g.parts):
                term = partial[at + part * g.K * size : at + part * g.K * size + g.reach]
                for i in range(line.size):
                    line[i] += term[i]
        transpose(gradient, 0, g.C, dweight, job * g.C * taps, taps, taps, g.C)

    return sum_parts
