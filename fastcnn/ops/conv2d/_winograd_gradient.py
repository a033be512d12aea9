"""The loops of Winograd's algorithm for backward-weight: the gradient of 3 x 3 taps from n x n tiles of x and m x m tiles of dy.

    dW = G' [sum over tiles of (B' x B) * (A dY A')] G        the transpose of the forward's bilinear form, on the same points

The n*n products are matrix products (K x C, summed over tiles) on the register tile, whose vectors are input channels: a row of the
gradient in (K, C, 3, 3) then is 9 lines of one transposition. What is added up a band of tiles at a time is Z, before its transform back.

A job takes a run of units, of output and of input channels. Where its units are few it makes their transformed tiles once, in blocks of
channels, and computes blocks of Z, small enough for the L2 cache, to their end; else there is one block, and each element of Z is read and
written once per band, together with the tiles of that element.
References: Lavin & Gray, arXiv 1509.09308, section 4; Winograd, "Arithmetic complexity of computations" (1980), on transposition.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ... import machine, scratch, simd
from ...engine.correlate import Geometry as Correlation
from ...engine.correlate import tile_effort
from ...engine.packing import transposer
from ...jit import SERIAL_BELOW, Kernel, kernel
from ...machine import TileShape, tile_shape
from ._winograd_matrices import TAPS, Matrix, transforms, transposed
from ._winograd_tiles import LONGEST, PAD, tiles_of_units, unit_transformer


class Tiling(NamedTuple):
    """An image cut into tiles, see `unit_transformer`; strides in elements."""

    C: int
    H: int
    W: int
    x_n: int
    x_c: int
    x_h: int
    x_w: int
    top: int
    left: int
    rows: int  # of tiles in an image
    columns: int  # of tiles in a row
    pieces: int  # units of a row of tiles
    length: int  # tiles of a unit, at most


class Cut(NamedTuple):
    """How a gradient is cut into jobs, and these into bands and blocks."""

    units: int  # in all
    parts: int  # runs of units, each with a gradient of its own
    band: int  # units whose transformed tiles are held at once
    splits_K: int  # runs of output channels
    splits_C: int  # runs of input channels
    block_K: int  # output channels of a block of Z, at most, and elements from tile to tile of a block of dy
    block_C: int  # the same of input channels and x: whole tiles of the register, if several


TILING = np.dtype([(name, np.int64) for name in Tiling._fields])
CUT = np.dtype([(name, np.int64) for name in Cut._fields])
# Measured on Zen 4 with 1 MiB of L2; 30 % more or less of each is no slower.
_TILES_BYTES = 10 * 2**20  # of transformed tiles: up to here a job holds all of its own at once
_LONGEST_SUM = 128  # tiles of one sum: bands then add up sums, and the error stays at 1e-6 where it would grow with every tile
_SUMS_BYTES = 5 * 2**20  # of Z in a job that holds its tiles a band at a time
_BAND_TILES = 56  # whose products amortise the way of Z through the cache
_BLOCK = 64  # channels, both ways, of a block of Z: 0.6 MiB


def weight_gradient(c: Correlation, m: int, dtype: np.dtype) -> Callable[..., None]:
    """Return a function ``(x, dy, dweight)`` on flat x and dy: the gradient of a stride-1 correlation of 3 x 3 taps, on n x n tiles."""
    if c.N * c.P * c.Q == 0:
        return _write_zeros
    shape, lanes = tile_shape(c.C, dtype.itemsize), tile_shape(c.K, dtype.itemsize).lanes
    image, errors = _tilings(c, m)
    cut = _cut(c, image, m, shape, lanes, dtype.itemsize)
    n = m + TAPS - 1
    flops = 2.0 * n * n * cut.units * image.length * c.C * c.K
    fixed = np.array([cut], CUT), np.array([image], TILING), np.array([errors], TILING)
    sample = np.empty(0, dtype)
    run = _kernel(m, shape, lanes, dtype).bound(cut.parts * cut.splits_K * cut.splits_C, *fixed, sample, sample, sample, work=flops)

    def gradient(x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
        whole = cut.parts == 1 and dweight.flags.c_contiguous
        target = dweight if whole else np.empty((cut.parts, *dweight.shape), dtype)
        run(*fixed, x, dy, target.reshape(-1))
        if not whole:
            with np.errstate(over="ignore", invalid="ignore"):
                np.sum(target, axis=0, out=dweight)

    return gradient


def _write_zeros(x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    dweight[...] = 0


def _tilings(c: Correlation, m: int) -> tuple[Tiling, Tiling]:
    """Return how x and dy are cut into the same tiles; those of dy end in zeros where P or Q is no multiple of m."""
    rows, columns = -(-c.P // m), -(-c.Q // m)
    pieces = -(-columns // LONGEST)
    grid = rows, columns, pieces, -(-columns // pieces)
    image = Tiling(c.C, c.H, c.W, c.x_n, c.x_c, c.x_h, c.x_w, c.top, c.left, *grid)
    return image, Tiling(c.K, c.P, c.Q, c.y_n, c.y_c, c.y_h, c.y_w, 0, 0, *grid)


def _cut(c: Correlation, image: Tiling, m: int, shape: TileShape, lanes: int, itemsize: int) -> Cut:
    """Return the jobs, and the bands and blocks of one."""
    units = c.N * image.rows * image.pieces
    parts, splits_K, splits_C = _jobs(c, units, image.length, m, itemsize)
    width_K, width_C = -(-c.K // (lanes * splits_K)) * lanes, -(-c.C // (shape.block * splits_C)) * shape.block
    own = -(-units // parts)
    if _at_once(own * image.length, width_K + width_C, m, itemsize):
        block_K, block_C = (max(1, _BLOCK // whole) * whole for whole in (lanes, shape.block))
        return Cut(units, parts, own, splits_K, splits_C, min(block_K, width_K), min(block_C, width_C))
    bands = -(-own // max(1, _BAND_TILES // image.length))
    # Tiles a multiple of 512 bytes apart would share too few sets of the L1 cache.
    block_K, block_C = (width + (0 if width * itemsize % 512 else 64 // itemsize) for width in (width_K, width_C))
    return Cut(units, parts, -(-own // bands), splits_K, splits_C, block_K, block_C)


def _jobs(c: Correlation, units: int, length: int, m: int, itemsize: int) -> tuple[int, int, int]:
    """Return (runs of units, of output channels, of input channels): no job's Z too large, and one for every thread that pays."""
    elements, tiles = (m + TAPS - 1) ** 2, units * length
    K, C, splits_K, splits_C = c.K, c.C, 1, 1
    while elements * K * C * itemsize > _SUMS_BYTES and not _at_once(tiles, K + C, m, itemsize):
        splits_K, splits_C = (2 * splits_K, splits_C) if K >= C else (splits_K, 2 * splits_C)
        K, C = -(-c.K // splits_K), -(-c.C // splits_C)
    threads = machine.get_threads() if 2 * elements * tiles * c.K * c.C >= SERIAL_BELOW else 1
    idle = -(-threads // (splits_K * splits_C))
    if idle == 1:
        return 1, splits_K, splits_C
    again = tiles * _TRANSFORM[m] * (c.K + c.C) * itemsize / machine.isa().vector_bytes
    if TAPS * TAPS * c.K * c.C * idle < again:  # parts add up their gradients, splits transform the same tiles again
        return min(units, idle), splits_K, splits_C
    return 1, min(splits_K * idle, c.K), splits_C


def _at_once(tiles: int, channels: int, m: int, itemsize: int) -> bool:
    """Whether a job holds all its transformed tiles at once."""
    held = (m + TAPS - 1) ** 2 * tiles * channels * itemsize
    return tiles <= _BAND_TILES or (tiles <= _LONGEST_SUM and held <= _TILES_BYTES)


@functools.cache
def _kernel(m: int, shape: TileShape, lanes: int, dtype: np.dtype) -> Kernel:
    n, block = m + TAPS - 1, shape.block
    matrices = transforms(m)
    transform_image = unit_transformer(matrices.input, m, block, shape.lanes, dtype)
    transform_errors = unit_transformer(transposed(matrices.output), m, lanes, lanes, dtype)
    multiply, empty = _multiplier(n * n, shape, dtype), scratch.allocator(dtype)
    store = _storer(transposed(matrices.filter), shape.lanes, dtype)

    @kernel(specialisation=(m, shape, lanes, dtype.str))
    def gradient_of_units(job, cut, image, errors, x, dy, dweight):
        g, C, K = cut[0], image[0].C, errors[0].C
        part, at = job % g.parts, job // g.parts
        split_K, split_C = at % g.splits_K, at // g.splits_K
        blocks, vectors = (C + block - 1) // block, (K + lanes - 1) // lanes
        c_first, c_last = split_C * blocks // g.splits_C * block, min(C, (split_C + 1) * blocks // g.splits_C * block)
        k_first, k_last = split_K * vectors // g.splits_K * lanes, min(K, (split_K + 1) * vectors // g.splits_K * lanes)
        own_C, own_K = c_last - c_first, k_last - k_first
        if own_C == 0 or own_K == 0:
            return
        padded_C, padded_K = (own_C + block - 1) // block * block, (own_K + lanes - 1) // lanes * lanes
        width_C, width_K = g.block_C, g.block_K
        blocks_C, blocks_K = (padded_C + width_C - 1) // width_C, (padded_K + width_K - 1) // width_K
        begin, end = part * g.units // g.parts, (part + 1) * g.units // g.parts
        most = min(g.band, end - begin) * image[0].length
        pitch_V, pitch_D, pitch_Z = most * width_C + PAD, most * width_K + PAD, width_K * width_C + PAD
        panel_V, panel_D = n * n * pitch_V, n * n * pitch_D
        size_V, size_D = blocks_C * panel_V, blocks_K * panel_D
        # One buffer: the C library keeps up to twice its largest block for the next call, but would return, and clear, the rest.
        buffer = empty(size_V + size_D + n * n * pitch_Z)
        V, D, Z = buffer, buffer[size_V:], buffer[size_V + size_D :]
        # Bounds. The tiles of a band are at most `most`; those of x have padded_C channels, whole tiles, in each block as well. Only the
        # first own_K channels of dy are used, and only the first own_C of x are stored. Several blocks mean one band, see `_cut`.
        for first in range(begin, end, g.band):
            last = min(first + g.band, end)
            tiles = tiles_of_units(image, first, last)
            transform_image(image, x, c_first, own_C, V, width_C, pitch_V, panel_V, first, last)
            transform_errors(errors, dy, k_first, own_K, D, width_K, pitch_D, panel_D, first, last)
            for at_C in range(blocks_C):
                c = at_C * width_C
                columns = min(width_C, padded_C - c)
                for at_K in range(blocks_K):
                    k = at_K * width_K
                    rows = min(width_K, own_K - k)
                    multiply(
                        D[at_K * panel_D :], width_K, pitch_D, V[at_C * panel_V :], width_C, pitch_V, tiles,
                        Z, rows, columns, pitch_Z, first == begin,
                    )  # fmt: skip
                    if last == end:
                        out = ((part * K + k_first + k) * C + c_first + c) * TAPS * TAPS
                        store(Z, columns, pitch_Z, rows, min(columns, own_C - c), dweight, out, C * TAPS * TAPS)

    return gradient_of_units


@functools.cache
def _multiplier(elements: int, shape: TileShape, dtype: np.dtype) -> Kernel:
    """Return a kernel for Z[e*pitch_Z + k*columns + c] += D[e*pitch_D + t*pitch_K + k] * V[e*pitch_V + t*pitch_C + c], summed over tiles t.

    k runs over `rows`, c over `columns`, which are whole blocks; `fresh` sums replace what Z has.
    """
    tile, block, height = simd.tile(shape, dtype), shape.block, shape.height

    @kernel(specialisation=(elements, shape, dtype.str))
    def multiply(D, pitch_K, pitch_D, V, pitch_C, pitch_V, tiles, Z, rows, columns, pitch_Z, fresh):
        start = np.zeros(block, Z.dtype) if fresh else Z
        runs = (rows + height - 1) // height
        for e in range(elements):
            for c in range(0, columns, block):
                k = 0
                for i in range(runs):
                    tall = -(-(rows - k) // (runs - i))
                    z = e * pitch_Z + k * columns + c
                    tile(
                        tall, D, e * pitch_D + k, 1, 0, pitch_K, V, e * pitch_V + c, 0, pitch_C,
                        start, 0 if fresh else z, 0 if fresh else columns, 0, Z, z, columns, 1, tiles,
                    )  # fmt: skip
                    k += tall

    return multiply


@functools.cache
def _storer(matrix: Matrix, lanes: int, dtype: np.dtype) -> Kernel:
    """Return a kernel that transforms sums Z[(i*n + j)*pitch_Z + k*pitch + c] back, into out[at + k*row + c*9 + tap] for c < valid."""
    n, taps = len(matrix[0]), TAPS * TAPS
    transform = simd.two_sided(matrix, lanes, dtype)
    transpose, empty = transposer(dtype), scratch.allocator(dtype)

    @kernel(specialisation=(matrix, lanes, dtype.str))
    def store(Z, pitch, pitch_Z, rows, valid, out, at, row):
        results, zeros = empty(taps * pitch), np.zeros(lanes, Z.dtype)
        for k in range(rows):
            for c in range(0, valid, lanes):
                transform(Z, k * pitch + c, n * pitch_Z, pitch_Z, zeros, 0, -np.inf, results, c, TAPS * pitch, pitch)
            transpose(results, 0, pitch, out, at + k * row, taps, taps, valid)

    return store


def effort(K: int, C: int, pixels: tuple[int, int, int], itemsize: int, m: int) -> float:
    """Return an estimate of the time of a gradient from `pixels` (N, P, Q) of dy, in full vector multiply-adds."""
    elements, (N, P, Q) = (m + TAPS - 1) ** 2, pixels
    inputs, outputs, width = tile_shape(C, itemsize), tile_shape(K, itemsize), machine.lanes(itemsize)
    tiles = N * -(-P // m) * -(-Q // m)
    products = elements * (tile_effort(C, K) * tiles + _SUMS * -(-tiles // _BAND_TILES) * K * C / width)
    vectors = _vectors(C, inputs, width) + _vectors(K, outputs, width)
    copied = (elements if C % inputs.block else 0) + (m * m if K % outputs.lanes else 0)
    return products + tiles * (_TRANSFORM[m] * vectors + _COPY * copied) + _STORE[m] * K * _vectors(C, inputs, width)


def _vectors(channels: int, shape: TileShape, width: int) -> float:
    """Return the full vectors whose transform takes as long as that of the channels; a half one takes three quarters of the time."""
    return -(-channels // shape.lanes) * (1 + shape.lanes / width) / 2


# Cycles, measured on Zen 4: of a vector through a transform of x or dy; of one into a sum of products and out again; of one through the
# transform back; of a pixel whose channels have to be filled up.
_TRANSFORM = {2: 80.0, 4: 280.0}
_SUMS = 3.0
_STORE = {2: 250.0, 4: 320.0}
_COPY = 10.0


def output_tile(K: int, C: int, pixels: tuple[int, int, int], itemsize: int) -> int:
    """Return the m of F(m x m) that takes less time."""
    return min((2, 4), key=lambda m: effort(K, C, pixels, itemsize, m))
