"""The loops around the bfloat16 tile for forward and backward-input: `engine.correlate` with words of two channels in place of floats.

Rows of 7 pixels, or of 4, fill no tile of 14, and every tile reads the weights anew. Where that matters the S taps of a kernel row are laid
side by side for each pixel ("joined"): pixels and rows then have one distance, p * Q + q, and tiles pass over the ends of rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ... import bf16
from ...engine.correlate import GEOMETRY, Geometry, _cut
from ...engine.filters import Filters, record
from ...engine.packing import row_unpacker
from ...jit import Kernel, kernel
from ...machine import TileShape, tile_shape
from ._bfloat16_packing import FLOAT32, block_packer, filter_packer, join_taps, word_packer

_JOINED_BYTES = 256 * 1024  # as engine.correlate's buffers: a quarter of a 1 MiB L2


def correlation(geometry: Geometry, filters: Filters, packed: bool = False) -> Callable[..., None]:
    """Return a function ``(x, weight, bias, y)`` on flat float32 arrays that runs a correlation; for the threads that the caller has now.

    `weight` is the operation's (K, C, R, S), or comes `packed` by `weight_packer`; `bias` may be None.
    """
    if geometry.N * geometry.P * geometry.Q == 0:
        return lambda *_: None
    shape = tile_shape(geometry.K, 4)
    g = _cut(geometry, shape, 2, packed)
    depths = -(-g.C // 2)
    # 4 KiB from pixel to pixel would put a tile's rows into one set of the L1 cache.
    g = g._replace(in_place=0, pixel=depths + (16 if g.S == 1 and depths % 1024 == 0 else 0))
    g = g._replace(joined=int(_joins(g, shape)), skip=int(packed))
    fixed, taps, nothing, floats = np.array([g], GEOMETRY), record(filters), np.empty(0, np.int32), np.empty(0, FLOAT32)
    jobs = g.N * g.groups * g.bands * g.chunks * g.splits
    flops = 2.0 * g.N * g.groups * g.K * g.P * g.Q * g.C * g.R * g.S
    run = _kernel(shape).bound(jobs, fixed, taps, floats, floats, nothing, floats, floats, work=flops)
    pack = None if packed or g.local else filter_packer(filters, shape.block, g.groups)
    padded_K = g.blocks * shape.block
    zeros = np.zeros(g.groups * padded_K, FLOAT32)

    def correlate(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray) -> None:
        if bias is None:
            bias = zeros
        elif padded_K != g.K:
            bias = np.pad(bias.reshape(g.groups, g.K), ((0, 0), (0, padded_K - g.K))).reshape(-1)
        if packed:
            run(fixed, taps, x, floats, weight, bias, y)
        else:
            run(fixed, taps, x, weight, nothing if pack is None else pack(weight), bias, y)

    return correlate


def _joins(g: Geometry, shape: TileShape) -> bool:
    """Whether tiles that span rows are fewer, and their pixels fit the L2 cache beside a block of weights."""
    fewer = -(-g.rows * g.Q // shape.height) < g.rows * -(-g.Q // shape.height)
    possible = g.stride_h == 1 and g.chunks == 1 and (not g.direct_out or g.y_h == g.Q * g.y_w)
    step = g.S * g.pixel * 4  # 4 KiB from pixel to pixel would put them into one set of the L1 cache
    return fewer and possible and step % 4096 != 0 and (g.rows + g.R - 1) * g.Q * step <= _JOINED_BYTES


@kernel
def taps_inside(first, H, R):
    """Return which rows (from, to) of a kernel whose first row is on row `first` of the image lie in it; all where none does."""
    above, below = max(0, -first), min(R, H - first)
    return (above, below) if above < below else (0, R)


@functools.cache
def _kernel(shape: TileShape) -> Kernel:
    tile = bf16.tile(shape)
    pack_words, pack_block, unpack_rows = word_packer(), block_packer(shape.block), row_unpacker(FLOAT32)
    block, height = shape.block, shape.height

    @kernel(specialisation=shape)
    def correlate_band(job, geometry, filters, x, weight, packed, bias, y):
        g = geometry[0]
        split, unit = job % g.splits, job // g.splits
        chunk, unit = unit % g.chunks, unit // g.chunks
        band, unit = unit % g.bands, unit // g.bands
        group, n = unit % g.groups, unit // g.groups
        first_row, first_column = band * g.rows, chunk * g.width
        rows, width = min(g.rows, g.P - first_row), min(g.width, g.Q - first_column)
        k_first, k_last = split * g.blocks // g.splits, (split + 1) * g.blocks // g.splits
        at = g.x_first + group * g.C * g.x_c + n * g.x_n
        h, w = first_row * g.stride_h - g.top, first_column * g.stride_w - g.left
        columns, needed = (width - 1) * g.stride_w + g.S, (rows - 1) * g.stride_h + g.R
        image, pitch = np.empty(needed * columns * g.pixel, packed.dtype), columns * g.pixel
        pack_words(x, at, g.x_c, g.x_h, g.x_w, g.H, g.W, g.C, h, w, image, needed, columns, g.pixel)
        depths = (g.C + 1) // 2
        reach, step = g.S * depths, g.stride_w * g.pixel
        if g.joined:
            image = join_taps(image, needed, pitch, width, step, reach)
            step, pitch = reach, width * reach
        skips = g.skip and packed[packed.size - 1]
        # Bounds. Tiles read up to ((rows - 1) * stride_h + R) * pitch of the buffer, which is its size; joined, kernel row r of pixel m
        # begins at r * pitch + m * reach, and (R - 1) * width + rows * width pixels are needed * width, its size. Weights and bias are
        # padded to whole blocks. Tiles write y itself only where K is whole blocks, else a scratch of whole blocks, of which unpack_rows
        # stores the first K channels.
        panel = g.R * reach * block
        y_image = g.y_first + n * g.y_n + first_row * g.y_h + first_column * g.y_w + group * g.K * g.y_c
        if g.direct_out:
            target, y_row, y_pixel = y, g.y_h, g.y_w
        else:
            target, y_row, y_pixel = np.empty(rows * width * block, x.dtype), width * block, block
        filter_block = np.empty(panel if g.local else 0, packed.dtype)
        for k in range(k_first, k_last):
            if g.local:
                pack_block(filters, weight, group, k, filter_block, 0)
                words, w_block = filter_block, 0
            else:
                words, w_block = packed, (group * g.blocks + k) * panel
            out = y_image + k * block if g.direct_out else 0
            row = 0
            while row < rows:
                r_first, r_last = taps_inside(h + row * g.stride_h, g.H, g.R) if skips else (0, g.R)
                below = row + 1
                while g.joined and below < rows and (not skips or taps_inside(h + below, g.H, g.R) == (r_first, r_last)):
                    below += 1
                length = (below - row) * width
                tiles = -(-length // height)
                q = 0
                for t in range(tiles):
                    tall = -(-(length - q) // (tiles - t))  # 13 pixels become 7 + 6
                    tile(
                        tall, image, (row * g.stride_h + r_first) * pitch + q * step, step, pitch, 1,
                        words, w_block + r_first * reach * block, reach * block, block, bias, (group * g.blocks + k) * block, 0, g.relu,
                        target, out + row * y_row + q * y_pixel, y_pixel, r_last - r_first, reach,
                    )  # fmt: skip
                    q += tall
                row = below
            if not g.direct_out:
                unpack_rows(target, block, min(block, g.K - k * block), y, y_image + k * block * g.y_c, g.y_c, g.y_h, g.y_w, rows, width)

    return correlate_band
