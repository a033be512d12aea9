"""Tiles of an image into the Winograd domain: M d M' for every tile d of a run of units, pixels outside the image being 0.

A unit is a row of tiles, or a piece of a long one. Both factors of a product come through here: the tiles of x overlap by two pixels, those
of dy lie side by side.
"""

from __future__ import annotations

import functools

import numpy as np

from ... import scratch, simd
from ...engine.packing import row_packer
from ...jit import Kernel, kernel
from ._winograd_matrices import Matrix

LONGEST = 64  # tiles of a unit
_AHEAD = 12  # vectors of channels from the fetch of a pixel to its use, of 200 cycles each: several times what memory takes
PAD = 32  # elements between the n*n matrices: a multiple of 4 KiB would put them all into one set of the L1 cache


@kernel
def tiles_of_units(tiling, first, last):
    """Return how many tiles the units first..last have; the last unit of a row may have fewer than `length`."""
    g = tiling[0]
    used = 0
    for unit in range(first, last):
        used += min(g.length, g.columns - unit % g.pieces * g.length)
    return used


@functools.cache
def unit_transformer(matrix: Matrix, m: int, block: int, lanes: int, dtype: np.dtype) -> Kernel:
    """Return a kernel that transforms channels begin..begin + C of the tiles, m pixels apart, of units first..last.

    ``transform_units(tiling, x, begin, C, V, width, pitch, panel, first, last)`` writes, for the n*n elements of tile t,
    V[c // width * panel + (i*n + j)*pitch + t*width + c % width]; channels beyond C that fill up a block are 0. `width` is whole blocks,
    or more than there are. `tiling` is a record with the size and strides of the image (C, H, W, x_n, x_c, x_h, x_w), where its first
    tile begins (-top, -left) and how it is cut (rows, columns, pieces, length).
    """
    n, size = len(matrix), len(matrix[0])
    transform = simd.two_sided(matrix, lanes, dtype)
    pack_rows = row_packer(dtype)
    fetch, empty = simd.prefetch(for_writing=False, level=2), scratch.allocator(dtype)

    @kernel(specialisation=(matrix, m, block, lanes, dtype.str))
    def transform_units(tiling, x, begin, C, V, width, pitch, panel, first, last):
        g = tiling[0]
        convert = g.x_c != 1
        wide = (g.length - 1) * m + size
        padded = (C + block - 1) // block * block
        in_place = not convert and padded == C
        band = empty(size * (wide if convert else size) * padded)
        zeros = np.zeros(lanes, x.dtype)
        distance = (_AHEAD * lanes + padded - 1) // padded
        t = 0
        for unit in range(first, last):
            image, row, start = unit // (g.rows * g.pieces), unit // g.pieces % g.rows, unit % g.pieces * g.length
            count = min(g.length, g.columns - start)
            origin = image * g.x_n + begin * g.x_c
            h, w0 = row * m - g.top, start * m - g.left
            for i in range(count):
                w = w0 + i * m
                direct = in_place and h >= 0 and h + size <= g.H and w >= 0 and w + size <= g.W
                if not direct and (i == 0 or not convert):  # planes are converted a unit at a time, rims of pixels a tile at a time
                    columns = wide if convert else size
                    pack_rows(x, origin, g.x_c, g.x_h, g.x_w, g.H, g.W, C, h, w, band, size, columns, padded)
                source, at, row_pitch, pixel = band, 0, size * padded, padded
                if direct:
                    source, at, row_pitch, pixel = x, origin + h * g.x_h + w * g.x_w, g.x_h, g.x_w
                elif convert:
                    at, row_pitch = i * m * padded, wide * padded
                # A later tile of this row or the next is fetched, its last m columns: images that come from memory are 20 % faster.
                later = i + distance
                down, right = (h, w0 + later * m) if later < count else (h + m, w0 + (later - count) * m)
                ahead = origin + down * g.x_h + (right + size - m) * g.x_w
                for c in range(0, padded, lanes):
                    out = c // width * panel + t * width + c % width
                    transform(source, at + c, row_pitch, pixel, zeros, 0, -np.inf, V, out, n * pitch, pitch)
                    if not convert:
                        for i_h in range(size):
                            fetch(x, ahead + i_h * g.x_h + c, g.x_w, m)
                t += 1

    return transform_units
