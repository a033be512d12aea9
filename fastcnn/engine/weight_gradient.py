"""The loops around the tile for backward-weight: rows are (kernel column, channel), the reduction runs over output pixels.

A job owns a run of blocks of output channels, small enough for its gradient to stay in the L2 cache, and a run of units (a band of an
image's rows, or a piece of a long line). Where jobs share output channels each has a gradient of its own, and these are summed in order:
the same bits for the same number of threads. Within a unit x and dy stay in L2 while every kernel row reads them; a copy of dy holds block
after block of channels, so that the one which all tiles of x meet is contiguous and stays in L1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import machine, simd
from ..jit import Kernel, kernel
from ..machine import TileShape, tile_shape
from .correlate import Geometry as Correlation
from .correlate import as_lines
from .filters import unpack_gradient, unpacker
from .packing import row_packer


class Geometry(NamedTuple):
    """dweight[r,s,c,k] = sum over n,p,q of x[n, c, p*stride_h + r - top, q*stride_w + s - left] * dy[n,k,p,q], strides in elements."""

    C: int
    H: int
    W: int
    x_first: int
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
    y_h: int
    y_w: int
    groups: int
    rows: int  # output rows of a unit
    bands: int  # units of an image's height
    width: int  # output columns of a unit
    chunks: int  # units of an image's width
    units: int  # of all images
    parts: int  # runs of units, each with a gradient of its own
    blocks: int  # of output channels
    splits: int  # runs of these
    x_pixel: int  # elements from pixel to pixel of a copy of x
    x_in_place: int  # 1: tiles read x itself
    y_in_place: int  # 1: tiles read dy itself, not a copy that holds the pixels of one block of channels after another
    swapped: int  # 1: x is dy and dy is x; the gradient is not transposed


GEOMETRY = np.dtype([(name, np.int64) for name in Geometry._fields])
_BUFFER_BYTES = 192 * 1024  # of x, and as much of dy; best of 64-512 KiB on 56 x 56 and 28 x 28 maps
_GRADIENT_BYTES = 640 * 1024  # of a job's gradient
_FEW_TILES = 16  # that read the same block of dy: fewer are not worth a copy


def weight_gradient(c: Correlation, dtype: np.dtype) -> Callable[..., None]:
    """Return a function ``(x, dy, dweight)`` on flat x and dy: the gradient of a correlation, for the threads that the caller has now."""
    if c.N * c.P * c.Q == 0:
        return _write_zeros
    flops = 2.0 * c.N * c.P * c.Q * c.groups * c.K * c.C * c.R * c.S
    swapped = c.R == c.S == 1 and c.top == c.left == 0 and (c.P - 1) * c.stride_h < c.H and (c.Q - 1) * c.stride_w < c.W
    if swapped:  # x and dy play the same part: with dy as rows the gradient comes out as (K, C) and needs no transposition
        c = _exchanged(as_lines(c))
    shape = tile_shape(c.K, dtype.itemsize)
    g = _cut(c, shape, dtype.itemsize, swapped)
    size = (g.parts, g.groups, g.R * g.S * g.C, g.blocks * shape.block) if g.parts > 1 else (0, 0, 0, 0)
    fixed, sample = np.array([g], GEOMETRY), np.empty(0, dtype)
    run = _kernel(shape, dtype).bound(g.groups * g.splits * g.parts, fixed, sample, sample, sample, sample, work=flops)

    def gradient(x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
        partial = np.empty(size, dtype)
        target = dweight if dweight.flags.c_contiguous else np.empty(dweight.shape, dtype)
        first, second = (dy, x) if swapped else (x, dy)
        run(fixed, first, second, partial.reshape(-1), target.reshape(-1))
        if g.parts > 1 and swapped:
            with np.errstate(over="ignore", invalid="ignore"):
                np.sum(partial.reshape(g.parts, g.groups * g.C, -1)[..., : g.K], axis=0, out=target.reshape(g.groups * g.C, g.K))
        elif g.parts > 1:
            unpack_gradient(partial, target)
        if target is not dweight:
            dweight[...] = target

    return gradient


def _write_zeros(x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    dweight[...] = 0


def _exchanged(c: Correlation) -> Correlation:
    """Return the correlation of one tap with x and y in each other's place."""
    return c._replace(C=c.K, H=c.P, W=c.Q, x_n=c.y_n, x_c=c.y_c, x_h=c.y_h, x_w=c.y_w, K=c.C, y_n=c.x_n, y_c=c.x_c, y_h=c.x_h, y_w=c.x_w)


