"""The input gradient of a pooled correlation from the few pixels that a gradient reaches.

The gradients that are not 0 are listed channel by channel, as for the weight gradient (`sparse_gradient`), with the places in dx of the
R x S pixels that each was made of:

    dx[place + r*row + s*C + c] += value * w[k, r, s, c]    for all (value, place) in the list of k

The weights of a filter stay in registers while its list is read (`scattered_tile`); dx is loaded and stored, in a buffer with the padding
around it. The buffer is cut into blocks of channels and filled a few rows of windows at a time, to stay in the L1 cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import machine
from ..jit import Kernel, kernel
from .packing import clear, row_unpacker
from .sparse_gradient import COPY, SCAN, WINDOWS, Pooled
from .sparse_simd import BLOCK, compressed, entry_type, passed_entries, pixel_mover, scattered_tile
from .sparse_tiling import BlockTiling, block_tiling


class Geometry(NamedTuple):
    """A `Pooled` cut into jobs, a band of rows of an image each."""

    p: Pooled
    rows: int  # of dx in a band
    bands: int  # of an image
    strip: int  # rows of windows that are listed at a time
    columns: int  # pixels of a buffer's row
    blocks: int  # of channels
    tile_h: int  # pixels of a tile
    tile_w: int

    def record(self) -> np.ndarray:
        """Return the numbers as kernels read them."""
        return np.array([(*self.p, *self[1:])], _RECORD)


_RECORD = np.dtype([(name, np.int64) for name in (*Pooled._fields, *Geometry._fields[1:])])
_MEMORY = 1.25  # by how much more than its instructions an entry costs, measured
_BAND_BYTES = 1024 * 1024  # of dx
_STRIP_BYTES = 48 * 1024  # of a block of channels of dx


def input_gradient(p: Pooled, dtype: np.dtype) -> Callable[..., None]:
    """Return a function ``(dy, y, winners, weight, dx)`` on flat arrays, for the threads that the caller has now."""
    t = block_tiling(p.R, p.S, p.C, dtype.itemsize)
    g = _cut(p, t, dtype.itemsize)
    fixed, sample, places = g.record(), np.empty(0, dtype), np.empty(0, np.uint8)
    flops = 1.0 * p.N * p.P * p.Q * p.K * p.C * p.R * p.S
    run = _kernel(t, dtype).bound(p.N * g.bands, fixed, sample, sample, places, sample, sample, work=flops)
    size = p.K * p.R * p.S * t.blocks * t.channels
    pack = _packer(t.channels, dtype).bound(p.K, fixed, sample, sample, work=8.0 * size)

    def gradient(dy: np.ndarray, y: np.ndarray, winners: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
        packed = np.empty(size, dtype)
        pack(fixed, weight, packed)
        run(fixed, dy, y, winners, packed, dx)

    return gradient


def input_effort(p: Pooled) -> float:
    """Return the time of an input gradient in vector multiply-adds, where half of the windows pass a gradient."""
    t = block_tiling(p.R, p.S, p.C, 4)
    windows = float(p.N * p.P * p.Q * p.K)
    elements = p.N * p.H * p.W * t.blocks * t.channels
    return SCAN * windows + _MEMORY * t.effort * windows / 2 + 2 * COPY * elements + p.K * p.R * p.S * t.blocks * t.channels


def _cut(p: Pooled, t: BlockTiling, itemsize: int) -> Geometry:
    """Return the geometry with its bands."""
    columns = max(p.left + p.W, (p.Q * p.window_w - 1) * p.stride_w + p.S)
    pixel = columns * t.channels * itemsize
    rows = max(1, min(p.H, _BAND_BYTES // (pixel * t.blocks)))
    bands = max(-(-p.H // rows), min(p.H, -(-machine.get_threads() // max(p.N, 1))))
    rows = -(-p.H // bands)
    strip = max(1, min(p.P, (_STRIP_BYTES // pixel - p.R) // (p.window_h * p.stride_h), WINDOWS // p.Q))
    return Geometry(p, rows, -(-p.H // rows), strip, columns, t.blocks, t.rows, t.columns)


@functools.cache
def _packer(channels: int, dtype: np.dtype) -> Kernel:
    """Return a kernel that turns the weights of filter `job` from (C, R, S) to (block, R, S, `channels`), the last block with zeros."""

    @kernel(specialisation=(channels, dtype.str))
    def pack_filter(job, geometry, weight, packed):
        g = geometry[0]
        taps = g.R * g.S
        for block in range(g.blocks):
            first = block * channels
            valid = min(channels, g.C - first)
            for tap in range(taps):
                out = ((block * g.K + job) * taps + tap) * channels
                source, target = weight[(job * g.C + first) * taps + tap :], packed[out : out + channels]
                for c in range(valid):
                    target[c] = source[c * taps]
                for c in range(valid, channels):
                    target[c] = 0

    return pack_filter


@functools.cache
def _kernel(t: BlockTiling, dtype: np.dtype) -> Kernel:
    scatter = scattered_tile(t.rows, t.columns * t.vectors, t.lanes, dtype)
    compress, pass_row, unpack_rows = compressed(dtype), passed_entries(dtype), row_unpacker(dtype)
    move, channels, entry = pixel_mover(t.vectors, t.lanes, dtype), t.channels, entry_type(dtype)

    @kernel(specialisation=(t, dtype.str))
    def gradient_of_band(job, geometry, dy, y, winners, packed, dx):
        g = geometry[0]
        band, n = job % g.bands, job // g.bands
        h0 = band * g.rows
        rows, line, step = min(g.rows, g.H - h0), g.columns * channels, g.window_h * g.stride_h
        # Windows p touch the rows of dx from p*step - top to p*step - top + step - stride_h + R - 1.
        reach = step - g.stride_h + g.R
        p_first = max(0, -(-(h0 + g.top - reach + 1) // step))
        p_last = max(p_first, min(g.P, (h0 + rows - 1 + g.top) // step + 1))
        origin = min(p_first * step - g.top, h0)  # the row of dx that is the buffer's first
        height = max((p_last - 1) * step - g.top + reach, h0 + rows) - origin
        image = np.empty(g.blocks * height * line, dx.dtype)
        clear(image, 0, g.blocks * height * line)
        most = g.strip * g.Q
        entries, listed, lengths = np.empty(2 * most * BLOCK, entry), np.empty(2 * most * g.K, entry), np.empty(g.K, np.int64)
        sums = np.empty(BLOCK, dx.dtype)
        down, right = g.stride_h * line, g.stride_w * channels
        for p0 in range(p_first, p_last, g.strip):
            p1 = min(p0 + g.strip, p_last)
            for k0 in range(0, g.K, BLOCK):
                k, count = min(k0, g.K - BLOCK), 0
                for p in range(p0, p1):
                    place = (p * step - g.top - origin) * line
                    pass_row(
                        dy, y, winners, ((n * g.P + p) * g.Q) * g.K + k, g.K, g.Q, place, g.window_w * right, g.window_w, down, right,
                        entries, count, sums,
                    )  # fmt: skip
                    count += g.Q * BLOCK
                for v in range(k0 - k, BLOCK):
                    lengths[k + v] = compress(entries, v, count // BLOCK, listed, (k + v) * most)
            # Bounds. A place is a pixel's; the R rows from it on and S pixels of each are in the buffer, and tiles have no other.
            for block in range(g.blocks):
                for r in range(0, g.R, g.tile_h):
                    for s in range(0, g.S, g.tile_w):
                        to = (block * height + r) * line + s * channels
                        for k in range(g.K):
                            source = ((block * g.K + k) * g.R + r) * g.S * channels + s * channels
                            scatter(lengths[k], listed, k * most, packed, source, g.S * channels, image, to, line)
        for block in range(g.blocks):
            c = block * channels
            valid, at = min(channels, g.C - c), (block * height + h0 - origin) * line + g.left * channels
            for row in range(rows):
                out = n * g.x_n + (h0 + row) * g.x_h + c * g.x_c
                if valid == channels and g.x_c == 1:
                    move(image, at, channels, dx, out, g.x_w, g.W)
                else:
                    unpack_rows(image[at:], channels, valid, dx, out, g.x_c, g.x_h, g.x_w, 1, g.W)
                at += line

    return gradient_of_band
