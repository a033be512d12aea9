"""The loops around the tiles of depthwise convolution: a kernel for each kind of tile, and one for its weight gradient.

Bounds. A vector of channels begins at 0 at the earliest and at C - lanes at the latest, and has no more lanes than there are channels
(`_lanes`); in planes a vector of columns has a mask. What a tile meets outside of the image it does not read, whatever its address. It
writes the rows and columns that it is told (`rows`, `columns`, `length`, the first `span` of a row), which end with the image, or adds to
sums of whole vectors of channels.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ...jit import Kernel, kernel
from ...simd import prefetch
from ._depthwise_block import Block, correlate_block, gradient_block
from ._depthwise_emitter import lane_sum
from ._depthwise_tile import Tile, correlate_tile, gradient_tile


class Geometry(NamedTuple):
    """A depthwise problem with one filter per channel: image x of H x W, image y of P x Q (in backward-input they change places)."""

    C: int
    H: int
    W: int
    x_n: int
    x_c: int
    x_h: int
    x_w: int
    R: int
    S: int
    stride_h: int
    stride_w: int
    top: int
    left: int
    dilation_h: int
    dilation_w: int
    P: int
    Q: int
    y_n: int
    y_c: int
    y_h: int
    y_w: int
    images: int
    rows: int  # output rows of a band
    bands: int  # bands of an image
    channels: int  # of a job
    parts: int  # jobs of the same rows
    jobs: int
    ahead: int  # 1: ask for the next rows while these are computed
    relu: int = 0  # of the tiles


GEOMETRY = np.dtype([(name, np.int64) for name in Geometry._fields])


@kernel
def _first_channel(x, C, lanes, group):
    """Return where the vectors over channels begin, at most 0: the first and the last may overlap their neighbours.

    Pixels of many channels are nearly or wholly pages apart, and share few sets of the L1 cache. Vectors that lie across two of its lines
    then fetch most lines twice: 8 gradients of 1024 x 7 x 7 took 380 us, and 160 us with one vector more, the others aligned.
    """
    lead = -(x.ctypes.data // x.itemsize) % lanes
    return lead - lanes if lead > 0 and lead % group == C % lanes == 0 and _ALIGNED * lanes <= C else 0


_ALIGNED = 16  # vectors of a pixel, from which on one more is little


@kernel
def _store_gradient(sums, pitch, start, C, lanes, taps, gradient):
    """Copy sums (tap, vector of channels, lane) to the gradient (channel, tap); where vectors overlap, they agree."""
    for c in range(start, C, lanes):
        at = min(max(c, 0), C - lanes)
        for i in range(lanes):
            cell = gradient[(at + i) * taps : (at + i + 1) * taps]
            for tap in range(taps):
                cell[tap] = sums[tap * pitch + c - start + i]


@functools.cache
def blocks_kernel(block: Block, dtype: np.dtype) -> Kernel:
    """Return the kernel for channels-last images and kernels of few taps: a job is a band of rows, of all channels."""
    run = correlate_block(block, dtype)
    lanes, group, transposed = block.lanes, block.group, block.vertical.transposed
    height, width = block.vertical.length, block.horizontal.length
    multiple_h, multiple_w = (block.vertical.stride, block.horizontal.stride) if transposed else (1, 1)
    phase_h, phase_w = block.vertical.phase, block.horizontal.phase

    @kernel(specialisation=(block, dtype.str))
    def depthwise_blocks(job, geometry, x, weight, bias, y):
        g = geometry[0]
        n, first = job // g.bands, job % g.bands * g.rows
        last = min(g.P, first + g.rows)
        units = -(-g.Q // multiple_w)  # of columns
        tiles = -(-units // (width // multiple_w))
        start = _first_channel(x, g.C, lanes, group)
        for p in range(first, last, height):
            rows = min(height, last - p)
            u = (p + g.top - phase_h) // multiple_h if transposed else p * g.stride_h - g.top
            for t in range(tiles):
                q = t * units // tiles * multiple_w  # 7 pixels become 3 + 4
                columns = min(g.Q, (t + 1) * units // tiles * multiple_w) - q
                j = (q + g.left - phase_w) // multiple_w if transposed else q * g.stride_w - g.left
                for c in range(start, g.C, lanes):
                    at = min(max(c, 0), g.C - lanes)
                    run(
                        rows * (width + 1) + columns, x, n * g.x_n + u * g.x_h + j * g.x_w + at, g.x_h, g.x_w, u, g.H, j, g.W,
                        weight, at, g.C, bias, at, y, n * g.y_n + p * g.y_h + q * g.y_w + at, g.y_h, g.y_w, g.relu,
                    )  # fmt: skip

    return depthwise_blocks


@functools.cache
def runs_kernel(tile: Tile, dtype: np.dtype) -> Kernel:
    """Return the kernel for channels-last images in general: a job is a band of rows, of some channels."""
    run, fetch, fetch_to_write = correlate_tile(tile, dtype), prefetch(False), prefetch(True)
    lanes, height, transposed, looped = tile.lanes, tile.height, tile.transposed, tile.looped
    multiple = tile.stride if transposed else 1
    phase = tile.phase

    @kernel(specialisation=(tile, dtype.str))
    def depthwise_runs(job, geometry, x, weight, bias, y):
        g = geometry[0]
        part, band = job % g.parts, job // g.parts
        n, first = band // g.bands, band % g.bands * g.rows
        c_first, c_last = part * g.channels, min(g.C, (part + 1) * g.channels)
        tiles = -(-g.Q // height)
        step = g.S * g.C
        last = min(g.P, first + g.rows)
        fresh = 1 if transposed else g.stride_h  # rows of x that the next row of y meets first
        for p in range(first, last):
            next_row = p + 1
            newest = (next_row + g.top) // g.stride_h if transposed else next_row * g.stride_h - g.top + (g.R - 1) * g.dilation_h
            if transposed:  # only every stride_h-th kernel row meets this row, from below
                r = (p + g.top) % g.stride_h
                u, U, u_step, r_step = (p + g.top) // g.stride_h, (g.R - r + g.stride_h - 1) // g.stride_h, -g.dilation_h, g.stride_h
            else:
                r, u, U, u_step, r_step = 0, p * g.stride_h - g.top, g.R, g.dilation_h, 1
            q = 0
            for t in range(tiles):
                length = -(-(g.Q - q) // (tiles - t))  # 13 pixels become 7 + 6
                length = min(g.Q - q, -(-length // multiple) * multiple)
                if looped:
                    j_m = 1 if transposed else g.stride_w
                    j = q + g.left if transposed else q * g.stride_w - g.left
                    j_step = -g.dilation_w if transposed else g.dilation_w
                else:
                    j_m, j_step = 1, 0
                    j = (q + g.left - phase) // multiple if transposed else q * g.stride_w - g.left
                first_pixel = q // multiple if transposed else q * g.stride_w
                new_pixels = (length + multiple - 1) // multiple if transposed else length * g.stride_w
                for c in range(c_first, c_last, lanes):
                    at = min(c, g.C - lanes)
                    if g.ahead and next_row < last:
                        for row in range(fresh):
                            fetch(x, n * g.x_n + (newest - row) * g.x_h + first_pixel * g.x_w + at, g.x_w, new_pixels)
                        fetch_to_write(y, n * g.y_n + next_row * g.y_h + q * g.y_w + at, g.y_w, length)
                    run(
                        length, x, n * g.x_n + u * g.x_h + j * g.x_w + at, j_m * g.x_w, u_step * g.x_h, j_step * g.x_w,
                        j, j_m, j_step, g.W, u, u_step, g.H, weight, r * step + at, g.C, r_step * step, bias, at,
                        y, n * g.y_n + p * g.y_h + q * g.y_w + at, g.y_w, U, g.S, 0, g.relu,
                    )  # fmt: skip
                q += length

    return depthwise_runs


@functools.cache
def planes_kernel(tile: Tile, dtype: np.dtype) -> Kernel:
    """Return the kernel for planes: a job is a band of rows, of some channels."""
    run, fetch, fetch_to_write = correlate_tile(tile, dtype), prefetch(False), prefetch(True)
    lanes, height, transposed, span, phases = tile.lanes, tile.height, tile.transposed, tile.span, tile.phases
    multiple = tile.stride if transposed else 1
    phase, cross_phase = tile.phase, tile.cross_phase

    @kernel(specialisation=(tile, dtype.str))
    def depthwise_planes(job, geometry, x, weight, bias, y):
        g = geometry[0]
        part, band = job % g.parts, job // g.parts
        n, first = band // g.bands, band % g.bands * g.rows
        last = min(g.P, first + g.rows)
        taps = g.R * g.S
        read = lanes if transposed else lanes * g.stride_w  # columns of x under a vector of y
        shared = 0 if transposed else max(0, g.R - g.stride_h)  # rows of x that a run has in common with the next
        tiles = -(-(last - first) // height)
        for c in range(part * g.channels, min(g.C, (part + 1) * g.channels)):
            p = first
            for t in range(tiles):
                length = -(-(last - p) // (tiles - t))
                length = min(last - p, -(-length // multiple) * multiple)
                j = (p + g.top - phase) // multiple if transposed else p * g.stride_h - g.top
                for q in range(0, g.Q, span):
                    if transposed:
                        u, u_step = (q + g.left - cross_phase) // phases, 1 if phases > 1 else -g.dilation_w
                    else:
                        u, u_step = q * g.stride_w - g.left, g.dilation_w
                    if g.ahead:  # beyond the last row of a plane lies the next plane
                        new = length // multiple if transposed else length * g.stride_h
                        source = n * g.x_n + c * g.x_c + (j + new + shared) * g.x_h + (q // phases if transposed else q * g.stride_w)
                        target = n * g.y_n + c * g.y_c + (p + length) * g.y_h + q
                        for i in range(0, read, lanes):
                            fetch(x, source + i, g.x_h, new)
                        for i in range(0, span, lanes):
                            fetch_to_write(y, target + i, g.y_h, length)
                    run(
                        length, x, n * g.x_n + c * g.x_c + j * g.x_h + u, g.x_h, u_step, 0, j, 1, 0, g.H, u, u_step, g.W,
                        weight, c * taps, g.S, 1, bias, c, y, n * g.y_n + c * g.y_c + p * g.y_h + q, g.y_h, 0, 0, min(span, g.Q - q),
                        g.relu,
                    )  # fmt: skip
                p += length

    return depthwise_planes


# --- Backward-weight ---------------------------------------------------------------------------------------------------


@functools.cache
def blocks_gradient_kernel(block: Block, dtype: np.dtype) -> Kernel:
    """Return the kernel of the weight gradient for channels-last images and kernels of few taps: a job is a share of all rows of blocks."""
    run = gradient_block(block, dtype)
    lanes, group, taps = block.lanes, block.group, len(block.taps)
    height, width = block.vertical.length, block.horizontal.length

    @kernel(specialisation=(block, dtype.str))
    def depthwise_blocks_gradient(job, geometry, x, dy, partial):
        g = geometry[0]
        units, tiles = g.images * g.bands, -(-g.Q // width)
        start = _first_channel(x, g.C, lanes, group)
        pitch = -((start - g.C) // lanes) * lanes
        sums, total, terms = np.zeros(taps * pitch, x.dtype), np.zeros(taps * pitch, x.dtype), 0
        for unit in range(job * units // g.jobs, (job + 1) * units // g.jobs):
            n, p = unit // g.bands, unit % g.bands * height
            rows, u = min(height, g.P - p), p * g.stride_h - g.top
            for t in range(tiles):
                q = t * g.Q // tiles
                columns, j = (t + 1) * g.Q // tiles - q, q * g.stride_w - g.left
                for c in range(start, g.C, lanes):
                    at = min(max(c, 0), g.C - lanes)
                    run(
                        rows * (width + 1) + columns, x, n * g.x_n + u * g.x_h + j * g.x_w + at, g.x_h, g.x_w, u, g.H, j, g.W,
                        dy, n * g.y_n + p * g.y_h + q * g.y_w + at, g.y_h, g.y_w, sums, c - start, pitch,
                    )  # fmt: skip
            terms += rows * g.Q
            if terms >= _TERMS or unit + 1 == (job + 1) * units // g.jobs:
                terms = 0
                for i in range(total.size):
                    total[i] += sums[i]
                    sums[i] = 0
        _store_gradient(total, pitch, start, g.C, lanes, taps, partial[job])

    return depthwise_blocks_gradient


_TERMS = 512  # of one sum; the sums of that many are summed after them, which rounds less


@functools.cache
def runs_gradient_kernel(tile: Tile, dtype: np.dtype) -> Kernel:
    """Return the kernel of the weight gradient for channels-last images in general: a job is a share of all rows."""
    run, fetch = gradient_tile(tile, dtype), prefetch(False)
    lanes, height, cross, looped = tile.lanes, tile.height, tile.cross, tile.looped

    @kernel(specialisation=(tile, dtype.str))
    def depthwise_runs_gradient(job, geometry, x, dy, partial):
        g = geometry[0]
        tiles = -(-g.Q // height)
        lines = g.images * g.P
        units = lines * g.parts
        j_m = g.stride_w if looped else 1
        groups = g.S if looped else 1  # of kernel columns
        pitch = -(-g.C // lanes) * lanes
        sums = np.zeros(g.R * g.S * pitch, x.dtype)
        for unit in range(job * units // g.jobs, (job + 1) * units // g.jobs):
            part, line = unit // lines, unit % lines
            n, p = line // g.P, line % g.P
            q = 0
            for t in range(tiles):
                length = -(-(g.Q - q) // (tiles - t))
                for c in range(part * g.channels, min(g.C, (part + 1) * g.channels), lanes):
                    at = min(c, g.C - lanes)
                    if g.ahead and p + 1 < g.P:
                        for row in range(g.stride_h):
                            u = (p + 1) * g.stride_h - g.top + (g.R - 1) * g.dilation_h - row
                            fetch(x, n * g.x_n + u * g.x_h + q * g.stride_w * g.x_w + at, g.x_w, length * g.stride_w)
                        fetch(dy, n * g.y_n + (p + 1) * g.y_h + q * g.y_w + at, g.y_w, length)
                    for r in range(0, g.R, cross):
                        u = p * g.stride_h - g.top + r * g.dilation_h
                        for s in range(groups):
                            j = q * g.stride_w - g.left + s * g.dilation_w
                            run(
                                length, x, n * g.x_n + u * g.x_h + j * g.x_w + at, j_m * g.x_w, g.dilation_h * g.x_h,
                                j, j_m, g.W, u, g.dilation_h, g.H, dy, n * g.y_n + p * g.y_h + q * g.y_w + at, g.y_w,
                                sums, (r * g.S + s) * pitch + c, pitch, g.S * pitch, 0,
                            )  # fmt: skip
                q += length
        _store_gradient(sums, pitch, 0, g.C, lanes, g.R * g.S, partial[job])

    return depthwise_runs_gradient


@functools.cache
def planes_gradient_kernel(tile: Tile, dtype: np.dtype) -> Kernel:
    """Return the kernel of the weight gradient for planes: a job is some channels."""
    run, total_of, fetch = gradient_tile(tile, dtype), lane_sum(tile.lanes, dtype), prefetch(False)
    lanes, height, cross = tile.lanes, tile.height, tile.cross

    @kernel(specialisation=(tile, dtype.str))
    def depthwise_planes_gradient(job, geometry, x, dy, partial):
        g = geometry[0]
        taps = g.R * g.S
        sums = np.empty(taps * lanes, x.dtype)
        tiles = -(-g.P // height)
        for c in range(job * g.channels, min(g.C, (job + 1) * g.channels)):
            for i in range(sums.size):
                sums[i] = 0
            for n in range(g.images):
                p = 0
                for t in range(tiles):
                    length = -(-(g.P - p) // (tiles - t))
                    j = p * g.stride_h - g.top
                    for q in range(0, g.Q, lanes):
                        if g.ahead:
                            row = j + length * g.stride_h + max(0, g.R - g.stride_h)  # the first that the next run meets and this does not
                            for i in range(0, lanes * g.stride_w, lanes):
                                fetch(x, n * g.x_n + c * g.x_c + row * g.x_h + q * g.stride_w + i, g.x_h, length * g.stride_h)
                            fetch(dy, n * g.y_n + c * g.y_c + (p + length) * g.y_h + q, g.y_h, length)
                        for s in range(0, g.S, cross):
                            u = q * g.stride_w - g.left + s * g.dilation_w
                            run(
                                length, x, n * g.x_n + c * g.x_c + j * g.x_h + u, g.x_h, g.dilation_w, j, 1, g.H, u, g.dilation_w, g.W,
                                dy, n * g.y_n + c * g.y_c + p * g.y_h + q, g.y_h, sums, s * lanes, g.S * lanes, lanes,
                                min(lanes, g.Q - q),
                            )  # fmt: skip
                    p += length
            for i in range(taps):
                partial[0, c * taps + i] = total_of(sums, i * lanes)

    return depthwise_planes_gradient