def _cut(c: Correlation, shape: TileShape, itemsize: int, swapped: bool) -> Geometry:
    """Return the geometry with its jobs."""
    threads = machine.get_threads()
    blocks = -(-c.K // shape.block)
    gradient = c.R * c.S * c.C * shape.block * itemsize  # of a block
    splits = min(blocks, max(1, -(-blocks * gradient // _GRADIENT_BYTES)))
    columns = (c.Q - 1) * c.stride_w + c.S
    inside = c.top <= 0 and c.left <= 0  # what lies right of and below the last window is never read
    inside = inside and (c.P - 1) * c.stride_h + c.R - c.top <= c.H and columns - c.left <= c.W
    pixel = max(c.stride_h * c.stride_w * c.C, blocks * shape.block) * itemsize
    budget = max(1, _BUFFER_BYTES // pixel)  # output pixels of a unit
    width = c.Q if c.P > 1 and 2 * budget >= c.Q else min(c.Q, max(64, budget))
    rows = max(1, min(c.P, budget // width))
    bands, chunks = -(-c.P // rows), -(-c.Q // width)
    tasks = c.groups * splits
    if tasks * c.N * bands * chunks < threads:  # a few large units: cut them
        if c.P > 1:
            bands = min(c.P, -(-threads // (tasks * c.N)))
        else:
            chunks = min(-(-c.Q // 32), -(-threads // (tasks * c.N)))
    rows, width = -(-c.P // bands), -(-c.Q // chunks)
    bands, chunks = -(-c.P // rows), -(-c.Q // width)
    units = c.N * bands * chunks
    parts = 1
    if tasks % threads and tasks < 4 * threads:  # gradients of parts cost memory and a sum: only where whole tasks leave threads idle
        parts = min(units, threads)
    if parts == 1 and 1 < threads <= blocks and tasks < threads:
        splits = threads
    # Pixels 2 KiB apart fall into a few sets of the caches; a copy of them does not.
    x_thrashes, y_thrashes = (stride * itemsize % 2048 == 0 for stride in (c.x_w, c.y_w))
    x_pixel = c.C + (64 // itemsize if c.R == c.S == 1 and c.C * itemsize % 1024 == 0 else 0)
    x_in_place = inside and ((c.x_c == 1 and c.x_w == c.C) or c.S == c.R == 1) and not (c.S == 1 and c.x_c == 1 and x_thrashes)
    # In dy itself the pixels of a block are as far from each other as all channels are many; in a copy they are neighbours.
    scattered = c.y_w != shape.block and c.R * -(-c.S * c.C // shape.height) >= _FEW_TILES
    y_in_place = c.y_c == 1 and c.K % shape.block == 0 and not y_thrashes and not scattered
    return Geometry(
        c.C, c.H, c.W, c.x_first, c.x_n, c.x_c, c.x_h, c.x_w, c.K, c.R, c.S, c.stride_h, c.stride_w, c.top, c.left, c.P, c.Q,
        c.y_n, c.y_c, c.y_h, c.y_w, c.groups, rows, bands, width, chunks, units, parts, blocks, splits,
        x_pixel, int(x_in_place), int(y_in_place), int(swapped),
    )  # fmt: skip


@functools.cache
def _kernel(shape: TileShape, dtype: np.dtype) -> Kernel:
    tile = simd.tile(shape, dtype)
    pack_rows = row_packer(dtype)
    unpack = unpacker(dtype)
    block, height = shape.block, shape.height

    @kernel(specialisation=(shape, dtype.str))
    def gradient_of_units(job, geometry, x, dy, partial, dweight):
        g = geometry[0]
        part, task = job % g.parts, job // g.parts
        split, group = task % g.splits, task // g.splits
        b_first, b_last = split * g.blocks // g.splits, (split + 1) * g.blocks // g.splits
        k_first, k_width = b_first * block, (b_last - b_first) * block
        valid = min(k_width, g.K - k_first)
        reach = g.S * g.C  # rows of the tile: kernel columns x channels, contiguous in a channels-last image
        if g.parts == 1 and g.swapped and g.K % block == 0:
            gradient, origin_g, pitch_g = dweight, group * g.C * g.K + k_first, g.K
        elif g.parts == 1:
            gradient, origin_g, pitch_g = np.empty(g.R * reach * k_width, x.dtype), 0, k_width
        else:
            pitch_g = g.blocks * block
            gradient, origin_g = partial, (part * g.groups + group) * g.R * reach * pitch_g + k_first
        columns = (g.width - 1) * g.stride_w + g.S
        x_buffer = np.empty(0 if g.x_in_place else ((g.rows - 1) * g.stride_h + g.R) * columns * g.x_pixel, x.dtype)
        y_buffer = np.empty(0 if g.y_in_place else g.rows * g.width * k_width, x.dtype)
        zeros = np.zeros(block, x.dtype)
        tiles = -(-reach // height)
        fresh, start = True, zeros
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
                image, origin, x_m, pitch, pixel = x_buffer, 0, 1, columns * g.x_pixel, g.x_pixel
                pack_rows(x, x_image, g.x_c, g.x_h, g.x_w, g.H, g.W, g.C, h, w, image, needed, columns, g.x_pixel)
            y_image = n * g.y_n + (group * g.K + k_first) * g.y_c
            if g.y_in_place:
                errors, y_origin, y_k, y_row, y_pixel = dy, y_image + first * g.y_h + q0 * g.y_w, 1, g.y_h, g.y_w
            else:
                errors, y_origin, y_k, y_row, y_pixel = y_buffer, 0, rows * width, width * block, block
                for k in range(0, k_width, block):
                    pack_rows(
                        dy, y_image + k * g.y_c, g.y_c, g.y_h, g.y_w, g.P, g.Q, min(block, valid - k), first, q0,
                        errors[k * y_k :], rows, width, block,
                    )  # fmt: skip
            # Bounds. The last row read is (rows - 1) * stride_h + r, r < R, its last element (width - 1) * stride_w * C + S * C - 1: within
            # the buffer, or within x by `inside`. dy is read, and the gradient written, in whole blocks: of the copy, which has k_width
            # channels, block k / block begins at k * rows * width.
            for r in range(g.R):
                for k in range(0, k_width, block):
                    m = 0
                    for t in range(tiles):
                        tall = -(-(reach - m) // (tiles - t))
                        out = origin_g + (r * reach + m) * pitch_g + k
                        tile(
                            tall, image, origin + r * pitch + m * x_m, x_m, g.stride_h * pitch, g.stride_w * pixel,
                            errors, y_origin + k * y_k, y_row, y_pixel, start, 0 if fresh else out, 0 if fresh else pitch_g, 0,
                            gradient, out, pitch_g, rows, width,
                        )  # fmt: skip
                        m += tall
            fresh, start = False, gradient
        if g.parts == 1 and g.swapped and g.K % block != 0:
            for c in range(g.C):
                at = (group * g.C + c) * g.K + k_first
                source, target = gradient[c * k_width : c * k_width + valid], dweight[at : at + valid]
                for k in range(target.size):
                    target[k] = source[k]
        elif g.parts == 1 and not g.swapped:
            unpack(gradient, 0, 1, 0, k_width, g.R * g.S, g.C, 0, g.C, valid, dweight, (group * g.K + k_first) * g.C * g.R * g.S)

    return gradient_of_units
