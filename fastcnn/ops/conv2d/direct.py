"""Direct convolution on register tiles: no im2col buffer, every input value is read from cache.

Which loops run the tiles depends on the problem and on how images lie in memory; all compute the same sums:

forward          pixels x output channels, channels-last inside; or output channels x pixels, where planes would have to be transposed
backward-input   a forward correlation of dy with the flipped taps of each phase of the stride; or scattered, for a few channels
backward-weight  kernel columns x output channels over pixels; along lines of pixels, for first layers; or by columns, for few pixels

References: Zhang, Franchetti & Low, arXiv 1809.10170; Georganas et al., arXiv 1808.05567.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable

import numpy as np

from ... import checks, machine
from ...engine import column_gradient, phases, planar, planar_gradient, scatter
from ...engine.correlate import Geometry, block_of, correlation, geometry_of, tile_effort
from ...engine.filters import all_taps, filter_effort, filter_packer
from ...engine.weight_gradient import weight_gradient
from ...machine import tiles_available
from . import im2col
from .problem import Conv2dProblem

WARNS = False
_FEW = 2**13  # values are looked at one by one; a sum makes no array of flags, but errstate costs 1.5 us
_ROW_BYTES = 2**28  # of a job's padded rows, in float64; only absurd padding comes near


def refuses(problem: Conv2dProblem) -> str | None:
    """Dilated taps are not contiguous in a channels-last row."""
    if problem.dilation_h != 1 or problem.dilation_w != 1:
        return "dilation is not 1"
    p = problem
    if p.R * ((p.Q - 1) * p.stride_w + p.S) * max(p.C, p.K, 32) * 8 > _ROW_BYTES:  # K is padded to a block of at most 32
        return f"the input rows of one output row take more than {_ROW_BYTES // 2**20} MiB with their padding"
    return tiles_available()


def cost(problem: Conv2dProblem, direction: str, packed: bool = False) -> float:
    """Tiles times the length of their sums, and the copies of the filters."""
    p = problem
    C, K, taps = p.C // p.groups, p.K // p.groups, p.R * p.S
    if packed:
        return p.groups * tile_effort(K, p.N * p.P * p.Q) * C * taps
    if direction == "forward":
        return p.groups * (tile_effort(K, p.N * p.P * p.Q) * C * taps + filter_effort(C * K * taps))
    if direction == "backward_input":  # the phases of a stride share the taps between them
        return scatter.effort(_shape(p)) if _scatters(p) else _phases_effort(p)
    return min(_gradient_effort(p), column_gradient.effort(_shape(p), 4) if taps > 1 else float("inf"))


def _gradient_effort(p: Conv2dProblem) -> float:
    C, K, taps = p.C // p.groups, p.K // p.groups, p.R * p.S
    return p.groups * (tile_effort(K, C * taps) * p.N * p.P * p.Q + filter_effort(C * K * taps) * (taps > 1))


def _phases_effort(p: Conv2dProblem) -> float:
    C, K, taps = p.C // p.groups, p.K // p.groups, p.R * p.S
    return p.groups * (tile_effort(C, p.N * p.P * p.Q) * K * taps + filter_effort(C * K * taps))


@functools.lru_cache(maxsize=1024)
def _scatters(p: Conv2dProblem) -> bool:
    """Whether backward-input is better off with the columns of all taps: where there are too few channels for a tile."""
    return p.groups == 1 and p.C < 8 and scatter.effort(_shape(p)) < _phases_effort(p)


def _shape(p: Conv2dProblem, x_last: bool = True, y_last: bool = True) -> Geometry:
    sizes = p.R, p.S, p.stride_h, p.stride_w, p.top, p.left
    return geometry_of(sizes, (p.input_shape, x_last), (p.output_shape, y_last), p.groups)


def forward(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Correlate x with the weights; the accumulators start from the bias."""
    run = plan(problem, "forward", (checks.is_channels_last(x), checks.is_channels_last(y)), x.dtype)
    run(checks.flat(x), weight.reshape(-1), bias, checks.flat(y))


