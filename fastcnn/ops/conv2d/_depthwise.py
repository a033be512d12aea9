"""Which tile serves a depthwise convolution, and which jobs; the loops are in `_depthwise_loops.py`.

Channels-last images take blocks of pixels where the kernel has few taps, next to each other; else runs of pixels. Planes take runs of rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ... import checks, machine
from ...jit import Kernel
from ...machine import Isa
from ._depthwise_block import Block
from ._depthwise_emitter import Slide
from ._depthwise_loops import (
    GEOMETRY,
    Geometry,
    blocks_gradient_kernel,
    blocks_kernel,
    planes_gradient_kernel,
    planes_kernel,
    runs_gradient_kernel,
    runs_kernel,
)
from ._depthwise_tile import Tile
from .problem import Conv2dProblem, work

# Bytes of both images. More than these come from memory, and then
_FAR = 16 * 2**20  # runs over planes are of fewer rows, the next of which are asked for ahead
_TALL = 8 * 2**20  # blocks are tall
_CACHED = 4 * 2**20  # runs over channels ask for rows ahead
_WIDEST = 7  # taps that a tile unrolls; wider kernels and dilated ones loop over them
_UNROLLED = 400  # multiply-adds in all bodies of a tile: compiling takes about 1 ms each


def _geometry(p: Conv2dProblem, x: tuple[int, ...], y: tuple[int, ...], planes: bool) -> Geometry:
    (N, C, H, W), (P, Q) = x, y[2:]
    x_strides, y_strides = ((C * h * w, h * w, w, 1) if planes else (C * h * w, 1, w * C, C) for h, w in ((H, W), (P, Q)))
    return Geometry(
        C, H, W, *x_strides, p.R, p.S, p.stride_h, p.stride_w, p.top, p.left, p.dilation_h, p.dilation_w, P, Q, *y_strides,
        N, P, 1, C, 1, 1, 0,
    )  # fmt: skip


def _bytes(g: Geometry, itemsize: int) -> int:
    """Return the size of both images."""
    return g.images * g.C * (g.H * g.W + g.P * g.Q) * itemsize


def are_planes(image: np.ndarray) -> bool:
    """Whether an image lies in memory as (N, C, H, W); one of a single channel, which is both, counts as planes, with whole vectors."""
    return image.flags.c_contiguous and (image.shape[1] == 1 or image.shape[2] * image.shape[3] > 1)


def planes_refuse(p: Conv2dProblem) -> bool:
    """Whether planes have to be computed channels-last."""
    return p.dilation_h > 1 or max(p.stride_h, p.stride_w, p.stride_w * p.dilation_w) > 2 or max(p.R, p.S) > _WIDEST


def is_looped(p: Conv2dProblem | Geometry) -> bool:
    """Whether the kernel's columns are too many, or too far from each other, to be unrolled over channels."""
    return p.dilation_w > 1 or p.S > _WIDEST or p.stride_w > 2


def fits_blocks(g: Conv2dProblem | Geometry) -> bool:
    """Whether all taps are few enough, and near enough to each other, to be unrolled over channels."""
    return g.R * g.S <= _TAPS and g.dilation_h == g.dilation_w == 1 and max(g.stride_h, g.stride_w) <= 2


_TAPS = 9  # of 5 x 5, runs were faster: their weights fit the registers row by row


def correlate(
    p: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, planes: bool, transposed: bool, relu: int = 0
) -> None:
    """Run forward, or backward-input from x = dy to y = dx when `transposed`; both images are planes, or both channels-last.

    `weight` is (C, 1, R, S), or (C, C / groups, R, S) of a problem that `fits_blocks`; or what `packed` made of it. When transposed, a
    stride beyond 1 is for kernels without dilation of at most 7 columns.
    """
    if y.size == 0:
        return
    plan = _plan_correlate(p, x.shape, y.shape, x.dtype, planes, transposed, machine.get_threads(), machine.isa(), relu)
    if planes:
        taps = weight.reshape(-1) if weight.ndim > 1 else np.ascontiguousarray(weight.reshape(-1, p.C).T).reshape(-1)
    else:
        taps = packed(weight) if weight.ndim > 1 else weight
    plan(checks.flat(x), taps, bias, checks.flat(y))


