"""Gradients of a pooled correlation: the loops of `correlate` and `weight_gradient`, which unpool the rows that they read on the way in.

The dense gradient of the convolution's output never exists: a job unpools the rows of its band into a buffer that stays in L2.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from .. import simd
from ..jit import Kernel, kernel
from ..machine import TileShape, tile_shape
from . import weight_gradient as _dense
from .correlate import GEOMETRY, Geometry, _cut
from .filters import Filters, filter_packer, unpack_gradient, unpacker
from .fused_pool import Window
from .packing import row_packer, row_unpacker
from .pooling import plane_unpooler, unpooler


def unpooled_correlation(geometry: Geometry, window: Window, filters: Filters, dtype: np.dtype) -> Callable[..., None]:
    """Return a function ``(dy, y, winners, weight, dx)`` on flat arrays: a stride-1 correlation of the unpooled gradient.

    The strides of x in `geometry` are those of the pooled arrays (channels-last); H and W count the pixels before pooling.
    """
    if geometry.N * geometry.P * geometry.Q == 0:
        return lambda *_: None
    shape = tile_shape(geometry.K, dtype.itemsize)
    g = _cut(geometry, shape, dtype.itemsize, True)._replace(in_place=0, pixel=geometry.C)
    jobs = g.N * g.bands * g.chunks * g.splits
    fixed, sizes, sample, places = np.array([g], GEOMETRY), window.record(), np.empty(0, dtype), np.empty(0, np.uint8)
    flops = 2.0 * g.N * g.K * g.P * g.Q * g.C * g.R * g.S
    run = _correlation(shape, window.quads, dtype).bound(jobs, fixed, sizes, sample, sample, places, sample, sample, work=flops)
    pack = filter_packer(filters, shape.block, dtype)

    def correlate(dy: np.ndarray, y: np.ndarray, winners: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
        run(fixed, sizes, dy, y, winners, pack(weight), dx)

    return correlate


@functools.cache
def _correlation(shape: TileShape, quads: bool, dtype: np.dtype) -> Kernel:
    tile, unpack_rows, unpool = simd.tile(shape, dtype), row_unpacker(dtype), unpooler(quads, dtype)
    block, height = shape.block, shape.height

    @kernel(specialisation=(shape, quads, dtype.str))
    def unpooled_band(job, geometry, window, dy, y, winners, weight, dx):
        g = geometry[0]
        split, unit = job % g.splits, job // g.splits
        chunk, unit = unit % g.chunks, unit // g.chunks
        band, n = unit % g.bands, unit // g.bands
        first_row, first_column = band * g.rows, chunk * g.width
        rows, width = min(g.rows, g.P - first_row), min(g.width, g.Q - first_column)
        columns, needed = width - 1 + g.S, rows - 1 + g.R
        image, pitch = np.empty(needed * columns * g.C, dy.dtype), columns * g.C
        unpool(
            dy, y, winners, n * g.x_n, g.x_h, g.x_w, window, g.H, g.W, g.C,
            first_row - g.top, first_column - g.left, image, 0, needed, columns, g.C,
        )  # fmt: skip
        # Bounds: as in `correlate`.
        reach, panel = g.S * g.C, g.R * g.S * g.C * block
        zeros = np.zeros(block, dy.dtype)
        x_image = g.y_first + n * g.y_n + first_row * g.y_h + first_column * g.y_w
        if g.direct_out:
            target, out_row, out_pixel = dx, g.y_h, g.y_w
        else:
            target, out_row, out_pixel = np.empty(rows * width * block, dy.dtype), width * block, block
        tiles = -(-width // height)
        for k in range(split * g.blocks // g.splits, (split + 1) * g.blocks // g.splits):
            out = x_image + k * block if g.direct_out else 0
            for row in range(rows):
                q = 0
                for t in range(tiles):
                    tall = -(-(width - q) // (tiles - t))
                    tile(
                        tall, image, row * pitch + q * g.C, g.C, pitch, 1, weight, k * panel, reach * block, block,
                        zeros, 0, 0, 0, target, out + row * out_row + q * out_pixel, out_pixel, g.R, reach,
                    )  # fmt: skip
                    q += tall
            if not g.direct_out:
                unpack_rows(target, block, min(block, g.K - k * block), dx, x_image + k * block * g.y_c, g.y_c, g.y_h, g.y_w, rows, width)

    return unpooled_band


def unpooled_weight_gradient(correlation: Geometry, window: Window, dtype: np.dtype) -> Callable[..., None]:
    """Return a function ``(x, dy, y, winners, dweight)``, all but dweight flat: the gradient of a pooled correlation.

    The strides of y in `correlation` are those of the pooled arrays (channels-last); P and Q count the pixels before pooling.
    """
    c = window.whole(correlation)
    if c.N * c.P * c.Q == 0:
        return _write_zeros
    shape = tile_shape(c.K, dtype.itemsize)
    g = _dense._cut(c, shape, dtype.itemsize, False)
    rows, width = window.aligned(g.rows, window.h), window.aligned(g.width, window.w)
    bands, chunks = -(-g.P // rows), -(-g.Q // width)
    g = g._replace(rows=rows, bands=bands, width=width, chunks=chunks, units=c.N * bands * chunks, y_in_place=0)
    g = g._replace(parts=min(g.parts, g.units))
    size = (g.parts, g.groups, g.R * g.S * g.C, g.blocks * shape.block) if g.parts > 1 else (0, 0, 0, 0)
    fixed, sizes, sample, places = np.array([g], _dense.GEOMETRY), window.record(), np.empty(0, dtype), np.empty(0, np.uint8)
    flops = 2.0 * c.N * c.P * c.Q * c.groups * c.K * c.C * c.R * c.S
    jobs = g.groups * g.splits * g.parts
    run = _gradient(shape, window.quads, dtype).bound(jobs, fixed, sizes, sample, sample, sample, places, sample, sample, work=flops)

    def gradient(x: np.ndarray, dy: np.ndarray, y: np.ndarray, winners: np.ndarray, dweight: np.ndarray) -> None:
        partial = np.zeros(size, dtype)
        run(fixed, sizes, x, dy, y, winners, partial.reshape(-1), dweight.reshape(-1))
        if g.parts > 1:
            unpack_gradient(partial, dweight)

    return gradient


def _write_zeros(x: np.ndarray, dy: np.ndarray, y: np.ndarray, winners: np.ndarray, dweight: np.ndarray) -> None:
    dweight[...] = 0


@functools.cache
def _gradient(shape: TileShape, quads: bool, dtype: np.dtype) -> Kernel:
    tile, pack_rows, unpack = simd.tile(shape, dtype), row_packer(dtype), unpacker(dtype)
    block, height = shape.block, shape.height
    unpool = plane_unpooler(quads, dtype)

    @kernel(specialisation=(shape, quads, dtype.str))
    def gradient_of_windows(job, geometry, window, x, dy, y, winners, partial, dweight):
        g = geometry[0]
        window_w = window[1]
        part, task = job % g.parts, job // g.parts
        split, group = task % g.splits, task // g.splits
        b_first, b_last = split * g.blocks // g.splits, (split + 1) * g.blocks // g.splits
        k_first, k_width = b_first * block, (b_last - b_first) * block
        valid = min(k_width, g.K - k_first)
        reach = g.S * g.C  # rows of the tile: kernel columns x channels
        if g.parts == 1:
            gradient, origin_g, pitch_g = np.zeros(g.R * reach * k_width, x.dtype), 0, k_width
        else:
            pitch_g = g.blocks * block
            gradient, origin_g = partial, (part * g.groups + group) * g.R * reach * pitch_g + k_first
        columns = (g.width - 1) * g.stride_w + g.S
        x_buffer = np.empty(0 if g.x_in_place else ((g.rows - 1) * g.stride_h + g.R) * columns * g.C, x.dtype)
        errors = np.empty(g.rows * g.width * k_width, x.dtype)
        tiles = -(-reach // height)
        for unit in range(part * g.units // g.parts, (part + 1) * g.units // g.parts):
            chunk, at = unit % g.chunks, unit // g.chunks
            n, first, q0 = at // g.bands, at % g.bands * g.rows, chunk * g.width
            rows, width = min(g.rows, g.P - first), min(g.width, g.Q - q0)
            h, w = first * g.stride_h - g.top, q0 * g.stride_w - g.left
            x_image = g.x_first + n * g.x_n + group * g.C * g.x_c
            if g.x_in_place:
                image, origin, x_m, pitch, pixel = x, x_image + h * g.x_h + w * g.x_w, g.x_c, g.x_h, g.x_w
            else:
                columns, needed = (width - 1) * g.stride_w + g.S, (rows - 1) * g.stride_h + g.R
                image, origin, x_m, pitch, pixel = x_buffer, 0, 1, columns * g.C, g.C
                pack_rows(x, x_image, g.x_c, g.x_h, g.x_w, g.H, g.W, g.C, h, w, image, needed, columns, g.C)
            windows = width // window_w  # of a row; the tile sums over the first pixels of all of them, then over the second ones ...
            at, y_row, plane = n * g.y_n + group * g.K + k_first, windows * k_width, rows * windows * k_width
            unpool(
                dy, y, winners, at + q0 // window_w * g.y_w, g.y_h, g.y_w, window, valid,
                first, errors, rows, windows, k_width,
            )  # fmt: skip
            # Bounds: as in `weight_gradient`.
            for r in range(g.R):
                for k in range(0, k_width, block):
                    m = 0
                    for t in range(tiles):
                        tall = -(-(reach - m) // (tiles - t))
                        out = origin_g + (r * reach + m) * pitch_g + k
                        for s in range(window_w):
                            source = origin + r * pitch + s * g.stride_w * pixel + m * x_m
                            tile(
                                tall, image, source, x_m, g.stride_h * pitch, window_w * g.stride_w * pixel,
                                errors, s * plane + k, y_row, k_width, gradient, out, pitch_g, 0, gradient, out, pitch_g, rows, windows,
                            )  # fmt: skip
                        m += tall
        if g.parts == 1:
            unpack(gradient, 0, 1, 0, k_width, g.R * g.S, g.C, 0, g.C, valid, dweight, (group * g.K + k_first) * g.C * g.R * g.S)

    return gradient_of_windows
