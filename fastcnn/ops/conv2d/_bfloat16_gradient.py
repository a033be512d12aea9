"""The loops around the bfloat16 tile for backward-weight: rows are (kernel column, channel), the reduction runs over pairs of pixels.

The pixels of a pair lie at the same place of two images, so that every number is rounded once and any stride will do. An image without
a partner pairs its rows p and p + 1 (each row of x is then rounded twice, once for either place in a pair), and a row without a partner is
paired with zeros. A *unit* is a band of rows of such a pair; those of one job that fit into its buffers are summed before the gradient
is written, or the gradient of a large weight would travel through memory once a unit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ... import bf16, checks, machine
from ...engine.filters import unpack_gradient, unpacker
from ...engine.words import FLOAT32, pair_packer
from ...jit import Kernel, kernel
from ...machine import TileShape, tile_shape
from .problem import Conv2dProblem, work


class Geometry(NamedTuple):
    """dweight[r,s,c,k] = sum over n,p,q of x[n, c, p*stride_h + r - top, q*stride_w + s - left] * dy[n,k,p,q]."""

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
    y_h: int
    y_w: int
    blocks: int  # of output channels
    rows: int  # of x in a unit, at most
    lines: int  # pairs of rows of dy in a unit, at most
    units: int
    depth: int  # units summed at once
    shares: int  # jobs of the units, each with a gradient of its own
    splits: int  # jobs of the blocks of output channels
    pixel: int  # words from pixel to pixel of x
    local: int  # 1: a job sums all units into one block of output channels after the other


class Unit(NamedTuple):
    """Rows first, first + 1, ... of dy in image n, paired with those of image `partner` (-1: zeros), or by two where `by_rows`."""

    n: int
    partner: int
    first: int
    rows: int
    by_rows: int


GEOMETRY, UNIT = (np.dtype([(name, np.int64) for name in fields]) for fields in (Geometry._fields, Unit._fields))
_BAND_BYTES = 192 * 1024  # of x in a unit, and of dy
_BATCH_BYTES = 640 * 1024  # of x and dy in the units that are summed at once; they stay in the L2 cache
_GRADIENT_BYTES = 640 * 1024  # of a gradient; a larger one is computed a block of channels at a time, with all units at hand
_UNITS_BYTES = 2**24


def weight_gradient(p: Conv2dProblem, x_last: bool, dy_last: bool) -> Callable[..., None]:
    """Return a function ``(x, dy, dweight)`` on flat x and dy, without dilation or groups, for the threads that the caller has now."""
    if p.N * p.P * p.Q == 0:
        return _write_zeros
    shape = tile_shape(p.K, 4)
    g, units = _cut(p, x_last, dy_last, shape)
    size = 0 if g.local else g.shares, 1, p.R * p.S * p.C, g.blocks * shape.block
    fixed, floats = np.array([g], GEOMETRY), np.empty(0, FLOAT32)
    run = _kernel(shape).bound(g.shares * g.splits, fixed, units, *[floats] * 4, work=work(p, "backward_weight"))

    def gradient(x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
        partial = np.empty(size, FLOAT32)
        target = dweight if dweight.flags.c_contiguous else np.empty(dweight.shape, FLOAT32)
        run(fixed, units, x, dy, partial.reshape(-1), target.reshape(-1))
        if not g.local:
            unpack_gradient(partial, target)
        if target is not dweight:
            dweight[...] = target

    return gradient


def _write_zeros(x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    dweight[...] = 0


def _cut(p: Conv2dProblem, x_last: bool, dy_last: bool, shape: TileShape) -> tuple[Geometry, np.ndarray]:
    """Return the geometry with its jobs, and the units."""
    threads = machine.get_threads()
    blocks = -(-p.K // shape.block)
    stride_h, stride_w, H, W = p.stride_h, p.stride_w, p.H, p.W
    x_n, x_c, x_h, x_w = checks.strides_of(p.input_shape, x_last)
    if p.R == p.S == 1 and p.top == p.left == 0:  # pass over the pixels that no tap meets
        H, W, x_h, x_w = -(-H // stride_h), -(-W // stride_w), x_h * stride_h, x_w * stride_w
        stride_h = stride_w = 1
    columns = (p.Q - 1) * stride_w + p.S
    pixel = p.C + 16 * (p.C % 256 == 0)  # few sets of the L1 cache would hold all pixels of a tile's channels
    x_row, y_row = columns * pixel * 4, p.Q * blocks * shape.block * 4
    rows = max(1, min(p.P, _BAND_BYTES // max(x_row * stride_h, y_row)))
    units = np.array(list(_units(p, rows)), UNIT)
    x_rows = (rows - 1) * stride_h + p.R
    unit = x_rows * x_row + rows * y_row
    gradient = p.R * p.S * p.C * blocks * shape.block * 4
    local = (gradient > _GRADIENT_BYTES or len(units) * unit <= _BATCH_BYTES) and len(units) * unit <= _UNITS_BYTES and blocks >= threads
    shares = 1 if local else min(threads, len(units))
    splits = min(blocks, threads // shares)
    depth = len(units) if local else max(1, min(len(units), _BATCH_BYTES // unit))
    g = Geometry(
        p.C, H, W, x_n, x_c, x_h, x_w, p.K, p.R, p.S, stride_h, stride_w, p.top, p.left, p.P, p.Q,
        *checks.strides_of(p.output_shape, dy_last), blocks, x_rows, rows, len(units), depth, shares, splits, pixel, int(local),
    )  # fmt: skip
    return g, units


def _units(p: Conv2dProblem, rows: int) -> Iterator[Unit]:
    for n in range(0, p.N - 1, 2):
        bands = -(-p.P // rows)
        for band in range(bands):
            first = p.P * band // bands
            yield Unit(n, n + 1, first, p.P * (band + 1) // bands - first, 0)
    if p.N % 2:
        even = max(2, rows // 2 * 2) if rows > 1 else 1
        for first in range(0, p.P, even):
            count = min(even, p.P - first)
            if count > 1:
                yield Unit(p.N - 1, -1, first, count // 2 * 2, 1)
            if count % 2:
                yield Unit(p.N - 1, -1, first + count - 1, 1, 0)


@functools.cache
def _kernel(shape: TileShape) -> Kernel:
    tile = bf16.tile(shape)
    pack_pair, unpack = pair_packer(), unpacker(FLOAT32)
    block, height = shape.block, shape.height

    @kernel(specialisation=shape)
    def gradient_of_units(job, geometry, units, x, dy, partial, dweight):
        g = geometry[0]
        share, split = job // g.splits, job % g.splits
        first_unit, last_unit = g.units * share // g.shares, g.units * (share + 1) // g.shares
        k_first, k_last = g.blocks * split // g.splits, g.blocks * (split + 1) // g.splits
        channels = min(g.K, k_last * block) - k_first * block
        taps = g.R * g.S
        if g.local:
            gradient, wide = np.empty(taps * g.C * block, x.dtype), block
        else:
            size, wide = taps * g.C * g.blocks * block, g.blocks * block
            gradient = partial[share * size : (share + 1) * size]
        columns = (g.Q - 1) * g.stride_w + g.S
        pitch = columns * g.pixel
        x_size, panel = g.rows * pitch, g.lines * g.Q * block
        y_size = (k_last - k_first) * panel
        images, errors = np.empty(g.depth * x_size, np.int32), np.empty(g.depth * y_size, np.int32)
        zeros = np.zeros(max(g.C, g.K, block), x.dtype)
        scratch = np.empty(2 * max(0 if g.x_c == 1 else columns * g.C, 0 if g.y_c == 1 else g.Q * channels), x.dtype)
        # Tile rows: all (kernel column, channel) where they follow one another, else a kernel column's channels at a time.
        spans, span = (1, g.S * g.C) if g.pixel == g.C else (g.S, g.C)
        tiles = -(-span // height)
        for batch in range(first_unit, last_unit, g.depth):
            count = min(g.depth, last_unit - batch)
            for i in range(count):
                u = units[batch + i]
                at_a, at_b, step = u.n * g.x_n, u.partner * g.x_n, 0
                y_a, y_b = u.n * g.y_n + k_first * block * g.y_c, u.partner * g.y_n + k_first * block * g.y_c
                if u.partner < 0:
                    at_b = y_b = -1
                if u.by_rows:
                    at_b, y_b, step = at_a, y_a, 1
                h = u.first * g.stride_h - g.top
                for row in range((u.rows - 1 - step) * g.stride_h + g.R):
                    pack_pair(
                        x, at_a, at_b, g.x_c, g.x_h, g.x_w, g.H, g.W, g.C, h + row, h + row + step * g.stride_h, -g.left, columns,
                        scratch, zeros, images, i * x_size + row * pitch, g.C, g.pixel, 0,
                    )  # fmt: skip
                for row in range(0, u.rows, 1 + step):
                    pack_pair(
                        dy, y_a, y_b, g.y_c, g.y_h, g.y_w, g.P, g.Q, channels, u.first + row, u.first + row + step, 0, g.Q,
                        scratch, zeros, errors, i * y_size + row // (1 + step) * g.Q * block, block, block, panel,
                    )  # fmt: skip
            # Bounds. The last row of x read is (rows - 1) * stride_h + r, r < R, in steps of two rows where rows are paired, which is one
            # row less; its last element (Q - 1) * stride_w * pixel + s * pixel + C - 1, s < S. dy and the gradient are whole blocks.
            for k in range(k_first, k_last):
                column = 0 if g.local else k * block
                for r in range(g.R):
                    for s in range(spans):
                        m = 0
                        for t in range(tiles):
                            tall = -(-(span - m) // (tiles - t))
                            out = ((r * spans + s) * span + m) * wide + column
                            for i in range(count):
                                u = units[batch + i]
                                start, so, start_m = gradient, out, wide
                                if batch == first_unit and i == 0:
                                    start, so, start_m = zeros, 0, 0
                                tile(
                                    tall, images, i * x_size + r * pitch + s * g.pixel + m, 1, g.stride_h * (1 + u.by_rows) * pitch,
                                    g.stride_w * g.pixel, errors, i * y_size + (k - k_first) * panel, g.Q * block, block,
                                    start, so, start_m, 0, gradient, out, wide, u.rows // (1 + u.by_rows), g.Q, 0,
                                )  # fmt: skip
                            m += tall
                if g.local:
                    unpack(gradient, 0, 1, 0, block, taps, g.C, 0, g.C, min(block, g.K - k * block), dweight, k * block * g.C * taps)

    return gradient_of_units
