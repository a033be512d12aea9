"""The loops of Winograd's algorithm F(m x m, 3 x 3): transform tiles of the image, multiply them per element, transform back.

    Y = A' [sum over c of (G g G') * (B' d B)] A        n x n products give m x m outputs where direct convolution needs 9 m m

A job takes a run of units (a unit is a row of tiles, or a piece of a long one) and a run of blocks of output channels. Its transformed
inputs V and products Z stay in the L2 cache, if they fit; the n*n products are matrix products on the register tile.
Reference: Lavin & Gray, arXiv 1509.09308, section 4.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ... import machine, memory, scratch, simd
from ...engine.correlate import Geometry as Correlation
from ...engine.correlate import tile_effort
from ...engine.filters import CHUNK, Filters, gatherer, record
from ...engine.packing import clear, row_unpacker
from ...jit import Kernel, kernel
from ...machine import TileShape, tile_shape
from ._winograd_matrices import TAPS, transforms
from ._winograd_tiles import LONGEST, PAD, tiles_of_units, unit_transformer


class Geometry(NamedTuple):
    """A stride-1 correlation with 3 x 3 taps, and how it is cut into jobs; strides in elements."""

    N: int
    C: int
    H: int
    W: int
    x_n: int
    x_c: int
    x_h: int
    x_w: int
    K: int
    top: int
    left: int
    P: int
    Q: int
    y_n: int
    y_c: int
    y_h: int
    y_w: int
    padded_C: int  # whole vectors
    rows: int  # of tiles in an image
    columns: int  # of tiles in a row
    pieces: int  # units of a row of tiles
    length: int  # tiles of a unit, at most
    units: int  # in all
    batches: int  # runs of units
    blocks: int  # of output channels
    splits: int  # runs of blocks
    group: int  # blocks whose products are held at once
    relu: int


GEOMETRY = np.dtype([(name, np.int64) for name in Geometry._fields])
_BUFFER_BYTES = 640 * 1024  # of V and Z: what a 1 MiB L2 has room for beside the transformed weights that stream through
_GROUP = 2  # blocks whose products are held at once: 1 to 8 differ by 5 %
_LOCAL_TILES = 64  # so few tiles are one batch, if that spares the transformed filters a way through memory


def filter_packer(filters: Filters, m: int, dtype: np.dtype) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from a flat weight to (n*n, outputs / block, inputs, block) transformed values in one axis."""
    shape = tile_shape(filters.outputs, dtype.itemsize)
    blocks = -(-filters.outputs // shape.block)
    chunks = -(-filters.inputs // CHUNK)
    size = (m + TAPS - 1) ** 2 * blocks * filters.inputs * shape.block
    taps, sizes, sample = record(filters), np.array([blocks, chunks]), np.empty(0, dtype)
    run = _packer(m, shape, dtype).bound(blocks * chunks, taps, sizes, sample, sample, work=16.0 * size)

    def pack(weight: np.ndarray) -> np.ndarray:
        packed = memory.empty((size,), dtype)
        run(taps, sizes, weight, packed)
        return packed

    return pack


@functools.cache
def _packer(m: int, shape: TileShape, dtype: np.dtype) -> Kernel:
    transform_filters = _filter_transformer(m, shape, dtype)
    block = shape.block

    @kernel(specialisation=(m, shape, dtype.str))
    def pack_chunk(job, filters, sizes, weight, packed):
        blocks, chunks = sizes
        k, inputs = job // chunks, filters[0].inputs
        transform_filters(filters, weight, k, job % chunks * CHUNK, packed, k * inputs * block, blocks * inputs * block)

    return pack_chunk


@functools.cache
def _filter_transformer(m: int, shape: TileShape, dtype: np.dtype) -> Kernel:
    n, block, lanes = m + TAPS - 1, shape.block, shape.lanes
    transform = simd.two_sided(transforms(m).filter, lanes, dtype)
    gather, empty = gatherer(block, dtype), scratch.allocator(dtype)

    @kernel(specialisation=(m, shape, dtype.str))
    def transform_filters(filters, weight, k, c, out, at, pitch):
        """out[at + (i*n + j)*pitch + input*block + v]: the transformed taps of a block of outputs and up to CHUNK inputs."""
        f = filters[0]
        count = min(CHUNK, f.inputs - c)
        gathered = empty(CHUNK * TAPS * TAPS * block)
        zeros = np.empty(lanes, weight.dtype)
        clear(zeros, 0, lanes)
        gather(weight, filters, 0, k * block, c, count, gathered, 0)
        for i in range(count):
            first = (i * TAPS * TAPS + f.r_first * TAPS + f.s_first) * block
            for v in range(0, block, lanes):
                transform(
                    gathered, first + v, f.r_step * TAPS * block, f.s_step * block, zeros, 0, -np.inf,
                    out, at + (c + i) * block + v, n * pitch, pitch,
                )  # fmt: skip

    return transform_filters


def correlation(c: Correlation, filters: Filters, m: int, dtype: np.dtype, packed: bool = False) -> Callable[..., None]:
    """Return a function ``(x, weight, bias, y)`` on flat arrays that runs a stride-1 correlation of 3 x 3 taps.

    `weight` is the operation's (K, C, 3, 3), or comes `packed` by `filter_packer`. Where one batch takes the whole image, each job
    transforms the filters of its blocks as it comes to them, and they never leave its cache; otherwise they are transformed before, once
    for all batches.
    """
    if c.N * c.P * c.Q == 0:
        return lambda *_: None
    n = m + TAPS - 1
    shape = tile_shape(c.K, dtype.itemsize)
    g = _cut(c, m, shape, dtype.itemsize, packed)
    local = not packed and g.batches == 1
    pack_before = None if packed or local else filter_packer(filters, m, dtype)
    fixed, taps, sample = np.array([g], GEOMETRY), record(filters), np.empty(0, dtype)
    flops = 2.0 * n * n * g.units * g.length * g.C * g.K
    flag = np.array([local])
    run = _kernel(m, shape, dtype).bound(g.batches * g.splits, fixed, taps, flag, sample, sample, sample, sample, work=flops)
    padded_K = g.blocks * shape.block
    zeros = np.zeros(padded_K, dtype)

    def correlate(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray) -> None:
        if bias is None:
            bias = zeros
        elif padded_K != g.K:
            whole = zeros.copy()
            whole[: g.K] = bias
            bias = whole
        if pack_before is not None:
            weight = pack_before(weight)
        run(fixed, taps, flag, x, weight, bias, y)

    return correlate


def _cut(c: Correlation, m: int, shape: TileShape, itemsize: int, packed: bool) -> Geometry:
    """Return the geometry with its jobs."""
    n = m + TAPS - 1
    blocks = -(-c.K // shape.block)
    padded_C = -(-c.C // shape.lanes) * shape.lanes
    rows, columns = -(-c.P // m), -(-c.Q // m)
    pieces = -(-columns // LONGEST)
    length = -(-columns // pieces)
    units = c.N * rows * pieces
    threads = machine.get_threads()
    tiles = max(2 * shape.height, min(8 * shape.height, _BUFFER_BYTES // (n * n * (padded_C + blocks * shape.block) * itemsize)))
    batches, splits = -(-units // max(1, tiles // length)), 1
    if not packed and units * length <= _LOCAL_TILES:
        batches = 1
    if threads > 1 and batches == 1 and not packed:
        splits = min(blocks, threads)
    elif threads > 1 and batches < 4 * threads:
        batches = max(batches, min(units, -(-batches // threads) * threads))
        splits = min(blocks, -(-threads // batches))
    group = 1 if batches == 1 and not packed else min(_GROUP, -(-blocks // splits))
    return Geometry(
        c.N, c.C, c.H, c.W, c.x_n, c.x_c, c.x_h, c.x_w, c.K, c.top, c.left, c.P, c.Q, c.y_n, c.y_c, c.y_h, c.y_w,
        padded_C, rows, columns, pieces, length, units, batches, blocks, splits, group, c.relu,
    )  # fmt: skip


@functools.cache
def _kernel(m: int, shape: TileShape, dtype: np.dtype) -> Kernel:
    n, block, height, lanes = m + TAPS - 1, shape.block, shape.height, shape.lanes
    matrices = transforms(m)
    transform_units = unit_transformer(matrices.input, m, lanes, lanes, dtype)
    transform_output = simd.two_sided(matrices.output, lanes, dtype)
    tile, empty = simd.tile(shape, dtype), scratch.allocator(dtype)
    transform_filters = _filter_transformer(m, shape, dtype)
    unpack_rows = row_unpacker(dtype)

    @kernel(specialisation=("out", m, shape, dtype.str))
    def store_units(geometry, Z, pitch_Z, bias, y, first, last, k_first, pitch_K):
        """Transform the products Z[(i*n + j)*pitch_Z + t*pitch_K + k - k_first] of units first..last back into y."""
        g = geometry[0]
        floor = 0.0 if g.relu else -np.inf
        valid = min(pitch_K, g.K - k_first)
        convert = g.y_c != 1
        whole = not convert and valid % lanes == 0
        width = g.length * m
        band = empty(m * width * pitch_K if convert else m * m * pitch_K)
        t = 0
        for unit in range(first, last):
            image, row, start = unit // (g.rows * g.pieces), unit // g.pieces % g.rows, unit % g.pieces * g.length
            count = min(g.length, g.columns - start)
            p, q0 = row * m, start * m
            high = min(m, g.P - p)
            origin = image * g.y_n + p * g.y_h + k_first * g.y_c
            for i in range(count):
                q = q0 + i * m
                wide = min(m, g.Q - q)
                direct = whole and high == m and wide == m
                target, at, row_pitch, pixel = band, 0, m * pitch_K, pitch_K
                if direct:
                    target, at, row_pitch, pixel = y, origin + q * g.y_w, g.y_h, g.y_w
                elif convert:
                    at, row_pitch = i * m * pitch_K, width * pitch_K
                for k in range(0, valid if direct else pitch_K, lanes):
                    transform_output(
                        Z, t * pitch_K + k, n * pitch_Z, pitch_Z, bias, k_first + k, floor, target, at + k, row_pitch, pixel
                    )  # fmt: skip
                if not direct and not convert:
                    for i_p in range(high):
                        for i_q in range(wide):
                            to = origin + i_p * g.y_h + (q + i_q) * g.y_w
                            pixels = y[to : to + valid]
                            results = band[(i_p * m + i_q) * pitch_K : (i_p * m + i_q) * pitch_K + valid]
                            for k in range(pixels.size):
                                pixels[k] = results[k]
                t += 1
            if convert:
                for i_p in range(high):
                    pixels = band[i_p * width * pitch_K : (i_p + 1) * width * pitch_K]
                    unpack_rows(
                        pixels, pitch_K, valid, y, origin + i_p * g.y_h + q0 * g.y_w, g.y_c, g.y_h, g.y_w, 1, min(count * m, g.Q - q0)
                    )

    @kernel(specialisation=(m, shape, dtype.str))
    def correlate_units(job, geometry, filters, local, x, weight, bias, y):
        g = geometry[0]
        batch, split = job // g.splits, job % g.splits
        first, last = batch * g.units // g.batches, (batch + 1) * g.units // g.batches
        k_first, k_last = split * g.blocks // g.splits, (split + 1) * g.blocks // g.splits
        T = (last - first) * g.length  # the last unit of a row may be shorter: T is where its tiles would end
        pitch_C, group = g.padded_C, min(g.group, k_last - k_first)
        pitch_V, pitch_Z, pitch_U = T * pitch_C + PAD, T * group * block + PAD, g.C * block + PAD
        V, Z = empty(n * n * pitch_V), empty(n * n * pitch_Z)
        U = empty(n * n * pitch_U) if local[0] else weight
        # Bounds. V and Z have room for T tiles, `used` <= T of them, of padded_C channels and of the blocks of a group; U, or the packed
        # weight, and the bias have whole blocks. `store_units` writes whole vectors into y only where y has all of them and all pixels.
        zeros = np.empty(block, x.dtype)
        clear(zeros, 0, block)
        transform_units(geometry, x, 0, g.C, V, pitch_C, pitch_V, 0, first, last)
        used = tiles_of_units(geometry, first, last)
        tiles = -(-used // height)
        for k0 in range(k_first, k_last, group):
            k1 = min(k0 + group, k_last)
            pitch_K = (k1 - k0) * block
            if local[0]:
                for c in range(0, g.C, CHUNK):
                    transform_filters(filters, weight, k0, c, U, 0, pitch_U)
            for e in range(n * n):
                for k in range(k0, k1):
                    t = 0
                    for i in range(tiles):
                        tall = -(-(used - t) // (tiles - i))
                        xo, yo = e * pitch_V + t * pitch_C, e * pitch_Z + t * pitch_K + (k - k0) * block
                        wo = e * pitch_U if local[0] else (e * g.blocks + k) * g.C * block
                        tile(tall, V, xo, pitch_C, 0, 1, U, wo, 0, block, zeros, 0, 0, 0, Z, yo, pitch_K, 1, g.C)
                        t += tall
            store_units(geometry, Z, pitch_Z, bias, y, first, last, k0 * block, pitch_K)

    return correlate_units


def effort(K: int, C: int, pixels: tuple[int, int, int], itemsize: int, m: int, packed: bool = False) -> float:
    """Return an estimate of the time of a correlation with `pixels` (N, P, Q) of output, in full vector multiply-adds."""
    n, shape = m + TAPS - 1, tile_shape(K, itemsize)
    width = machine.lanes(itemsize)
    C_padded, K_padded = -(-C // shape.lanes) * shape.lanes, -(-K // shape.block) * shape.block
    N, P, Q = pixels
    tiles = N * -(-P // m) * -(-Q // m)
    products = n * n * tile_effort(K, tiles) * (C + _STORE)
    transforms = _TRANSFORM[m] * tiles * (C_padded + K_padded) / width
    filters = (_READ * n * n if packed else _FILTERS[m]) * C * K_padded / width
    return products + transforms + filters


# Cycles of one vector through a transform of the image (there and back are alike), and of a filter, both measured on Zen 4.
_TRANSFORM = {2: 60.0, 4: 220.0}
_FILTERS = {2: 90.0, 4: 160.0}
_STORE = 4  # terms of a sum that storing it costs: much where a first layer sums 3
_READ = 12.0  # cycles of one vector of prepared filters on its way from memory: 512 to 512 channels are 16 or 36 MiB of them


def output_tile(K: int, C: int, pixels: tuple[int, int, int], itemsize: int, packed: bool = False) -> int:
    """Return the m of F(m x m) that takes less time."""
    return min((2, 4), key=lambda m: effort(K, C, pixels, itemsize, m, packed))
