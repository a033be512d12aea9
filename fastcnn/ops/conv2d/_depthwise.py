"""The loops around the tiles of depthwise convolution, for channels-last memory and for planes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ... import checks, machine
from ...jit import Kernel, kernel
from ...machine import Isa
from ._depthwise_tile import Tile, correlate_tile, gradient_tile, lane_sum, prefetch
from .problem import Conv2dProblem, work

_CACHED = 2**20  # elements of both images: smaller ones are in a cache, and asking for their rows takes longer than it saves
_WIDEST = 7  # taps that a tile unrolls; wider kernels and dilated ones loop over them
_UNROLLED = 400  # multiply-adds in all bodies of a tile: compiling takes about 1 ms each


class Geometry(NamedTuple):
    """A depthwise problem with one filter per channel: image x of H x W, image y of P x Q (in backward-input they change places)."""

    C: int
    H: int
    W: int
    x_n: int
    x_c: int
    x_h: int
    x_w: int
    R: int
    S: int
    stride_h: int
    stride_w: int
    top: int
    left: int
    dilation_h: int
    dilation_w: int
    P: int
    Q: int
    y_n: int
    y_c: int
    y_h: int
    y_w: int
    images: int
    rows: int  # output rows of a band
    bands: int  # bands of an image
    channels: int  # of a job
    blocks: int  # jobs of the same rows
    jobs: int
    ahead: int  # 1: ask for the next row while this one is computed


GEOMETRY = np.dtype([(name, np.int64) for name in Geometry._fields])


def _geometry(p: Conv2dProblem, x: tuple[int, ...], y: tuple[int, ...], planes: bool) -> Geometry:
    (N, C, H, W), (P, Q) = x, y[2:]
    ahead = int(N * C * (H * W + P * Q) > _CACHED)
    x_strides, y_strides = ((C * h * w, h * w, w, 1) if planes else (C * h * w, 1, w * C, C) for h, w in ((H, W), (P, Q)))
    return Geometry(
        C, H, W, *x_strides, p.R, p.S, p.stride_h, p.stride_w, p.top, p.left, p.dilation_h, p.dilation_w, P, Q, *y_strides,
        N, P, 1, C, 1, 1, ahead,
    )  # fmt: skip


def are_planes(image: np.ndarray) -> bool:
    """Whether an image lies in memory as (N, C, H, W); one of a single channel, which is both, counts as planes, with whole vectors."""
    return image.flags.c_contiguous and (image.shape[1] == 1 or image.shape[2] * image.shape[3] > 1)


def planes_refuse(p: Conv2dProblem) -> bool:
    """Whether planes have to be computed channels-last."""
    return p.dilation_h > 1 or max(p.stride_h, p.stride_w, p.stride_w * p.dilation_w) > 2 or max(p.R, p.S) > _WIDEST


def is_looped(p: Conv2dProblem | Geometry) -> bool:
    """Whether the kernel's columns are too many, or too far from each other, to be unrolled over channels."""
    return p.dilation_w > 1 or p.S > _WIDEST or p.stride_w > 2


class _Plan(NamedTuple):
    """What does not change from call to call: everything but the arrays."""

    tile: Tile
    geometry: np.ndarray
    launch: Callable[..., None]


def correlate(p: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, planes: bool, transposed: bool) -> None:
    """Run forward, or backward-input from x = dy to y = dx when `transposed`; both images are planes, or both channels-last.

    `weight` is (C, 1, R, S). When transposed, a stride beyond 1 is for kernels without dilation of at most 7 columns.
    """
    if y.size == 0:
        return
    plan = _plan_correlate(p, x.shape, y.shape, x.dtype, planes, transposed, machine.get_threads(), machine.isa())
    packed = weight.reshape(-1) if planes else np.ascontiguousarray(weight.reshape(p.C, -1).T).reshape(-1)
    plan.launch(plan.geometry, checks.flat(x), packed, bias, checks.flat(y))


