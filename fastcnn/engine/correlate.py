"""The loops around the tile for forward and backward-input: a stride-s correlation of an image with packed weights.

Work is cut into jobs: an image of a group, a band of its output rows, a run of columns, and a run of blocks of output channels. A job
copies the input pixels that it needs into a padded channels-last buffer (unless they lie in x as the tiles want them) and runs its
blocks over it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import checks, machine, simd
from ..jit import Kernel, kernel
from ..machine import TileShape, tile_shape, tile_speed
from .filters import Filters, block_packer, filter_packer, record
from .packing import row_packer, row_unpacker


class Geometry(NamedTuple):
    """A correlation: y[n,k,p,q] += x[n, c, p*stride_h + r - top, q*stride_w + s - left] * w[k,c,r,s], strides in elements.

    `top` and `left` may be negative (the rim is cropped). x and y begin at elements `x_first` and `y_first`, so that they may be one
    phase of an image. C and K count the channels of one group. What follows `skip` is filled in by `correlate`.
    """

    N: int
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
    y_first: int
    y_n: int
    y_c: int
    y_h: int
    y_w: int
    groups: int = 1
    relu: int = 0  # 1: results are raised to 0; 2: and limited to 6
    add: int = 0  # 1: results are added to an array like y, before that
    skip: int = 0  # 1: kernel rows outside of the image are left out, instead of multiplied with zeros
    rows: int = 0  # output rows of a job
    bands: int = 0  # jobs of an image's height
    width: int = 0  # output columns of a job
    chunks: int = 0  # jobs of an image's width
    blocks: int = 0  # of output channels
    splits: int = 0  # jobs of these
    pixel: int = 0  # elements from pixel to pixel of what the tiles read
    in_place: int = 0  # 1: tiles read x itself
    direct_out: int = 0  # 1: tiles write y itself
    local: int = 0  # 1: `weight` is not packed yet; each job packs its blocks
    together: int = 1  # blocks that a run of pixels meets one after the other
    depth: int = 0  # kernel rows that are summed in one go
    trim: int = 0  # 1: as `skip` for taps beside the image (bfloat16 only)
    ahead: int = 0  # 1: tiles fetch the next block of weights (bfloat16 only)


GEOMETRY = np.dtype([(name, np.int64) for name in Geometry._fields])
_BUFFER_BYTES = 256 * 1024  # input pixels of a job: half of a small L2, the other half is for weights and output
_OUTPUT_BYTES = 512 * 1024  # written by a job, about: half of a 1 MiB L2
_LONGEST_SUM = 3072  # terms; longer ones are sums of sums, a kernel row each: 4,608 in one go round to 1.2e-6, in three to half of it
_FILTER_BYTES = 128 * 1024  # that a tile finds in L2, as it asks for them ahead; more would push pixels and results out of a small one
_FAR_BYTES = 32  # of the next weights are asked for in each step of a sum: about what memory delivers meanwhile
_JOBS = 4  # per thread, at least, where an image can be cut: the last ones to finish then wait little


def geometry_of(
    sizes: tuple[int, int, int, int, int, int],
    x: tuple[tuple[int, ...], bool],
    y: tuple[tuple[int, ...], bool],
    groups: int = 1,
    relu: int = 0,
) -> Geometry:
    """Return the geometry of (R, S, stride_h, stride_w, top, left) from x to y, each (its shape, whether its memory is channels-last)."""
    (N, C, H, W), (_, K, P, Q) = x[0], y[0]
    R, S, stride_h, stride_w, top, left = sizes
    return Geometry(
        N, C // groups, H, W, 0, *checks.strides_of(*x), K // groups, R, S, stride_h, stride_w, top, left, P, Q,
        0, *checks.strides_of(*y), groups, int(relu),
    )  # fmt: skip


def tile_effort(outputs: int, pixels: int) -> float:
    """Return the vector multiply-adds (float32) per term of the sums of `outputs` channels of `pixels`; narrow tiles count as slower."""
    shape = tile_shape(outputs, 4)
    return pixels * -(-outputs // shape.block) * shape.block / machine.lanes(4) / tile_speed(shape, 4)


def block_of(outputs: int, itemsize: int) -> int:
    """Return the output channels of one tile where a correlation has `outputs` of them; weights are packed in such blocks."""
    return tile_shape(outputs, itemsize).block


def correlation(geometry: Geometry, filters: Filters, dtype: np.dtype, packed: bool = False) -> Callable[..., None]:
    """Return a function ``(x, weight, bias, y)`` on flat arrays that runs a correlation; for the threads that the caller has now.

    `weight` is the operation's (K, C, R, S), or comes `packed` for `block_of` its outputs; `bias` may be None. With ``geometry.add`` the
    function takes a fifth array, in the memory format of y, to which the results are added.
    """
    if geometry.N * geometry.P * geometry.Q == 0:
        return lambda *_: None
    shape = tile_shape(geometry.K, dtype.itemsize)
    g = _cut(geometry, shape, dtype.itemsize, packed)
    if g.add and not g.direct_out:
        return _added_afterwards(correlation(geometry._replace(relu=0, add=0), filters, dtype, packed), g.relu)
    jobs = g.N * g.groups * g.bands * g.chunks * g.splits
    flops = 2.0 * g.N * g.groups * g.K * g.P * g.Q * g.C * g.R * g.S
    fixed, taps = np.array([g], GEOMETRY), record(filters)
    sample = np.empty(0, dtype)
    run = _kernel(shape, dtype).bound(jobs, fixed, taps, *[sample] * 5, work=flops)
    pack_before = None if packed or g.local else filter_packer(filters, shape.block, dtype, g.groups)
    padded_K = g.blocks * shape.block
    zeros = np.zeros(g.groups * padded_K, dtype)

    def correlate(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray, other: np.ndarray | None = None) -> None:
        if bias is None:
            bias = zeros
        elif padded_K != g.K:
            whole = zeros.copy()
            whole.reshape(g.groups, padded_K)[:, : g.K] = bias.reshape(g.groups, g.K)
            bias = whole
        if pack_before is not None:
            weight = pack_before(weight)
        run(fixed, taps, x, weight, bias, y if other is None else other, y)

    return correlate


def limit(y: np.ndarray, relu: int) -> None:
    """Raise an array to 0 (relu 1), and limit it to 6 (2), as the tiles do when they store."""
    if relu:
        np.maximum(y, 0, out=y)
    if relu == 2:
        np.minimum(y, 6, out=y)


def _added_afterwards(run: Callable[..., None], relu: int) -> Callable[..., None]:
    """Return a correlation with its addition in a pass of its own: where results are stored through a scratch."""

    def correlate(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray, other: np.ndarray) -> None:
        run(x, weight, bias, y)
        with np.errstate(over="ignore", invalid="ignore"):
            np.add(y, other, out=y)
        limit(y, relu)

    return correlate


def _cut(geometry: Geometry, shape: TileShape, itemsize: int, packed: bool) -> Geometry:
    """Return the geometry with its jobs: bands whose pixels stay in L2, and enough of them for all threads."""
    g = as_lines(geometry) if geometry.R == geometry.S == 1 else geometry
    columns = (g.Q - 1) * g.stride_w + g.S
    inside = g.top <= 0 and g.left <= 0 and (g.P - 1) * g.stride_h + g.R - g.top <= g.H and columns - g.left <= g.W
    # 4 KiB from pixel to pixel would put a tile's rows into one set of the L1 cache.
    thrashes = g.S == 1 and g.x_w * g.stride_w * itemsize % 4096 == 0
    in_place = inside and g.x_c == 1 and (g.x_w == g.C or g.S == 1) and not thrashes
    pixel = g.x_w if in_place else g.C + (64 // itemsize if thrashes else 0)
    budget = _BUFFER_BYTES // (g.C * itemsize)  # pixels
    width = g.Q
    if g.P == 1 or columns * g.R > 2 * budget:
        width = min(g.Q, max(4 * shape.height, (budget // g.R - g.S) // g.stride_w + 1))
    rows = max(1, min(g.P, (budget // ((width - 1) * g.stride_w + g.S) - g.R) // g.stride_h + 1))
    blocks = -(-g.K // shape.block)
    direct_out = g.y_c == 1 and g.K % shape.block == 0
    # Its results should lie in L2 until every block of channels is stored, and one block until it is transposed.
    written = width * (g.K if direct_out else shape.block) * itemsize
    rows = max(1, min(rows, _OUTPUT_BYTES // written))
    if g.P == 1:
        width = max(min(g.Q, 4 * shape.height), min(width, width * _OUTPUT_BYTES // written))
    units, splits = g.N * g.groups, 1
    wanted = _JOBS * machine.get_threads() if machine.get_threads() > 1 else 1
    bands, chunks = -(-g.P // rows), -(-g.Q // width)
    if units * bands * chunks < wanted:
        shortest = 4 if g.R > 1 and not in_place else 1  # a short band copies its neighbours' rows again
        bands = max(bands, min(-(-g.P // shortest), -(-wanted // (units * chunks))))
        if g.P == 1:
            chunks = max(chunks, min(-(-g.Q // (2 * shape.height)), -(-wanted // units)))
        if units * bands * chunks < wanted:
            splits = min(blocks, -(-wanted // (units * bands * chunks)))
    rows, width = -(-g.P // bands), -(-g.Q // chunks)
    bands, chunks = -(-g.P // rows), -(-g.Q // width)
    # Short sums are bound by storing them. Pixels are then stored whole: half of each, and the other half when the band is through, took
    # 1.4 times as long where the results lie in memory (VGG's first layer).
    together = blocks if direct_out and g.R * g.S * g.C * blocks * shape.block * itemsize <= _FILTER_BYTES else 1
    return g._replace(
        rows=rows, bands=bands, width=width, chunks=chunks, blocks=blocks, splits=splits, pixel=pixel, in_place=int(in_place),
        direct_out=int(direct_out), local=int(not packed and units * bands * chunks == 1 and together == 1), together=together,
        depth=1 if g.R * g.S * g.C > _LONGEST_SUM else g.R,
    )  # fmt: skip


def as_lines(g: Geometry) -> Geometry:
    """Return a correlation with one tap as one of long lines: skipped pixels are passed over, rows that follow one another joined."""
    if g.top > 0 or g.left > 0 or (g.P - 1) * g.stride_h - g.top >= g.H or (g.Q - 1) * g.stride_w - g.left >= g.W:
        return g
    g = g._replace(
        x_first=g.x_first - g.top * g.x_h - g.left * g.x_w, x_h=g.x_h * g.stride_h, x_w=g.x_w * g.stride_w,
        H=g.P, W=g.Q, stride_h=1, stride_w=1, top=0, left=0,
    )  # fmt: skip
    if g.x_h == g.Q * g.x_w and g.y_h == g.Q * g.y_w:
        g = g._replace(H=1, W=g.P * g.Q, P=1, Q=g.P * g.Q)
        if g.groups == 1 and g.x_n == g.Q * g.x_w and g.y_n == g.Q * g.y_w:
            g = g._replace(N=1, W=g.N * g.Q, Q=g.N * g.Q)
    return g


@functools.cache
def _kernel(shape: TileShape, dtype: np.dtype) -> Kernel:
    tile = simd.tile(shape, dtype, adds=True)
    pack_rows, unpack_rows = row_packer(dtype), row_unpacker(dtype)
    block, height, itemsize = shape.block, shape.height, dtype.itemsize
    pack_block = block_packer(block, dtype)

    @kernel(specialisation=(shape, dtype.str))
    def correlate_band(job, geometry, filters, x, weight, bias, other, y):
        g = geometry[0]
        split, unit = job % g.splits, job // g.splits
        chunk, unit = unit % g.chunks, unit // g.chunks
        band, unit = unit % g.bands, unit // g.bands
        group, n = unit % g.groups, unit // g.groups
        first_row, first_column = band * g.rows, chunk * g.width
        rows, width = min(g.rows, g.P - first_row), min(g.width, g.Q - first_column)
        k_first, k_last = split * g.blocks // g.splits, (split + 1) * g.blocks // g.splits
        x_group, pixel = g.x_first + group * g.C * g.x_c, g.pixel
        h, w = first_row * g.stride_h - g.top, first_column * g.stride_w - g.left
        if g.in_place:
            image, origin, pitch = x, x_group + n * g.x_n + h * g.x_h + w * g.x_w, g.x_h
        else:
            columns, needed = (width - 1) * g.stride_w + g.S, (rows - 1) * g.stride_h + g.R
            image, origin, pitch = np.empty(needed * columns * pixel, x.dtype), 0, columns * pixel
            pack_rows(x, x_group + n * g.x_n, g.x_c, g.x_h, g.x_w, g.H, g.W, g.C, h, w, image, needed, columns, pixel)
        # Bounds. Tiles read up to ((rows - 1) * stride_h + R) * pitch of the buffer, which is its size; in place, `inside` has compared
        # the same row and column with H and W. Weights and bias are padded to whole blocks. Tiles write y itself only where K is whole
        # blocks, else a scratch of whole blocks, of which unpack_rows stores the first K channels.
        reach = g.S * g.C if g.S > 1 else g.C  # a kernel row
        step, panel = g.stride_w * pixel, g.R * g.S * g.C * block
        y_image = g.y_first + n * g.y_n + first_row * g.y_h + first_column * g.y_w + group * g.K * g.y_c
        if g.direct_out:
            target, y_row, y_pixel = y, g.y_h, g.y_w
        else:
            target, y_row, y_pixel = np.empty(rows * width * block, x.dtype), width * block, block
        panels = np.empty(panel, x.dtype) if g.local else weight
        in_parts = g.depth < g.R
        start = target if in_parts else bias  # sums in parts begin with the bias in their place
        tiles = -(-width // height)
        x_far, w_far = image.ctypes.data, panels.ctypes.data
        in_line = g.in_place == 1 and g.R * g.S == 1 and step == g.C
        for k in range(k_first, k_last, g.together):
            k_end = min(k + g.together, k_last)
            w_block, b_block = 0 if g.local else (group * g.blocks + k) * panel, (group * g.blocks + k) * block
            out = y_image + k * block if g.direct_out else 0
            if g.local:
                pack_block(filters, weight, group, k, panels, 0)
            for row in range(rows):
                r_first, r_last = 0, g.R
                if g.skip:
                    top = h + row * g.stride_h
                    r_first, r_last = max(0, -top), min(g.R, g.H - top)
                    if r_first >= r_last:
                        r_first, r_last = 0, g.R
                q = 0
                for t in range(tiles):
                    tall = -(-(width - q) // (tiles - t))  # 13 pixels become 7 + 6
                    at = origin + (row * g.stride_h + r_first) * pitch + q * step
                    # The next block of weights, which may have to come from memory, is asked for by the first tiles of this one.
                    met = row * tiles + t
                    far, far_k, far_block = w_far, 0, 0
                    if met * _FAR_BYTES < block * itemsize and k_end < k_last and g.together == 1 and not g.local:
                        far, far_k = w_far + (w_block + panel) * itemsize + met * g.R * reach * _FAR_BYTES, _FAR_BYTES
                    elif in_line and k == k_first:  # pixels of the next tile
                        far_k = tall * itemsize // (k_end - k)
                        far, far_block = x_far + (at + tall * step) * itemsize, far_k * reach
                    for i in range(k_end - k):
                        to, w_at, b_at = out + row * y_row + q * y_pixel + i * block, w_block + i * panel, b_block + i * block
                        if in_parts:
                            for m in range(tall):
                                values, begin = target[to + m * y_pixel : to + m * y_pixel + block], bias[b_at : b_at + block]
                                for v in range(block):
                                    values[v] = begin[v]
                        for r in range(r_first, r_last, g.depth):
                            tile(
                                tall, image, at + (r - r_first) * pitch, step, pitch, 1,
                                panels, w_at + r * reach * block, reach * block, block,
                                start, to if in_parts else b_at, y_pixel if in_parts else 0, g.relu if r + g.depth >= r_last else 0,
                                target, to, y_pixel, min(g.depth, r_last - r), reach, g.add if r + g.depth >= r_last else 0, other, to,
                                far + r * reach * far_k + i * far_block, far_k,
                            )  # fmt: skip
                    q += tall
            if not g.direct_out:
                unpack_rows(target, block, min(block, g.K - k * block), y, y_image + k * block * g.y_c, g.y_c, g.y_h, g.y_w, rows, width)

    return correlate_band