def backward_input(problem: Conv2dProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Correlate dy with the flipped taps of each phase of the stride."""
    run = plan(problem, "backward_input", (checks.is_channels_last(dy), checks.is_channels_last(dx)), dy.dtype)
    run(checks.flat(dy), weight.reshape(-1), checks.flat(dx))


def backward_weight(problem: Conv2dProblem, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """Sum x times dy over all output pixels."""
    key = problem, checks.is_channels_last(x), checks.is_channels_last(dy), x.dtype, machine.get_threads()
    _backward_weight(*key)(checks.flat(x), checks.flat(dy), dweight)


def plan(problem: Conv2dProblem, direction: str, channels_last: tuple[bool, bool], dtype: np.dtype) -> Callable[..., None]:
    """Return a direction for arrays of known memory."""
    key = problem, *channels_last, dtype, machine.get_threads()
    if direction == "forward":
        return _forward(*key)
    if direction == "backward_weight":
        run = _backward_weight(*key)
        return lambda x, dy, dweight: run(x, dy, dweight.reshape(problem.weight_shape))
    return _scatter(*key) if _scatters(problem) else _phased(*key)


def packing(problem: Conv2dProblem, dtype: np.dtype) -> tuple[Hashable, Callable[[np.ndarray], np.ndarray]]:
    """Pack blocks of output channels."""
    p = problem
    block = block_of(p.K // p.groups, dtype.itemsize)
    return block, filter_packer(all_taps(p.weight_shape, p.groups), block, dtype, p.groups)


def forward_packed(
    problem: Conv2dProblem,
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    y: np.ndarray,
    relu: int = 0,
    residual: np.ndarray | None = None,
) -> None:
    """Correlate x with packed weights; add `residual`, whose memory is as that of y."""
    formats = checks.is_channels_last(x), checks.is_channels_last(y)
    run = packed_plan(problem, formats, x.dtype, relu, residual is not None)
    run(checks.flat(x), weight, bias, checks.flat(y), *([] if residual is None else [checks.flat(residual)]))


def packed_plan(
    problem: Conv2dProblem, channels_last: tuple[bool, bool], dtype: np.dtype, relu: int, residual: bool
) -> Callable[..., None]:
    """Return `forward_packed` for arrays of known memory."""
    return _forward(problem, *channels_last, dtype, machine.get_threads(), True, relu, residual)


@functools.lru_cache(maxsize=1024)
def _forward(
    p: Conv2dProblem, x_last: bool, y_last: bool, dtype: np.dtype, threads: int, packed: bool = False, relu: int = 0, add: bool = False
) -> Callable[..., None]:
    shape = _shape(p, x_last, y_last)._replace(relu=int(relu), add=int(add))
    if not packed and planar.suits(shape, False, dtype.itemsize):
        return planar.correlation(shape, False, dtype)
    return correlation(shape, all_taps(p.weight_shape, p.groups), dtype, packed)


@functools.lru_cache(maxsize=1024)
def _scatter(p: Conv2dProblem, dy_last: bool, dx_last: bool, dtype: np.dtype, threads: int) -> Callable[..., None]:
    return scatter.scattering(_shape(p, dx_last, dy_last), dtype)


@functools.lru_cache(maxsize=1024)
def _phased(p: Conv2dProblem, dy_last: bool, dx_last: bool, dtype: np.dtype, threads: int) -> Callable[..., None]:
    """Return a function ``(dy, weight, dx)`` on flat arrays that correlates dy with the flipped taps of each phase of the stride."""
    correlate = phases.backward_input(_shape(p, dx_last, dy_last), p.weight_shape, dtype)
    # The zeros around dy times Inf are NaN; im2col has no such products. Whichever is smaller tells: the weight, or the result.
    before = math.prod(p.weight_shape) <= math.prod(p.input_shape)

    def by_im2col(dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
        images = checks.image(dy, p.output_shape, dy_last), checks.image(dx, p.input_shape, dx_last)
        with np.errstate(over="ignore", invalid="ignore"):
            im2col.backward_input(p, images[0], weight.reshape(p.weight_shape), images[1])

    def run(dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
        if before and not _is_finite(weight):
            return by_im2col(dy, weight, dx)
        correlate(dy, weight, dx)
        return None if before or _is_finite(dx) else by_im2col(dy, weight, dx)

    return run


@functools.lru_cache(maxsize=1024)
def _backward_weight(p: Conv2dProblem, x_last: bool, dy_last: bool, dtype: np.dtype, threads: int) -> Callable[..., None]:
    shape = _shape(p, x_last, dy_last)
    if planar_gradient.suits(shape, dtype.itemsize):
        return planar_gradient.weight_gradient(shape, dtype)
    if p.R * p.S > 1 and column_gradient.effort(shape, dtype.itemsize) < _gradient_effort(p) * dtype.itemsize / 4:
        return column_gradient.weight_gradient(shape, dtype)
    return weight_gradient(shape, dtype)


def _is_finite(values: np.ndarray) -> bool:
    if values.size <= _FEW:
        return bool(np.logical_and.reduce(np.isfinite(values)))
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()))