@functools.lru_cache(256)
def _plan_correlate(
    p: Conv2dProblem, x: tuple[int, ...], y: tuple[int, ...], dtype: np.dtype, planes: bool, transposed: bool, threads: int, isa: Isa
) -> _Plan:
    g = _geometry(p, x, y, planes)
    wanted = _JOBS * threads if threads > 1 else 1  # jobs
    if planes:
        tile = _planes_tile(g, dtype.itemsize, transposed)
        g = g._replace(channels=max(1, min(g.C, 4096 // (g.P * g.Q))))
        run = _planes_kernel(tile, dtype)
    else:
        lanes = _lanes(g.C, dtype.itemsize)
        tile = _channels_tile(g, lanes, transposed)
        if _is_buffered(g, dtype.itemsize):
            tile = tile._replace(rim=0)
            run = _buffered_kernel(tile, dtype)
            g, wanted = _buffered(g, tile, dtype.itemsize, transposed, threads), threads
        else:
            run = _channels_kernel(tile, dtype)
            g = g._replace(channels=min(g.C, max(4 * lanes, _BLOCK_BYTES // ((g.R + 1) * g.W * dtype.itemsize) // lanes * lanes)))
    blocks = -(-g.C // g.channels)
    bands = max(-(-g.P // g.rows), min(g.P, -(-wanted // (blocks * g.images))))
    rows = -(-g.P // bands)
    if planes:
        rows = -(-rows // tile.height) * tile.height
    elif transposed:
        rows = -(-rows // g.stride_h) * g.stride_h
    bands = -(-g.P // rows)
    g = g._replace(rows=rows, bands=bands, blocks=blocks, jobs=g.images * bands * blocks)
    return _Plan(tile, np.array([g], GEOMETRY), functools.partial(run.launch, g.jobs, work=float(work(p, "forward"))))


_BLOCK_BYTES = 256 * 1024  # input rows under one output row, of the channels of a job
_LONGEST_ROW = 1024  # columns of a copied input; absurd padding, and with it absurd buffers, begin far beyond
_JOBS = 4  # per thread, so that a slow one does not keep the others waiting
_BUFFER_BYTES = 384 * 1024  # of a copied input, part of the L2 cache; 128 KiB and 8 vectors a pixel were up to twice slower on 8 images


def _is_buffered(g: Geometry, itemsize: int) -> bool:
    """Whether the pixels of a run would fall into a few sets of the L1 cache, and put one another out of it."""
    return g.C * itemsize % 2048 == 0 and not is_looped(g) and g.Q * g.stride_w + g.S <= _LONGEST_ROW


def _reach(g: Geometry, rows: int, transposed: bool) -> tuple[int, int]:
    """Return how many rows and columns of the input the windows of `rows` output rows span at most."""
    if transposed:
        return (rows - 1 + (g.R - 1) * g.dilation_h) // g.stride_h + 2, (g.Q - 1 + g.S - 1) // g.stride_w + 2
    return (rows - 1) * g.stride_h + (g.R - 1) * g.dilation_h + 1, (g.Q - 1) * g.stride_w + g.S


def _buffered(g: Geometry, tile: Tile, itemsize: int, transposed: bool, threads: int) -> Geometry:
    """Choose the channels and rows of a job: enough of both, and no more than its buffer holds."""
    vectors = -(-g.C // tile.lanes)
    vectors = min(32, -(-vectors // -(-threads // g.images)))  # threads share the channels of few images: rows would be copied twice
    pixel = (vectors * tile.lanes + _LINE) * itemsize
    rows = g.P
    while rows > 4 and np.prod(_reach(g, rows, transposed)) * pixel > _BUFFER_BYTES:
        rows -= 1
    return g._replace(rows=-(-g.P // -(-g.P // rows)), channels=min(g.C, vectors * tile.lanes))


def _lanes(size: int, itemsize: int) -> int:
    """Return the widest vector that `size` elements fill: the last one overlaps the one before it."""
    lanes = machine.isa().vector_bytes // itemsize
    while lanes > size:
        lanes //= 2
    return lanes


def _height(multiply_adds: int, registers: int, multiple: int = 1) -> int:
    """Return how many outputs a run may have: sums in registers, and all shorter runs unrolled as well."""
    height = 1
    while height < 14 and height < registers and multiply_adds * (height + 1) * (height + 2) // 2 <= _UNROLLED:
        height += 1
    return max(height // multiple, 1) * multiple


def _channels_tile(g: Geometry, lanes: int, transposed: bool) -> Tile:
    registers = machine.isa().registers
    if is_looped(g):
        return Tile(lanes, _height(1, registers - 3), 1, 1, transposed, looped=True, rim=_ALL)
    stride = g.stride_w
    height = _height(g.S, registers - g.S - 2, stride if transposed else 1)
    tile = Tile(lanes, height, g.S, stride, transposed, g.left % stride if transposed else 0)
    return tile._replace(rim=_rim(tile, g.left, g.W, g.Q))


def _planes_tile(g: Geometry, itemsize: int, transposed: bool) -> Tile:
    lanes = machine.isa().vector_bytes // itemsize
    phases = g.stride_w if transposed else 1
    while lanes > 4 and lanes * phases // 2 >= g.Q:
        lanes //= 2
    registers = machine.isa().registers - g.R - 2
    longest = 8 if transposed or g.stride_w == 1 else 4  # 6 and 8 fell to half their speed in every other process
    height = _height(g.R * g.S, min(longest, registers // phases), g.stride_h if transposed else 1)
    phase, cross_phase = (g.top % g.stride_h, g.left % g.stride_w) if transposed else (0, 0)
    tile = Tile(lanes, height, g.R, g.stride_h, transposed, phase, planes=True, cross=g.S, cross_stride=g.stride_w, cross_phase=cross_phase)
    return tile._replace(rim=_rim(tile, g.top, g.H, g.P))


_ALL = 1000  # more positions than a run has


def _rim(tile: Tile, before: int, inputs: int, outputs: int) -> int:
    """Return `Tile.rim` for runs along an axis with `before` padding: 0, what ordinary padding needs, or all."""
    if tile.transposed:
        first, last = (before - tile.taps + 1) // tile.stride, (outputs - 1 + before) // tile.stride
    else:
        first, last = -before, (outputs - 1) * tile.stride + tile.taps - 1 - before
    outside, ordinary = max(-first, last - inputs + 1), max(1, tile.taps - 1)
    return 0 if outside <= 0 else ordinary if outside <= ordinary else _ALL


@functools.cache
def _channels_kernel(tile: Tile, dtype: np.dtype) -> Kernel:
    run, fetch, fetch_to_write = correlate_tile(tile, dtype), prefetch(False), prefetch(True)
    lanes, height, transposed, looped = tile.lanes, tile.height, tile.transposed, tile.looped
    multiple = tile.stride if transposed else 1
    phase = tile.phase

    @kernel(specialisation=(tile, dtype.str))
    def depthwise_channels(job, geometry, x, weight, bias, y):
        g = geometry[0]
        block, band = job % g.blocks, job // g.blocks
        n, first = band // g.bands, band % g.bands * g.rows
        c_first, c_last = block * g.channels, min(g.C, (block + 1) * g.channels)
        tiles = -(-g.Q // height)
        step = g.S * g.C
        last = min(g.P, first + g.rows)
        fresh = 1 if transposed else g.stride_h  # rows of x that the next row of y meets first
        for p in range(first, last):
            next_row = p + 1
            newest = (next_row + g.top) // g.stride_h if transposed else next_row * g.stride_h - g.top + (g.R - 1) * g.dilation_h
            if transposed:  # only every stride_h-th kernel row meets this row, from below
                r = (p + g.top) % g.stride_h
                u, U, u_step, r_step = (p + g.top) // g.stride_h, (g.R - r + g.stride_h - 1) // g.stride_h, -g.dilation_h, g.stride_h
            else:
                r, u, U, u_step, r_step = 0, p * g.stride_h - g.top, g.R, g.dilation_h, 1
            q = 0
            for t in range(tiles):
                length = -(-(g.Q - q) // (tiles - t))  # 13 pixels become 7 + 6
                length = min(g.Q - q, -(-length // multiple) * multiple)
                if looped:
                    j_m = 1 if transposed else g.stride_w
                    j = q + g.left if transposed else q * g.stride_w - g.left
                    j_step = -g.dilation_w if transposed else g.dilation_w
                else:
                    j_m, j_step = 1, 0
                    j = (q + g.left - phase) // multiple if transposed else q * g.stride_w - g.left
                first_pixel = q // multiple if transposed else q * g.stride_w
                new_pixels = (length + multiple - 1) // multiple if transposed else length * g.stride_w
                for c in range(c_first, c_last, lanes):
                    at = min(c, g.C - lanes)
                    if g.ahead and next_row < last:
                        for row in range(fresh):
                            fetch(x, n * g.x_n + (newest - row) * g.x_h + first_pixel * g.x_w + at, g.x_w, new_pixels)
                        fetch_to_write(y, n * g.y_n + next_row * g.y_h + q * g.y_w + at, g.y_w, length)
                    run(
                        length, x, n * g.x_n + u * g.x_h + j * g.x_w + at, j_m * g.x_w, u_step * g.x_h, j_step * g.x_w,
                        j, j_m, j_step, g.W, u, u_step, g.H, weight, r * step + at, g.C, r_step * step, bias, at,
                        y, n * g.y_n + p * g.y_h + q * g.y_w + at, g.y_w, U, g.S, 0,
                    )  # fmt: skip
                q += length

    return depthwise_channels


@functools.cache
def _copier(lanes: int, dtype: np.dtype) -> Kernel:
    """Return a kernel that copies rows x columns pixels of `vectors` vectors each, with zeros for those outside of the image."""
    copy = correlate_tile(Tile(lanes, _COPIED, 1), dtype)

    @kernel(specialisation=(lanes, dtype.str))
    def depthwise_copy(g, x, image, u, rows, j, columns, channel, vectors, out, one):
        pixel = vectors * lanes + _LINE
        whole = min(vectors, (g.C - channel) // lanes)
        for row in range(rows):
            for column in range(columns):
                source, to = image + (u + row) * g.x_h + (j + column) * g.x_w, (row * columns + column) * pixel
                outside = 0 if 0 <= u + row < g.H and 0 <= j + column < g.W else -1
                for v in range(0, whole, _COPIED):
                    copy(
                        min(_COPIED, whole - v), x, source + channel + v * lanes, lanes, 0, 0, 0, 1, 0, 1, outside, 0, 1,
                        one, 0, 0, 0, one, lanes, out, to + v * lanes, lanes, 1, 1, 0,
                    )  # fmt: skip
                if whole < vectors:
                    copy(
                        1, x, source + g.C - lanes, lanes, 0, 0, 0, 1, 0, 1, outside, 0, 1,
                        one, 0, 0, 0, one, lanes, out, to + whole * lanes, lanes, 1, 1, 0,
                    )  # fmt: skip

    return depthwise_copy


_COPIED = 8  # pixels at a time


@functools.cache
def _buffered_kernel(tile: Tile, dtype: np.dtype) -> Kernel:
    run, copy = correlate_tile(tile, dtype), _copier(tile.lanes, dtype)
    lanes, height, transposed = tile.lanes, tile.height, tile.transposed
    multiple = tile.stride if transposed else 1
    phase = tile.phase

    @kernel(specialisation=(tile, dtype.str))
    def depthwise_buffered(job, geometry, x, weight, bias, y):
        g = geometry[0]
        block, band = job % g.blocks, job // g.blocks
        n, first = band // g.bands, band % g.bands * g.rows
        last = min(g.P, first + g.rows)
        channel = block * g.channels
        vectors = -(-min(g.channels, g.C - channel) // lanes)
        pixel = vectors * lanes + _LINE
        if transposed:
            low = (first + g.top - (g.R - 1) * g.dilation_h) // g.stride_h
            rows = (last - 1 + g.top) // g.stride_h - low + 1
            left = (g.left - g.S + 1) // multiple
            columns = (g.Q - 1 + g.left) // multiple - left + 1
        else:
            low, rows = first * g.stride_h - g.top, (last - first - 1) * g.stride_h + (g.R - 1) * g.dilation_h + 1
            left, columns = -g.left, (g.Q - 1) * g.stride_w + g.S
        one = np.zeros(2 * lanes, x.dtype)
        for i in range(lanes):
            one[i] = 1
        room = np.empty(rows * columns * pixel + _LINE, x.dtype)
        buffer = room[(-room.ctypes.data // room.itemsize) % _LINE :]
        copy(g, x, n * g.x_n, low, rows, left, columns, channel, vectors, buffer, one)
        tiles = -(-g.Q // height)
        step, pitch = g.S * g.C, columns * pixel
        for p in range(first, last):
            if transposed:
                r = (p + g.top) % g.stride_h
                u, U, u_step, r_step = (p + g.top) // g.stride_h, (g.R - r + g.stride_h - 1) // g.stride_h, -g.dilation_h, g.stride_h
            else:
                r, u, U, u_step, r_step = 0, p * g.stride_h - g.top, g.R, g.dilation_h, 1
            q = 0
            for t in range(tiles):
                length = -(-(g.Q - q) // (tiles - t))
                length = min(g.Q - q, -(-length // multiple) * multiple)
                j = (q + g.left - phase) // multiple if transposed else q * g.stride_w - g.left
                for v in range(vectors):
                    at = min(channel + v * lanes, g.C - lanes)
                    run(
                        length, buffer, (u - low) * pitch + (j - left) * pixel + v * lanes, pixel, u_step * pitch, 0, 0, 1, 0, 1, 0, 0, 1,
                        weight, r * step + at, g.C, r_step * step, bias, at,
                        y, n * g.y_n + p * g.y_h + q * g.y_w + at, g.y_w, U, g.S, 0,
                    )  # fmt: skip
                q += length

    return depthwise_buffered


_LINE = 16  # elements of a cache line, at most


@functools.cache
def _planes_kernel(tile: Tile, dtype: np.dtype) -> Kernel:
    run = correlate_tile(tile, dtype)
    height, transposed, span, phases = tile.height, tile.transposed, tile.span, tile.phases
    multiple = tile.stride if transposed else 1
    phase, cross_phase = tile.phase, tile.cross_phase

    @kernel(specialisation=(tile, dtype.str))
    def depthwise_planes(job, geometry, x, weight, bias, y):
        g = geometry[0]
        block, band = job % g.blocks, job // g.blocks
        n, first = band // g.bands, band % g.bands * g.rows
        last = min(g.P, first + g.rows)
        taps = g.R * g.S
        tiles = -(-(last - first) // height)
        for c in range(block * g.channels, min(g.C, (block + 1) * g.channels)):
            p = first
            for t in range(tiles):
                length = -(-(last - p) // (tiles - t))
                length = min(last - p, -(-length // multiple) * multiple)
                j = (p + g.top - phase) // multiple if transposed else p * g.stride_h - g.top
                for q in range(0, g.Q, span):
                    if transposed:
                        u, u_step = (q + g.left - cross_phase) // phases, 1 if phases > 1 else -g.dilation_w
                    else:
                        u, u_step = q * g.stride_w - g.left, g.dilation_w
                    run(
                        length, x, n * g.x_n + c * g.x_c + j * g.x_h + u, g.x_h, u_step, 0, j, 1, 0, g.H, u, u_step, g.W,
                        weight, c * taps, g.S, 1, bias, c, y, n * g.y_n + c * g.y_c + p * g.y_h + q, g.y_h, 0, 0, min(span, g.Q - q),
                    )  # fmt: skip
                p += length

    return depthwise_planes


# --- Backward-weight ---------------------------------------------------------------------------------------------------


def weight_gradient(p: Conv2dProblem, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray, planes: bool) -> None:
    """Write the gradient (C, 1, R, S); both images are planes, or both channels-last."""
    if dy.size == 0:
        dweight[...] = 0
        return
    plan = _plan_gradient(p, x.dtype, planes, machine.get_threads(), machine.isa())
    g, lanes = plan.geometry[0], plan.tile.lanes
    if planes:
        plan.launch(plan.geometry, checks.flat(x), checks.flat(dy), dweight.reshape(1, -1))
        return
    padded = -(-p.C // lanes) * lanes  # the last vector overlaps the one before it, but its sums stand apart
    partial = np.zeros((int(g["jobs"]), p.R * p.S * padded), x.dtype)
    plan.launch(plan.geometry, checks.flat(x), checks.flat(dy), partial)
    total = (partial[0] if len(partial) == 1 else partial.sum(axis=0)).reshape(-1, padded)
    whole = p.C // lanes * lanes
    dweight.reshape(p.C, -1)[:whole] = total.T[:whole]
    dweight.reshape(p.C, -1)[whole:] = total.T[padded - (p.C - whole) :]


@functools.lru_cache(256)
def _plan_gradient(p: Conv2dProblem, dtype: np.dtype, planes: bool, threads: int, isa: Isa) -> _Plan:
    g = _geometry(p, p.input_shape, p.output_shape, planes)
    if planes:
        tile = _planes_gradient_tile(g, dtype.itemsize)
        g = g._replace(channels=-(-g.C // (min(_JOBS * threads, g.C) if threads > 1 else 1)))
        g = g._replace(blocks=-(-g.C // g.channels), jobs=-(-g.C // g.channels))
        run = _planes_gradient_kernel(tile, dtype)
    else:
        lanes = _lanes(g.C, dtype.itemsize)
        tile = _channels_gradient_tile(g, lanes)
        if _is_buffered(g, dtype.itemsize):
            tile = tile._replace(rim=0)
            g = _buffered(g, tile, dtype.itemsize, False, threads)
            run = _buffered_gradient_kernel(tile, dtype)
        else:
            channels = max(lanes, _SUMS_BYTES // (g.R * g.S * dtype.itemsize) // lanes * lanes)
            g = g._replace(channels=min(g.C, channels), rows=1)
            run = _channels_gradient_kernel(tile, dtype)
        g = g._replace(blocks=-(-g.C // g.channels), bands=-(-g.P // g.rows))
        g = g._replace(jobs=min(threads, g.images * g.bands * g.blocks))
    return _Plan(tile, np.array([g], GEOMETRY), functools.partial(run.launch, g.jobs, work=float(work(p, "backward_weight"))))


_SUMS_BYTES = 16 * 1024  # sums of a job, half of an L1 cache


def _channels_gradient_tile(g: Geometry, lanes: int) -> Tile:
    registers = machine.isa().registers
    if is_looped(g):
        return Tile(lanes, min(14, registers - 6), 1, 1, looped=True, rim=_ALL, cross=1)
    cross = g.R if registers - 3 >= g.R * g.S + 4 else 1
    tile = Tile(lanes, _height(g.S * cross, registers - 3 - g.S * cross), g.S, g.stride_w, cross=cross)
    return tile._replace(rim=_rim(tile, g.left, g.W, g.Q))


def _planes_gradient_tile(g: Geometry, itemsize: int) -> Tile:
    level = machine.isa()
    lanes = level.vector_bytes // itemsize
    while lanes > 4 and lanes // 2 >= g.Q:
        lanes //= 2
    cross = g.S if level.registers - 3 >= g.R * g.S + 4 else 1
    height = _height(g.R * cross, max(1, min(8, level.registers - 3 - g.R * cross)))
    tile = Tile(lanes, height, g.R, g.stride_h, planes=True, cross=cross, cross_stride=g.stride_w)
    return tile._replace(rim=_rim(tile, g.top, g.H, g.P))


@functools.cache
def _channels_gradient_kernel(tile: Tile, dtype: np.dtype) -> Kernel:
    run, fetch = gradient_tile(tile, dtype), prefetch(False)
    lanes, height, cross, looped = tile.lanes, tile.height, tile.cross, tile.looped

    @kernel(specialisation=(tile, dtype.str))
    def depthwise_channels_gradient(job, geometry, x, dy, partial):
        g = geometry[0]
        gradient = partial[job]
        tiles = -(-g.Q // height)
        lines = g.images * g.P
        units = lines * g.blocks
        j_m = g.stride_w if looped else 1
        groups = g.S if looped else 1  # of kernel columns
        pitch = -(-g.C // lanes) * lanes
        for unit in range(job * units // g.jobs, (job + 1) * units // g.jobs):
            block, line = unit // lines, unit % lines
            n, p = line // g.P, line % g.P
            q = 0
            for t in range(tiles):
                length = -(-(g.Q - q) // (tiles - t))
                for c in range(block * g.channels, min(g.C, (block + 1) * g.channels), lanes):
                    at = min(c, g.C - lanes)
                    if g.ahead and p + 1 < g.P:
                        for row in range(g.stride_h):
                            u = (p + 1) * g.stride_h - g.top + (g.R - 1) * g.dilation_h - row
                            fetch(x, n * g.x_n + u * g.x_h + q * g.stride_w * g.x_w + at, g.x_w, length * g.stride_w)
                        fetch(dy, n * g.y_n + (p + 1) * g.y_h + q * g.y_w + at, g.y_w, length)
                    for r in range(0, g.R, cross):
                        u = p * g.stride_h - g.top + r * g.dilation_h
                        for s in range(groups):
                            j = q * g.stride_w - g.left + s * g.dilation_w
                            run(
                                length, x, n * g.x_n + u * g.x_h + j * g.x_w + at, j_m * g.x_w, g.dilation_h * g.x_h,
                                j, j_m, g.W, u, g.dilation_h, g.H, dy, n * g.y_n + p * g.y_h + q * g.y_w + at, g.y_w,
                                gradient, (r * g.S + s) * pitch + c, pitch, g.S * pitch, 0,
                            )  # fmt: skip
                q += length

    return depthwise_channels_gradient


@functools.cache
def _buffered_gradient_kernel(tile: Tile, dtype: np.dtype) -> Kernel:
    run, copy = gradient_tile(tile, dtype), _copier(tile.lanes, dtype)
    lanes, height, cross = tile.lanes, tile.height, tile.cross

    @kernel(specialisation=(tile, dtype.str))
    def depthwise_buffered_gradient(job, geometry, x, dy, partial):
        g = geometry[0]
        gradient = partial[job]
        tiles = -(-g.Q // height)
        bands = g.images * g.bands
        units = bands * g.blocks
        columns = (g.Q - 1) * g.stride_w + g.S
        most = ((g.rows - 1) * g.stride_h + (g.R - 1) * g.dilation_h + 1) * columns * (g.channels + lanes + _LINE)
        room = np.empty(most + _LINE, x.dtype)
        buffer = room[(-room.ctypes.data // room.itemsize) % _LINE :]
        one = np.zeros(2 * lanes, x.dtype)
        for i in range(lanes):
            one[i] = 1
        padded = -(-g.C // lanes) * lanes
        for unit in range(job * units // g.jobs, (job + 1) * units // g.jobs):
            block, band = unit // bands, unit % bands
            n, first = band // g.bands, band % g.bands * g.rows
            last = min(g.P, first + g.rows)
            channel = block * g.channels
            vectors = -(-min(g.channels, g.C - channel) // lanes)
            pixel = vectors * lanes + _LINE
            pitch = columns * pixel
            low, rows = first * g.stride_h - g.top, (last - first - 1) * g.stride_h + (g.R - 1) * g.dilation_h + 1
            copy(g, x, n * g.x_n, low, rows, -g.left, columns, channel, vectors, buffer, one)
            for p in range(first, last):
                q = 0
                for t in range(tiles):
                    length = -(-(g.Q - q) // (tiles - t))
                    for v in range(vectors):
                        at = min(channel + v * lanes, g.C - lanes)
                        for r in range(0, g.R, cross):
                            row = (p - first) * g.stride_h + r * g.dilation_h
                            run(
                                length, buffer, row * pitch + q * g.stride_w * pixel + v * lanes, pixel, g.dilation_h * pitch,
                                0, 1, 1, 0, 0, 1, dy, n * g.y_n + p * g.y_h + q * g.y_w + at, g.y_w,
                                gradient, r * g.S * padded + channel + v * lanes, padded, g.S * padded, 0,
                            )  # fmt: skip
                    q += length

    return depthwise_buffered_gradient


@functools.cache
def _planes_gradient_kernel(tile: Tile, dtype: np.dtype) -> Kernel:
    run, total_of = gradient_tile(tile, dtype), lane_sum(tile.lanes, dtype)
    lanes, height, cross = tile.lanes, tile.height, tile.cross

    @kernel(specialisation=(tile, dtype.str))
    def depthwise_planes_gradient(job, geometry, x, dy, partial):
        g = geometry[0]
        taps = g.R * g.S
        sums = np.empty(taps * lanes, x.dtype)
        tiles = -(-g.P // height)
        for c in range(job * g.channels, min(g.C, (job + 1) * g.channels)):
            for i in range(sums.size):
                sums[i] = 0
            for n in range(g.images):
                p = 0
                for t in range(tiles):
                    length = -(-(g.P - p) // (tiles - t))
                    j = p * g.stride_h - g.top
                    for q in range(0, g.Q, lanes):
                        for s in range(0, g.S, cross):
                            u = q * g.stride_w - g.left + s * g.dilation_w
                            run(
                                length, x, n * g.x_n + c * g.x_c + j * g.x_h + u, g.x_h, g.dilation_w, j, 1, g.H, u, g.dilation_w, g.W,
                                dy, n * g.y_n + c * g.y_c + p * g.y_h + q, g.y_h, sums, s * lanes, g.S * lanes, lanes,
                                min(lanes, g.Q - q),
                            )  # fmt: skip
                    p += length
            for i in range(taps):
                partial[0, c * taps + i] = total_of(sums, i * lanes)

    return depthwise_planes_gradient