def correlation(p: Conv2dProblem, dtype: np.dtype, relu: int) -> Callable[..., None]:
    """Return a function ``(x, weight, bias, y)`` on flat channels-last arrays, the weights `packed`: forward, a filter per channel."""
    return _plan_correlate(p, p.input_shape, p.output_shape, dtype, False, False, machine.get_threads(), machine.isa(), relu)


def packed(weight: np.ndarray) -> np.ndarray:
    """Return weights (C, ...) as channels-last images want them, (taps, C), flat."""
    return np.ascontiguousarray(weight.reshape(len(weight), -1).T).reshape(-1)


@functools.lru_cache(256)
def _plan_correlate(
    p: Conv2dProblem,
    x: tuple[int, ...],
    y: tuple[int, ...],
    dtype: np.dtype,
    planes: bool,
    transposed: bool,
    threads: int,
    isa: Isa,
    relu: int = 0,
) -> Callable[..., None]:
    """Return a function of what does change from call to call: the arrays x, weight, bias and y, flat."""
    g, itemsize = _geometry(p, x, y, planes)._replace(relu=relu), dtype.itemsize
    run: Kernel
    tile: Tile | Block
    if planes:
        g = g._replace(ahead=int(_bytes(g, itemsize) > _FAR), channels=max(1, min(g.C, 4096 // (g.P * g.Q))))
        tile = _planes_tile(g, itemsize, transposed)
        run, multiple = planes_kernel(tile, dtype), tile.height
    elif fits_blocks(g):
        tile = _block(g, itemsize, transposed, p.C // p.groups)
        run, multiple = blocks_kernel(tile, dtype), tile.vertical.length
    else:
        tile = _runs_tile(g, itemsize, transposed)
        channels = max(4 * tile.lanes, _PART_BYTES // ((g.R + 1) * g.W * itemsize) // tile.lanes * tile.lanes)
        g = g._replace(ahead=int(_bytes(g, itemsize) > _CACHED), channels=min(g.C, channels))
        run, multiple = runs_kernel(tile, dtype), g.stride_h if transposed else 1
    g = _shared_out(g, multiple, threads)
    fixed, sample = np.array([g], GEOMETRY), np.empty(0, dtype)
    return functools.partial(run.bound(g.jobs, fixed, sample, sample, sample, sample, work=float(work(p, "forward"))), fixed)


_PART_BYTES = 256 * 1024  # input rows under one output row, of the channels of a job
_JOBS = 4  # per thread, so that a slow one does not keep the others waiting


def _shared_out(g: Geometry, multiple: int, threads: int) -> Geometry:
    """Return the geometry with its jobs: bands of a multiple of so many rows, where images and parts of channels are too few."""
    wanted = _JOBS * threads if threads > 1 else 1
    parts = -(-g.C // g.channels)
    bands = min(g.P, -(-wanted // (parts * g.images)))
    rows = -(-g.P // bands)
    rows = -(-rows // multiple) * multiple
    bands = -(-g.P // rows)
    return g._replace(rows=rows, bands=bands, parts=parts, jobs=g.images * bands * parts)


def _lanes(size: int, itemsize: int) -> int:
    """Return the widest vector that `size` elements fill: the last one overlaps the one before it."""
    lanes = machine.lanes(itemsize)
    while lanes > size:
        lanes //= 2
    return lanes


def _height(multiply_adds: int, registers: int, multiple: int = 1) -> int:
    """Return how many outputs a run may have: sums in registers, and all shorter runs unrolled as well."""
    height = 1
    while height < 14 and height < registers and multiply_adds * (height + 1) * (height + 2) // 2 <= _UNROLLED:
        height += 1
    return max(height // multiple, 1) * multiple


def _block(g: Geometry, itemsize: int, transposed: bool, group: int) -> Block:
    """Return a block whose inputs are few enough streams; for images from memory a tall one: it reads rows 1.5 times, a wide one twice."""
    columns, rows = (2, 4) if _bytes(g, itemsize) > _TALL else (4, 4)
    if group > 1:  # bound by arithmetic: long rows, whose weights are in registers
        columns, rows = 6, 1
    if not transposed:
        columns = max(1, columns // g.stride_w)
    else:
        rows = max(rows, g.stride_h)
    phases = (g.top % g.stride_h, g.left % g.stride_w) if transposed else (0, 0)
    vertical = Slide(rows, g.R, g.stride_h, transposed, phases[0], _rim(g.R, g.stride_h, transposed, g.top, g.H, g.P))
    horizontal = Slide(columns, g.S, g.stride_w, transposed, phases[1], _rim(g.S, g.stride_w, transposed, g.left, g.W, g.Q))
    least = g.stride_h if transposed else 1
    while vertical.length > least and (
        len(vertical.pairs(vertical.length)) * len(horizontal.pairs(columns)) > _STREAMS
        or vertical.length * columns > machine.isa().registers // 2
    ):
        vertical = vertical._replace(length=vertical.length - least)
    return Block(max(group, _lanes(g.C, itemsize)), vertical, horizontal, group)


_STREAMS = 25  # inputs of a block


def _runs_tile(g: Geometry, itemsize: int, transposed: bool) -> Tile:
    registers, lanes = machine.isa().registers, _lanes(g.C, itemsize)
    if is_looped(g):
        return Tile(lanes, _height(1, registers - 3), 1, 1, transposed, looped=True, rim=_ALL)
    stride = g.stride_w
    height = _height(g.S, registers - g.S - 2, stride if transposed else 1)
    rim = _rim(g.S, stride, transposed, g.left, g.W, g.Q)
    return Tile(lanes, height, g.S, stride, transposed, g.left % stride if transposed else 0, rim=rim)


def _planes_tile(g: Geometry, itemsize: int, transposed: bool) -> Tile:
    lanes = machine.lanes(itemsize)
    phases = g.stride_w if transposed else 1
    while lanes > 4 and lanes * phases // 2 >= g.Q:
        lanes //= 2
    registers = machine.isa().registers - g.R - 2
    longest = _longest(g, 1 if transposed else g.stride_h)
    height = _height(g.R * g.S, min(longest, registers // phases), g.stride_h if transposed else 1)
    phase, cross_phase = (g.top % g.stride_h, g.left % g.stride_w) if transposed else (0, 0)
    rim = _rim(g.R, g.stride_h, transposed, g.top, g.H, g.P)
    return Tile(
        lanes, height, g.R, g.stride_h, transposed, phase, rim=rim, planes=True, cross=g.S, cross_stride=g.stride_w, cross_phase=cross_phase
    )


def _longest(g: Geometry, stride: int) -> int:
    """Return how many rows a run over planes may have: fewer, each one or two streams, where they come from memory."""
    return 4 // stride if g.ahead else 8


_ALL = 1000  # more positions than a run has


def _rim(taps: int, stride: int, transposed: bool, before: int, inputs: int, outputs: int) -> int:
    """Return `Slide.rim` for an axis with `before` padding: 0, what ordinary padding needs, or all."""
    if transposed:
        first, last = (before - taps + 1) // stride, (outputs - 1 + before) // stride
    else:
        first, last = -before, (outputs - 1) * stride + taps - 1 - before
    outside, ordinary = max(-first, last - inputs + 1), max(1, taps // 2)
    return 0 if outside <= 0 else ordinary if outside <= ordinary else _ALL


# --- Backward-weight ---------------------------------------------------------------------------------------------------


def weight_gradient(p: Conv2dProblem, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray, planes: bool) -> None:
    """Write the gradient (C, 1, R, S); both images are planes, or both channels-last."""
    if dy.size == 0:
        dweight[...] = 0
        return
    plan = _plan_gradient(p, x.dtype, planes, machine.get_threads(), machine.isa())
    plan(checks.flat(x), checks.flat(dy), dweight.reshape(1, -1))


@functools.lru_cache(256)
def _plan_gradient(p: Conv2dProblem, dtype: np.dtype, planes: bool, threads: int, isa: Isa) -> Callable[..., None]:
    """Return a function of x and dy, flat, and dweight as one row."""
    g, itemsize = _geometry(p, p.input_shape, p.output_shape, planes), dtype.itemsize
    run: Kernel
    tile: Tile | Block
    if planes:
        g = g._replace(ahead=int(_bytes(g, itemsize) > _FAR), channels=-(-g.C // (min(_JOBS * threads, g.C) if threads > 1 else 1)))
        tile = _planes_gradient_tile(g, itemsize)
        run, jobs = planes_gradient_kernel(tile, dtype), -(-g.C // g.channels)
    elif fits_blocks(g):
        tile = _block(g, itemsize, False, p.C // p.groups)
        g = g._replace(bands=-(-g.P // tile.vertical.length))
        run, jobs = blocks_gradient_kernel(tile, dtype), min(threads, g.images * g.bands)
    else:
        tile = _runs_gradient_tile(g, itemsize)
        channels = max(tile.lanes, _SUMS_BYTES // (g.R * g.S * itemsize) // tile.lanes * tile.lanes)
        g = g._replace(ahead=int(_bytes(g, itemsize) > _CACHED), channels=min(g.C, channels))
        g = g._replace(parts=-(-g.C // g.channels))
        run, jobs = runs_gradient_kernel(tile, dtype), min(threads, g.images * g.P * g.parts)
    fixed, sample, row = np.array([g._replace(jobs=jobs)], GEOMETRY), np.empty(0, dtype), np.empty((1, 0), dtype)
    bound = functools.partial(run.bound(jobs, fixed, sample, sample, row, work=float(work(p, "backward_weight"))), fixed)
    return bound if planes or jobs == 1 else functools.partial(_summed, bound, jobs)


def _summed(run: Callable[..., None], jobs: int, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """Add up what the jobs find, each for its share of the pixels."""
    partial = np.empty((jobs, dweight.size), dweight.dtype)
    run(x, dy, partial)
    with np.errstate(over="ignore", invalid="ignore"):
        np.sum(partial, axis=0, out=dweight[0])


_SUMS_BYTES = 16 * 1024  # sums of a job, half of an L1 cache


def _runs_gradient_tile(g: Geometry, itemsize: int) -> Tile:
    registers, lanes = machine.isa().registers, _lanes(g.C, itemsize)
    if is_looped(g):
        return Tile(lanes, min(14, registers - 6), 1, 1, looped=True, rim=_ALL, cross=1)
    cross = g.R if registers - 3 >= g.R * g.S + 4 else 1
    height = _height(g.S * cross, registers - 3 - g.S * cross)
    return Tile(lanes, height, g.S, g.stride_w, cross=cross, rim=_rim(g.S, g.stride_w, False, g.left, g.W, g.Q))


def _planes_gradient_tile(g: Geometry, itemsize: int) -> Tile:
    level = machine.isa()
    lanes = level.lanes(itemsize)
    while lanes > 4 and lanes // 2 >= g.Q:
        lanes //= 2
    cross = g.S if level.registers - 3 >= g.R * g.S + 4 else 1
    longest = min(_longest(g, g.stride_h), level.registers - 3 - g.R * cross)
    height = _height(g.R * cross, max(1, longest))
    rim = _rim(g.R, g.stride_h, False, g.top, g.H, g.P)
    return Tile(lanes, height, g.R, g.stride_h, rim=rim, planes=True, cross=cross, cross_stride=g.stride_w)
