"""Pooled correlations on the tiles of amx.py, and back: `fused_pool` and `fused_unpool` with the loops of `matrix_correlate`."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from .. import amx, bf16
from ..jit import Kernel, kernel
from .correlate import Geometry
from .filters import Filters
from .fused_pool import Window
from .matrix_correlate import image_packer, image_words, line_of, records, row_multiplier, steps_of, tiled, weight_packer, work_of
from .packing import clear, row_unpacker
from .pooling import pooler, unpooler
from .words import FLOAT32


def pooled_correlation(geometry: Geometry, window: Window, filters: Filters) -> Callable[..., None]:
    """Return a function ``(x, weight, bias, y, winners)`` on flat arrays: correlate, then pool windows of what is positive.

    The strides of y (channels-last) in `geometry` are those of the pooled output; P and Q count the correlation's pixels.
    """
    g = window.whole(geometry)
    if g.N * g.P * g.Q == 0:
        return lambda *_: None
    steps = steps_of(g.C, g.R, g.S)
    g, s = tiled(g, steps)
    rows, width = window.aligned(g.rows, window.h), window.aligned(g.width, window.w)
    tiles = -(-width // amx.TILE)
    g = g._replace(rows=rows, bands=-(-g.P // rows), width=width, chunks=-(-g.Q // width))
    s = s._replace(height=-(-width // tiles), tiles=tiles)
    fixed, sizes, sample = records(g, s), window.record(), np.empty(0, FLOAT32)
    arrays = *fixed, sizes, sample, np.empty(0, np.int32), sample, sample, np.empty(0, np.uint8)
    run = _pooled(window.quads).bound(g.N * g.bands * g.chunks * g.splits, *arrays, work=work_of(g))
    pack = weight_packer(filters, steps)

    def correlate(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, winners: np.ndarray) -> None:
        run(*fixed, sizes, x, pack(weight), bias, y, winners)

    return correlate


@functools.cache
def _pooled(quads: bool) -> Kernel:
    pack_image, multiply_rows, pool_row = image_packer(), row_multiplier(), pooler(quads, FLOAT32)
    empty, copy, release = amx.aligned(), line_of(), amx.release()

    @kernel(specialisation=quads)
    def pooled_tiles(job, geometry, steps, table, window, x, weight, bias, y, winners):
        g, s = geometry[0], steps[0]
        window_h, window_w = (2, 2) if quads else (window[0], window[1])
        split, unit = job % g.splits, job // g.splits
        chunk, unit = unit % g.chunks, unit // g.chunks
        band, n = unit % g.bands, unit // g.bands
        first_row, first_column = band * g.rows, min(chunk * g.width, g.Q - g.width)
        rows = min(g.rows, g.P - first_row)
        k_first, k_last = split * g.blocks // g.splits, (split + 1) * g.blocks // g.splits
        columns = (g.width - 1) * g.stride_w + g.S
        pitch, (size, last) = columns * s.pixel, image_words(geometry, steps, rows, columns)
        image, start = empty(size), copy(bias)
        at, h, w = g.x_first + n * g.x_n, first_row * g.stride_h - g.top, first_column * g.stride_w - g.left
        pack_image(geometry, steps, x, at, h, w, image, rows, columns)
        # Bounds: as in `multiply_rows`. rows and width are whole windows, so the pooled pixels are (P / window_h) x (Q / window_w).
        y_image = n * g.y_n + first_row // window_h * g.y_h + first_column // window_w * g.y_w
        pixel, channels = (g.K + 15) // 16 * 16, min(g.K, k_last * 32) - k_first * 32  # the tiles' rows begin on lines of the cache
        strip = empty(window_h * g.width * pixel).view(np.float32)
        for row in range(0, rows, window_h):
            multiply_rows(
                geometry, steps, table, image, pitch, last, row, window_h, k_first, k_last, weight, start,
                strip, 0, g.width * pixel, pixel,
            )  # fmt: skip
            to = y_image + row // window_h * g.y_h + k_first * 32
            pool_row(strip, k_first * 32, g.width, pixel, window_h, window_w, channels, y, winners, to, g.y_w)
        release()

    return pooled_tiles


def unpooled_correlation(geometry: Geometry, window: Window, filters: Filters) -> Callable[..., None]:
    """Return a function ``(dy, y, winners, weight, dx)`` on flat arrays: a stride-1 correlation of the unpooled gradient.

    The strides of x in `geometry` are those of the pooled arrays (channels-last); H and W count the pixels before pooling.
    """
    if geometry.N * geometry.P * geometry.Q == 0:
        return lambda *_: None
    steps = steps_of(geometry.C, geometry.R, geometry.S, False)
    g, s = tiled(geometry, steps)
    fixed, sizes, sample, zeros = records(g, s), window.record(), np.empty(0, FLOAT32), np.zeros(g.K, FLOAT32)
    arrays = *fixed, sizes, sample, sample, np.empty(0, np.uint8), np.empty(0, np.int32), zeros, sample
    run = _unpooled(window.quads).bound(g.N * g.bands * g.chunks * g.splits, *arrays, work=work_of(g))
    pack = weight_packer(filters, steps)

    def correlate(dy: np.ndarray, y: np.ndarray, winners: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
        run(*fixed, sizes, dy, y, winners, pack(weight), zeros, dx)

    return correlate


@functools.cache
def _channel_unpooler() -> Kernel:
    """Return a kernel that unpools 2 x 2 windows into an image of words, whose pixel (row, column) belongs to window (0, 0)."""
    unpool_quad = bf16.unpool_quad(False)

    @kernel
    def unpool_channels(dy, y, winners, at, y_h, y_w, P, Q, C, image, row, column, columns, pixel):
        # Bounds. Of C channels the last 32 or fewer are counted; a pixel has words for whole blocks of 32.
        for p in range(P):
            for q in range(Q):
                here, to = at + p * y_h + q * y_w, ((row + 2 * p) * columns + column + 2 * q) * pixel
                for k in range(0, C, 32):
                    firsts, seconds, out = min(16, C - k), max(0, min(16, C - k - 16)), to + k // 2
                    below = out + columns * pixel
                    unpool_quad(dy, y, winners, here + k, firsts, here + k + 16, seconds, image, out, out + pixel, below, below + pixel)

    return unpool_channels


@functools.cache
def _unpooled(quads: bool) -> Kernel:
    unpool, neighbours, multiply_rows = unpooler(quads, FLOAT32), bf16.neighbours(), row_multiplier()
    unpool_channels = _channel_unpooler()
    unpack_rows, empty, copy, release = row_unpacker(FLOAT32), amx.aligned(), line_of(), amx.release()

    @kernel(specialisation=quads)
    def unpooled_tiles(job, geometry, steps, table, window, dy, y, winners, weight, zeros, dx):
        g, s = geometry[0], steps[0]
        split, unit = job % g.splits, job // g.splits
        chunk, unit = unit % g.chunks, unit // g.chunks
        band, n = unit % g.bands, unit // g.bands
        first_row, first_column = band * g.rows, min(chunk * g.width, g.Q - g.width)
        rows = min(g.rows, g.P - first_row)
        k_first, k_last = split * g.blocks // g.splits, (split + 1) * g.blocks // g.splits
        columns, needed, pixel = g.width - 1 + g.S, rows - 1 + g.R, 2 * s.pixel
        image, start = empty(needed * columns * s.pixel), copy(zeros)
        h, w = first_row - g.top, first_column - g.left
        if quads and s.pixel % 16 == 0 and h <= 0 and w <= 0 and h + needed >= g.H and w + columns >= g.W:  # every window is whole
            clear(image, 0, image.size)
            unpool_channels(dy, y, winners, n * g.x_n, g.x_h, g.x_w, g.H // 2, g.W // 2, g.C, image, -h, -w, columns, s.pixel)
        else:
            pixels = np.empty(needed * columns * pixel, dy.dtype)
            unpool(dy, y, winners, n * g.x_n, g.x_h, g.x_w, window, g.H, g.W, g.C, h, w, pixels, 0, needed, columns, pixel)
            neighbours(pixels, 0, pixels.size, image, 0)
        at, pitch = g.y_first + n * g.y_n + first_row * g.y_h + first_column * g.y_w, columns * s.pixel
        # Bounds: as in `multiply_rows`.
        if g.direct_out:
            multiply_rows(geometry, steps, table, image, pitch, 0, 0, rows, k_first, k_last, weight, start, dx, at, g.y_h, g.y_w)
            release()
            return
        channels = np.empty(rows * g.width * g.K, dx.dtype)
        multiply_rows(geometry, steps, table, image, pitch, 0, 0, rows, k_first, k_last, weight, start, channels, 0, g.width * g.K, g.K)
        release()
        for k in range(k_first * 32, min(g.K, k_last * 32), 32):
            unpack_rows(channels[k:], g.K, min(32, g.K - k), dx, at + k * g.y_c, g.y_c, g.y_h, g.y_w, rows, g.width)

    return unpooled_tiles
