"""The loops around the bfloat16 tile for forward and backward-input: `engine.correlate` with words of two channels in place of floats.

Small images with padding multiply much with its zeros: 19 % of a 3 x 3 convolution of 7 x 7 pixels, 31 % of 4 x 4. Of prepared weights it
is known whether all are finite; if so kernel rows above and below the image are left out, and where it pays ("trimmed") the taps beside it
too: the tiles then add one kernel column after the other to y.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ... import bf16
from ...engine.correlate import GEOMETRY, Geometry, _cut
from ...engine.filters import Filters, record
from ...engine.packing import row_unpacker
from ...engine.words import FLOAT32, block_packer, filter_packer, word_packer
from ...jit import Kernel, kernel
from ...machine import TileShape, tile_shape

_RESIDENT_BYTES = 512 * 1024  # of weights: half of a 1 MiB L2
_FEW_CALLS = 32  # of the tile with the same block of weights
_CALL = 30  # accumulators that could be loaded and stored in the time of a call


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
    g = g._replace(skip=int(packed), trim=int(packed and _trims(g, shape.height)), ahead=int(_ahead(g, shape)))
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


def _ahead(g: Geometry, shape: TileShape) -> bool:
    """Whether tiles should fetch the next block's weights, which few tiles read: their way through the caches would show."""
    calls, words = g.rows * -(-g.width // shape.height), g.blocks * shape.block * g.R * g.S * -(-g.C // 2)
    return calls < _FEW_CALLS and 4 * words > _RESIDENT_BYTES and not g.local


def _trims(g: Geometry, height: int) -> bool:
    """Whether leaving out taps beside the image spares twice what more calls and sums that pass through y cost."""
    centre = max(0, g.left)  # this tap must have a pixel of the image for every pixel of y, which it is the last to write
    if centre >= g.S or (g.Q - 1) * g.stride_w + centre - g.left >= g.W:
        return False
    spared = (1 - share_inside(g.Q, g.S, g.stride_w, g.left, g.W)) * g.Q * g.S
    return spared * g.R * -(-g.C // 2) > 2 * 2 * (g.S - 1) * (g.Q + _CALL * -(-g.Q // height))


def share_inside(Q: int, S: int, stride: int, left: int, W: int) -> float:
    """Return which share of the taps of an axis, of all pixels, lies in the image: 19 of 21 for 7 pixels and 3 taps."""
    ranges = [pixels_inside.function(s - left, stride, W, Q) for s in range(S)]
    return sum(max(0, last - first) for first, last in ranges) / max(1, Q * S)


@kernel
def taps_inside(first, H, R):
    """Return which rows (from, to) of a kernel whose first row is on row `first` of the image lie in it; all where none does."""
    above, below = max(0, -first), min(R, H - first)
    return (above, below) if above < below else (0, R)


@kernel
def pixels_inside(first, stride, W, Q):
    """Return which of Q pixels (from, to) have their tap in the image, if that of the first one lies on its column `first`."""
    return min(Q, max(0, (stride - 1 - first) // stride)), max(0, min(Q, (W - 1 - first) // stride + 1))


@functools.cache
def _kernel(shape: TileShape) -> Kernel:
    tile = bf16.tile(shape)
    pack_words, pack_block, unpack_rows = word_packer(), block_packer(shape.block), row_unpacker(FLOAT32)
    block, height, lanes, vectors = shape.block, shape.height, shape.lanes, shape.vectors

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
        # The word behind prepared weights tells whether all of them are finite.
        skips = g.skip and packed[packed.size - 1] != 0
        parts = g.S if skips and g.trim else 1
        span = reach // parts
        # Bounds. Tiles read up to ((rows - 1) * stride_h + R) * pitch of the buffer, which is its size, or parts of that.
        # Weights and bias are padded to whole blocks. Tiles write y itself only where K is whole blocks, else a scratch of whole blocks, of
        # which unpack_rows stores the first K channels. Fetching ahead goes beyond the last block, which harms nothing.
        panel = g.R * reach * block
        y_image = g.y_first + n * g.y_n + first_row * g.y_h + first_column * g.y_w + group * g.K * g.y_c
        if g.direct_out:
            target, y_row, y_pixel = y, g.y_h, g.y_w
        else:
            target, y_row, y_pixel = np.empty(rows * width * block, x.dtype), width * block, block
        start, start_m = (target, y_pixel) if parts > 1 else (bias, 0)  # here: each assignment of an array counts references
        filter_block = np.empty(panel if g.local else 0, packed.dtype)
        for k in range(k_first, k_last):
            if g.local:
                pack_block(filters, weight, group, k, filter_block, 0)
                words, w_block = filter_block, 0
            else:
                words, w_block = packed, (group * g.blocks + k) * panel
            b_block = (group * g.blocks + k) * block
            out = y_image + k * block if g.direct_out else 0
            for row in range(rows):
                r_first, r_last = taps_inside(h + row * g.stride_h, g.H, g.R) if skips else (0, g.R)
                ahead = panel + row % vectors * lanes if g.ahead else 0  # one line of `vectors` a row, then the others
                line, at = out + row * y_row, (row * g.stride_h + r_first) * pitch
                if parts > 1:  # y collects the parts, the bias first and the one that has all pixels last
                    for q in range(width):
                        pixel, first = target[line + q * y_pixel : line + q * y_pixel + block], bias[b_block : b_block + block]
                        for v in range(pixel.size):
                            pixel[v] = first[v]
                for part in range(parts):
                    s = (max(0, g.left) + 1 + part) % g.S if parts > 1 else 0
                    q, q_last = pixels_inside(w + s, g.stride_w, g.W, width) if parts > 1 else (0, width)
                    relu = g.relu if part == parts - 1 else 0
                    tiles = -(-(q_last - q) // height)
                    for t in range(tiles):
                        tall = -(-(q_last - q) // (tiles - t))  # 13 pixels become 7 + 6
                        so = line + q * y_pixel if parts > 1 else b_block
                        tile(
                            tall, image, at + q * step + s * g.pixel, step, pitch, 1,
                            words, w_block + (r_first * reach + s * depths) * block, reach * block, block, start, so, start_m, relu,
                            target, line + q * y_pixel, y_pixel, r_last - r_first, span, ahead,
                        )  # fmt: skip
                        q += tall
            if not g.direct_out:
                unpack_rows(target, block, min(block, g.K - k * block), y, y_image + k * block * g.y_c, g.y_c, g.y_h, g.y_w, rows, width)

    return correlate_band
