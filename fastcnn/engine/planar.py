"""The loops around the tile for images in planes (NCHW): rows of the tile are output channels, its vectors neighbouring pixels.

    y[k, q .. q + block] = bias[k] + sum over c, r, s of w[k, c, r, s] x[c, q + s .. q + s + block]

Neither image is converted to channels-last. Rows of pixels, padded and without the pixels that a stride skips, are copied into
buffer[h, c, w]; weights are read where they lie. A row that is no multiple of the tile's width ends with a tile that computes some
pixels a second time, to the same bits. First layers, whose sums are short, gain 1.3 to 2.7 times; channels-last images with a handful of
output channels gain too, which would leave most of a vector of channels empty.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import machine, simd
from ..jit import Kernel, kernel
from ..machine import TileShape, tile_shape, tile_speed
from .correlate import Geometry as Correlation
from .correlate import as_lines, tile_effort
from .filters import filter_effort
from .packing import clear, strided_copier, transposer


class Geometry(NamedTuple):
    """A correlation with stride 1 along its rows; strides in elements. C and K count the channels of one group."""

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
    top: int
    left: int
    P: int
    Q: int
    y_first: int
    y_n: int
    y_c: int
    y_h: int
    y_w: int
    groups: int
    relu: int
    w_group: int  # elements from group to group of the weights, from output channel to output channel, and from channel to channel
    w_k: int
    w_c: int
    w_pitch: int  # above 0: a tile's filters are copied, so far from one another, as they lie where they would evict each other
    flat: int  # 1: output rows follow one another and are one line
    bands: int  # jobs of an image's height
    splits: int  # jobs of its output channels
    pitch: int  # from channel to channel of the buffer


GEOMETRY = np.dtype([(name, np.int64) for name in Geometry._fields])
_BUFFER_BYTES = 256 * 1024  # input pixels of a job
_JOBS = 4  # per thread, at least, where an image can be cut
# Measured, in vector multiply-adds per element, on 3x3 and 5x5 first layers and on 1x1 layers of ResNet-50 and MobileNet:
_SPEED = 0.93  # of a tile here: channels of the buffer do not lie side by side
_COPY = 0.15  # rows into the buffer
_READ_PIXELS, _WRITE_PIXELS = 0.35, 0.8  # transposed here, where the image is channels-last
_READ_PLANES, _WRITE_PLANES = 0.35, 0.6  # transposed by `correlate`, where it is planar


def correlation(c: Correlation, swapped: bool, dtype: np.dtype) -> Callable[..., None]:
    """Return a function ``(x, weight, bias, y)`` on flat arrays; for the threads that the caller has now.

    `weight` is the operation's (K, C, R, S), or with `swapped` its (C, K, 1, 1): of a backward-input. `bias` may be None.
    """
    c = as_lines(c) if c.R == c.S == 1 else c
    shape, g = _cut(c, swapped, dtype)
    flops = 2.0 * c.N * c.groups * c.K * c.P * c.Q * c.C * c.R * c.S
    fixed, sample, zeros = np.array([g], GEOMETRY), np.empty(0, dtype), np.zeros(c.groups * c.K, dtype)
    run = _kernel(shape, dtype).bound(c.N * g.groups * g.bands * g.splits, fixed, sample, sample, sample, sample, work=flops)
    rows_first = None if g.R == 1 or g.C == 1 else (g.groups * g.K, g.C, g.R, g.S)

    def correlate(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray) -> None:
        if rows_first is not None:
            weight = weight.reshape(rows_first).transpose(0, 2, 1, 3).reshape(-1)
        run(fixed, x, weight, zeros if bias is None else bias, y)

    return correlate


def suits(c: Correlation, swapped: bool, itemsize: int) -> bool:
    """Whether this is the faster way: planes need no conversion, but their rows may waste vectors."""
    if c.N * c.P * c.Q == 0 or (swapped and c.R * c.S > 1):
        return False
    c = as_lines(c) if c.R == c.S == 1 else c
    if c.stride_w != 1 or (c.y_c != 1 and c.y_w != 1):
        return False
    width = c.P * c.Q if _is_flat(c) else c.Q
    shape = _shape(width, itemsize)
    if shape is None:
        return False
    pixels, sums = c.N * c.P * c.Q, c.C * c.R * c.S
    waste = -(-width // shape.block) * shape.block / width
    ours = waste * pixels * c.K * sums / machine.lanes(itemsize) / (_SPEED * tile_speed(shape, itemsize))
    ours += pixels * (c.C * (_READ_PIXELS if c.x_w != 1 and c.x_c == 1 else _COPY * c.R / c.stride_h) + c.K * _WRITE_PIXELS * (c.y_w != 1))
    theirs = tile_effort(c.K, pixels) * sums * itemsize / 4 + filter_effort(sums * c.K) / 2
    theirs += pixels * (c.C * _READ_PLANES * (c.x_c != 1) + c.K * _WRITE_PLANES * (c.y_c != 1))
    return ours < theirs


def _is_flat(c: Correlation) -> bool:
    """Whether the output rows of a correlation with one tap are one line, of pixels of x only."""
    in_line = c.P == 1 or c.y_h == c.Q * c.y_w
    return c.R == c.S == 1 and c.top == c.left == 0 and c.stride_h == c.stride_w == 1 and c.P <= c.H and c.Q <= c.W and in_line


def _shape(width: int, itemsize: int) -> TileShape | None:
    """Return the tile for lines of so many pixels; None for lines shorter than half a vector."""
    return tile_shape(width, itemsize, widest=width) if width >= max(2, machine.lanes(itemsize) // 2) else None


def _cut(c: Correlation, swapped: bool, dtype: np.dtype) -> tuple[TileShape, Geometry]:
    """Return the tile and the geometry with its jobs."""
    flat = _is_flat(c)
    if flat and c.P == 1:  # one long line: its pixels are the rows that jobs share
        c = c._replace(P=c.Q, H=c.Q, Q=1, W=1, x_h=c.x_w, y_h=c.y_w)
    shape = _shape(c.P * c.Q if flat else c.Q, dtype.itemsize)
    assert shape is not None
    shortest = -(-shape.block // c.Q) if flat else 1  # rows of a job: no fewer pixels than a tile is wide
    row_bytes = c.C * (c.Q + c.S - 1) * dtype.itemsize
    rows = max(shortest, (_BUFFER_BYTES // row_bytes - c.R) // c.stride_h + 1)
    tiles = -(-c.K // shape.height)
    wanted = _JOBS * machine.get_threads() if machine.get_threads() > 1 else 1
    units = c.N * c.groups
    bands = max(-(-c.P // rows), min(-(-wanted // units), c.P // (2 * shortest + c.R)))
    bands = max(1, min(bands, c.P // shortest))
    splits = min(tiles, -(-wanted // (units * bands)))
    longest = -(-c.P // bands) * c.Q if flat else c.Q + c.S - 1
    pitch = longest + (16 if longest * dtype.itemsize % 1024 == 0 else 0)  # a power of 2 would put channels into one set of the cache
    w_k, w_c = (1, c.K) if swapped else (c.C * c.R * c.S, c.S)
    w_pitch = w_k + 16 if w_k * dtype.itemsize % 1024 == 0 else 0
    return shape, Geometry(
        c.C, c.H, c.W, c.x_first, c.x_n, c.x_c, c.x_h, c.x_w, c.K, c.R, c.S, c.stride_h, c.top, c.left, c.P, c.Q,
        c.y_first, c.y_n, c.y_c, c.y_h, c.y_w, c.groups, c.relu, c.K * c.C * c.R * c.S, w_k, w_c, w_pitch, int(flat), bands, splits, pitch,
    )  # fmt: skip


@functools.cache
def _kernel(shape: TileShape, dtype: np.dtype) -> Kernel:
    tile, transpose, pack_planes = simd.tile(shape, dtype), transposer(dtype), _plane_packer(dtype)
    block, height = shape.block, shape.height

    @kernel(specialisation=(shape, dtype.str))
    def planar_band(job, geometry, x, weight, bias, y):
        g = geometry[0]
        split, unit = job % g.splits, job // g.splits
        band, unit = unit % g.bands, unit // g.bands
        group, n = unit % g.groups, unit // g.groups
        first, rows = band * g.P // g.bands, (band + 1) * g.P // g.bands - band * g.P // g.bands
        lines, width = (1, rows * g.Q) if g.flat else (rows, g.Q)
        image = np.empty((1 if g.flat else (rows - 1) * g.stride_h + g.R) * g.C * g.pitch, x.dtype)
        pack_planes(geometry, x, g.x_first + n * g.x_n + group * g.C * g.x_c, first, rows, image)
        # The reduction: kernel rows x channels, each with S taps side by side; on a line the channels.
        outer, inner, step, w_outer, w_inner = g.R * g.C, g.S, 1, g.w_c, 1
        if g.flat:
            outer, inner, step, w_outer, w_inner = 1, g.C, g.pitch, 0, g.w_c
        y_band = g.y_first + n * g.y_n + group * g.K * g.y_c + first * g.y_h
        product = np.empty(0 if g.y_w == 1 else height * lines * width, x.dtype)
        starts, copied = np.empty(height * block, x.dtype), np.empty(height * g.w_pitch, x.dtype)
        tiles, blocks = -(-g.K // height), -(-width // block)
        # Bounds. A tile reads pixels q .. q + block - 1 + S - 1 <= width + S - 2 < pitch of a buffer's row, and weights of `tall` valid
        # channels; it writes pixels q .. q + block - 1 < width of a row: no line is shorter than a block.
        for t in range(split * tiles // g.splits, (split + 1) * tiles // g.splits):
            k = t * g.K // tiles
            tall = (t + 1) * g.K // tiles - k
            for m in range(tall):
                start, value = starts[m * block : (m + 1) * block], bias[group * g.K + k + m]
                for v in range(start.size):
                    start[v] = value
            filters, panel, w_m = weight, group * g.w_group + k * g.w_k, g.w_k
            if g.w_pitch > 0:
                for m in range(tall):
                    source, target = weight[panel + m * w_m : panel + (m + 1) * w_m], copied[m * g.w_pitch : m * g.w_pitch + w_m]
                    for i in range(source.size):
                        target[i] = source[i]
                filters, panel, w_m = copied, 0, g.w_pitch
            for line in range(lines):
                at = line * g.stride_h * g.C * g.pitch
                for b in range(blocks):
                    q = min(b * block, width - block)
                    if g.y_w == 1:
                        target, to, y_m = y, y_band + k * g.y_c + line * g.y_h + q, g.y_c
                    else:
                        target, to, y_m = product, line * width + q, lines * width
                    tile(
                        tall, filters, panel, w_m, w_outer, w_inner, image, at + q, g.pitch, step,
                        starts, 0, block, g.relu, target, to, y_m, outer, inner,
                    )  # fmt: skip
                if g.y_w != 1:
                    transpose(product, line * width, lines * width, y, y_band + k + line * g.y_h, g.y_w, tall, width)

    return planar_band


@functools.cache
def line_copier(dtype: np.dtype) -> Kernel:
    """Return a kernel that copies runs of pixels, channel by channel.

    ``copy(x, at, x_c, x_h, x_w, C, runs, run, out, to, out_c, out_h)``: out[to + c*out_c + i*out_h + j] = x[at + c*x_c + i*x_h + j*x_w].
    """
    transpose, copy_strided = transposer(dtype), strided_copier(dtype)

    @kernel(specialisation=dtype.str)
    def copy_lines(x, at, x_c, x_h, x_w, C, runs, run, out, to, out_c, out_h):
        if x_c == 1 and x_w != 1:
            for i in range(runs):
                transpose(x, at + i * x_h, x_w, out, to + i * out_h, out_c, run, C)
            return
        for c in range(C):  # outside: a plane that comes from memory is read from its begin to its end
            for i in range(runs):
                begin, first = at + c * x_c + i * x_h, to + c * out_c + i * out_h
                if x_w == 1:
                    target, source = out[first : first + run], x[begin : begin + run]
                    for j in range(target.size):
                        target[j] = source[j]
                else:
                    copy_strided(x, begin, x_w, out, first, run)

    return copy_lines


@functools.cache
def _plane_packer(dtype: np.dtype) -> Kernel:
    """Return a kernel that copies the input rows of a band into buffer[h, c, w], on a line into buffer[c, pixel]."""
    copy_lines = line_copier(dtype)

    @kernel(specialisation=dtype.str)
    def pack_planes(geometry, x, origin, first, rows, out):
        g = geometry[0]
        if g.flat:
            run, runs = (rows * g.Q, 1) if g.x_h == g.Q * g.x_w else (g.Q, rows)
            copy_lines(x, origin + first * g.x_h, g.x_c, g.x_h, g.x_w, g.C, runs, run, out, 0, g.pitch, run)
            return
        columns, line = g.Q + g.S - 1, g.C * g.pitch
        left, right = min(columns, max(0, g.left)), max(0, min(columns, g.W + g.left))
        needed, h = (rows - 1) * g.stride_h + g.R, first * g.stride_h - g.top
        top, bottom = min(needed, max(0, -h)), max(0, min(needed, g.H - h))
        if top >= bottom or left >= right:
            clear(out, 0, needed * line)
            return
        clear(out, 0, top * line)
        clear(out, bottom * line, needed * line)
        if right - left < columns:
            for i in range(top * g.C, bottom * g.C):
                clear(out, i * g.pitch, i * g.pitch + left)
                clear(out, i * g.pitch + right, i * g.pitch + columns)
        source = origin + (h + top) * g.x_h + (left - g.left) * g.x_w
        copy_lines(x, source, g.x_c, g.x_h, g.x_w, g.C, bottom - top, right - left, out, top * line + left, g.pitch, line)

    return pack_planes
