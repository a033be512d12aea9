"""Correlations on the tiles of amx.py: `correlate` with words in place of floats and 16 pixels x 16 channels in place of its tile.

A job copies its rows of the image into words, padded as the tiles want them, and runs over them. What a word holds and how many make a step
of the reduction is a choice (`Steps`): two channels of a pixel, a tap a step or, of thin pixels, several; or one channel in two rows that
follow one another, for images of a few channels. The last tile of a line begins early enough to end with it: some pixels are computed
twice, none is padded.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import amx, bf16
from ..jit import Kernel, kernel
from ..machine import TileShape
from .correlate import GEOMETRY, Geometry, _cut
from .filters import Filters, all_taps
from .matrix import table_of
from .packing import clear, row_unpacker
from .words import FLOAT32, filter_packer, pair_packer, word_packer


class Steps(NamedTuple):
    """The reduction of a correlation in steps of the tiles."""

    by_rows: int  # 1: a word is a pixel's number in this row and in the next; 0: two channels
    inputs: int  # channels with those that are filled up with zeros
    taps: int  # outer steps
    steps: int  # inner steps of each
    words: int  # of an inner step
    step: int  # words from one to the next
    pixel: int  # words from pixel to pixel
    odd: int  # 1: the last outer step is a row without a partner
    height: int = 0  # pixels of a tile
    tiles: int = 0  # of a run of columns


STEPS = np.dtype([(name, np.int64) for name in Steps._fields])
_SHAPE = TileShape(amx.TILE, 2, amx.TILE)
_WHOLE, _STRADDLING = 36.0, 60.0  # cycles of a step whose rows begin on lines of the cache, or lie across them


def steps_of(C: int, R: int, S: int, forward: bool = True) -> Steps:
    """Return the cheapest steps; the taps of other filters than a `forward` correlation's are not taken by rows."""
    words = -(-C // 2)
    if words > amx.TILE:
        pixel = -(-C // (2 * amx.TILE)) * amx.TILE
        apart = pixel + (amx.TILE if S == 1 and pixel % 1024 == 0 else 0)  # 4 KiB: all rows of a tile in one set of the L1 cache
        return Steps(0, 2 * pixel, R, S * pixel // amx.TILE, amx.TILE, amx.TILE, apart, 0)
    pixel = 1 << (words - 1).bit_length()  # never across lines
    choices = [(R * S * _WHOLE, Steps(0, C, R, S, words, pixel, pixel, 0))]
    count = _parts(S * words)
    choices.append((R * count * _STRADDLING, Steps(0, C, R, count, S * words // count, S * words // count, words, 0)))
    if forward and R > 1:
        count, taps = _parts(S * C), -(-R // 2)
        choices.append((taps * count * _STRADDLING, Steps(1, C, taps, count, S * C // count, S * C // count, C, R % 2)))
    return min(choices)[1]


def _parts(words: int) -> int:
    """Return the smallest number of equal parts of so many words that fit a step."""
    return next(count for count in range(-(-words // amx.TILE), words + 1) if words % count == 0)


def effort(g: Geometry, forward: bool = True) -> float:
    """Return the vector multiply-adds of float32 in whose time a correlation runs, without its weights; measured."""
    s = steps_of(g.C, g.R, g.S, forward)
    tiles = g.N * g.P * -(-g.Q // amx.TILE) * -(-g.K // amx.TILE) * s.taps * s.steps
    return 30.0 * tiles + 0.75 * g.N * (g.H * g.W * s.pixel + g.P * g.Q * g.K) + 20_000


def tiled(geometry: Geometry, steps: Steps) -> tuple[Geometry, Steps]:
    """Return a correlation with its jobs and the tiles of their lines."""
    g = _cut(geometry, _SHAPE, 2, True)
    g = g._replace(pixel=steps.pixel, direct_out=int(g.y_c == 1))
    tiles = -(-g.width // amx.TILE)
    return g, steps._replace(height=-(-g.width // tiles), tiles=tiles)


def records(g: Geometry, s: Steps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the geometry, the steps and the tile configurations as kernels read them."""
    return np.array([g], GEOMETRY), np.array([s], STEPS), table_of(s.height, g.K, s.words)


def work_of(g: Geometry) -> float:
    """Return the units of work of a correlation: mostly copies."""
    return 8.0 * g.N * (g.H * g.W * g.C + g.P * g.Q * g.K) + g.N * g.P * g.Q * g.K * g.C * g.R * g.S / 8


def weight_packer(filters: Filters, steps: Steps) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from a flat weight to words in blocks of 16 outputs, as `filter_packer` orders them."""
    K, C, R, S = filters[:4]
    if steps.by_rows:
        pack_twice = filter_packer(all_taps((K, 2 * C, steps.taps, S)), amx.TILE)

        def pack_rows(weight: np.ndarray) -> np.ndarray:
            taps, doubled = weight.reshape(K, C, R, S), np.zeros((K, C, 2, steps.taps, S), FLOAT32)
            doubled[:, :, 0], doubled[:, :, 1, : R // 2] = taps[:, :, ::2], taps[:, :, 1::2]
            return pack_twice(doubled.reshape(-1))

        return pack_rows
    missing = steps.inputs - filters.inputs
    if not missing:
        return filter_packer(filters, amx.TILE)
    wide = filters._replace(K=steps.inputs) if filters.swapped else filters._replace(C=steps.inputs)
    pack_wide = filter_packer(wide, amx.TILE)

    def pack_padded(weight: np.ndarray) -> np.ndarray:
        padding = [(0, missing), (0, 0)] if filters.swapped else [(0, 0), (0, missing)]
        return pack_wide(np.pad(weight.reshape(K, C, R, S), [*padding, (0, 0), (0, 0)]).reshape(-1))

    return pack_padded


def correlation(geometry: Geometry, filters: Filters, packed: bool = False) -> Callable[..., None]:
    """Return a function ``(x, weight, bias, y)`` on flat float32 arrays that runs a correlation; for the threads that the caller has now.

    `weight` is the operation's, or comes `packed` by `weight_packer`; `bias` may be None. There are no groups.
    """
    if geometry.N * geometry.P * geometry.Q == 0:
        return lambda *_: None
    steps = steps_of(geometry.C, geometry.R, geometry.S, not filters.swapped)
    g, s = tiled(geometry, steps)
    fixed, words, zeros = records(g, s), np.empty(0, np.int32), np.zeros(g.K, FLOAT32)
    run = _kernel().bound(g.N * g.bands * g.chunks * g.splits, *fixed, zeros, words, zeros, zeros, work=work_of(g))
    pack = None if packed else weight_packer(filters, steps)

    def correlate(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray) -> None:
        run(*fixed, x, weight if pack is None else pack(weight), zeros if bias is None else bias, y)

    return correlate


@kernel
def image_words(geometry, steps, rows, columns):
    """Return (words of the image that so many rows of the output meet, words from the last row with a partner to its own copy without)."""
    g, s = geometry[0], steps[0]
    pitch = columns * s.pixel
    if not s.by_rows:
        return ((rows - 1) * g.stride_h + g.R) * pitch, 0
    paired = (rows - 1) * g.stride_h + 2 * (s.taps - s.odd) - 1
    if not s.odd:
        return paired * pitch, 0
    return (paired + (rows - 1) * g.stride_h + 1) * pitch, (paired - 2 * (s.taps - 1)) * pitch


@functools.cache
def image_packer() -> Kernel:
    """Return a kernel that copies the pixels that `rows` rows of the output meet into words, from (row h, column w) of the image at x[at].

    ``pack(geometry, steps, x, at, h, w, image, rows, columns)``. Rows of numbers that are paired with the next row's are followed, where
    the kernel has a row without a partner, by the rows that this one meets, paired with zeros.
    """
    pack_words, pack_pair, pairs = word_packer(), pair_packer(), bf16.pairs()

    @kernel
    def pack_image(geometry, steps, x, at, h, w, image, rows, columns):
        g, s = geometry[0], steps[0]
        if not s.by_rows:
            if s.inputs != g.C:  # what a pixel has beyond its channels meets weights of 0, which must not find NaN there
                clear(image, 0, image.size)
            pack_words(x, at, g.x_c, g.x_h, g.x_w, g.H, g.W, g.C, h, w, image, (rows - 1) * g.stride_h + g.R, columns, s.pixel)
            return
        pitch = columns * g.C
        paired = (rows - 1) * g.stride_h + 2 * (s.taps - s.odd) - 1
        single = (rows - 1) * g.stride_h + 1 if s.odd else 0
        follow = g.x_c == 1 and g.x_w == g.C and g.x_h == pitch and w == 0 and h >= 0
        if follow and h + paired < g.H and (not s.odd or h + 2 * s.taps - 2 + single <= g.H):  # whole rows of the image
            begin, none = at + h * g.x_h, np.zeros(single * pitch, x.dtype)
            pairs(x, begin, x, begin + g.x_h, paired * pitch, image, 0)
            pairs(x, begin + (2 * s.taps - 2) * g.x_h, none, 0, single * pitch, image, paired * pitch)
            return
        scratch, none = np.empty(0 if g.x_c == 1 else 2 * pitch, x.dtype), np.zeros(g.C, x.dtype)
        for i in range(paired + single):
            row, partner = (h + i, at) if i < paired else (h + 2 * s.taps - 2 + i - paired, -1)
            pack_pair(
                x, at, partner, g.x_c, g.x_h, g.x_w, g.H, g.W, g.C, row, row + 1, w, columns, scratch, none, image, i * pitch, g.C, g.C, 0
            )

    return pack_image


@functools.cache
def line_of() -> Kernel:
    """Return a kernel ``copy(values)``: the same values on a cache line, where tiles begin with them."""
    empty = amx.aligned()

    @kernel(inline=True)
    def copy(values):
        line = empty(values.size).view(np.float32)
        for i in range(line.size):
            line[i] = values[i]
        return line

    return copy


@functools.cache
def row_multiplier() -> Kernel:
    """Return a kernel that correlates rows of an `image_packer`'s image with pairs of blocks of output channels.

    ``multiply(geometry, steps, table, image, pitch, last, first, rows, k_first, k_last, weight, start, y, to, y_h, y_w)``: image rows are
    `pitch` words apart, those without a partner `last` words further on; `first` is a row of the output.
    """
    configure, product = amx.configure(), amx.product()

    @kernel
    def multiply_rows(geometry, steps, table, image, pitch, last, first, rows, k_first, k_last, weight, start, y, to, y_h, y_w):
        g, s = geometry[0], steps[0]
        units, panel = rows * s.tiles, s.taps * s.steps * s.words * 16
        row_step, pixel_step = g.stride_h * pitch, g.stride_w * s.pixel
        # Bounds. The last tile of a line begins at width - height. A step reads `words` of a pixel's, or of a run's of S pixels. The last
        # pair of blocks has tiles of what is left of K, for which the packed weights are whole blocks.
        for k in range(k_first, k_last):
            configure(table, 1 if k == g.blocks - 1 else 0)
            wide, panels, columns = (2 if g.K - k * 32 > 16 else 1), (2 * k * panel, (2 * k + 1) * panel), (32 * k, 32 * k)
            for u in range(0, units, 2):
                other = min(u + 1, units - 1)
                row0, row1 = u // s.tiles, other // s.tiles
                q0, q1 = min(u % s.tiles * s.height, g.width - s.height), min(other % s.tiles * s.height, g.width - s.height)
                a0, a1 = (first + row0) * row_step + q0 * pixel_step, (first + row1) * row_step + q1 * pixel_step
                product(
                    min(2, units - u), wide, image, (a0, a1),
                    (pixel_step, (1 + s.by_rows) * pitch, s.step, last),
                    weight, panels, (16, s.steps * s.words * 16, s.words * 16), start, columns,
                    y, (to + 32 * k + row0 * y_h + q0 * y_w, to + 32 * k + row1 * y_h + q1 * y_w), (y_w, 16, 0), s.taps, s.steps,
                )  # fmt: skip

    return multiply_rows


@functools.cache
def _kernel() -> Kernel:
    pack_image, multiply_rows, unpack_rows = image_packer(), row_multiplier(), row_unpacker(FLOAT32)
    empty, copy, release = amx.aligned(), line_of(), amx.release()

    @kernel
    def correlate_tiles(job, geometry, steps, table, x, weight, bias, y):
        g, s = geometry[0], steps[0]
        split, unit = job % g.splits, job // g.splits
        chunk, unit = unit % g.chunks, unit // g.chunks
        band, n = unit % g.bands, unit // g.bands
        first_row, first_column = band * g.rows, min(chunk * g.width, g.Q - g.width)
        rows = min(g.rows, g.P - first_row)
        k_first, k_last = split * g.blocks // g.splits, (split + 1) * g.blocks // g.splits
        columns = (g.width - 1) * g.stride_w + g.S
        pitch, (size, last) = columns * s.pixel, image_words(geometry, steps, rows, columns)
        image, start = empty(size), copy(bias)
        most = y.dtype.type(6 if g.relu == 2 else np.inf)
        at, h, w = g.x_first + n * g.x_n, first_row * g.stride_h - g.top, first_column * g.stride_w - g.left
        pack_image(geometry, steps, x, at, h, w, image, rows, columns)
        y_image = g.y_first + n * g.y_n + first_row * g.y_h + first_column * g.y_w
        if g.direct_out:
            multiply_rows(geometry, steps, table, image, pitch, last, 0, rows, k_first, k_last, weight, start, y, y_image, g.y_h, g.y_w)
            release()
            if g.relu:
                k, end = k_first * 32, min(g.K, k_last * 32)
                for row in range(rows):
                    for q in range(g.width):
                        to = y_image + row * g.y_h + q * g.y_w
                        rectify(y, to + k, to + end, most)
            return
        channels = np.empty(rows * g.width * g.K, y.dtype)
        multiply_rows(geometry, steps, table, image, pitch, last, 0, rows, k_first, k_last, weight, start, channels, 0, g.width * g.K, g.K)
        release()
        if g.relu:
            rectify(channels, 0, channels.size, most)
        for k in range(k_first * 32, min(g.K, k_last * 32), 32):
            unpack_rows(channels[k:], g.K, min(32, g.K - k), y, y_image + k * g.y_c, g.y_c, g.y_h, g.y_w, rows, g.width)

    return correlate_tiles


@kernel(inline=True)
def rectify(y, first, last, most):
    """Set what is below 0 in y[first:last] to 0, and what is above `most` to that; NaN stays."""
    part, zero = y[first:last], y.dtype.type(0)
    for i in range(part.size):
        raised = zero if part[i] < zero else part[i]
        part[i] = most if raised > most else raised
