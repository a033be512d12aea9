"""Direct convolution in register tiles, pooled a row of windows at a time while it lies in the L1 cache.

Backward unpools the rows that it reads on their way into the cache. References: `engine.fused_pool`, `engine.fused_unpool`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ... import checks, machine
from ...engine.correlate import tile_effort
from ...engine.filters import all_taps, filter_effort
from ...engine.fused_pool import pooled_correlation
from ...engine.fused_unpool import unpooled_correlation, unpooled_weight_gradient
from ..conv2d import OPERATION
from . import unfused
from ._geometry import backward_geometry, flipped_taps, forward_geometry, window_of
from ._pooled import channels_last_memory, into_channels_last, passed_summer, windows_refuse
from .problem import Conv2dReluMaxPool2dProblem

_CONVOLUTION = OPERATION.variants["direct"]
_POOL, _UNPOOL = 0.7, 0.9  # vector multiply-adds per pixel before pooling, measured


def refuses(problem: Conv2dReluMaxPool2dProblem) -> str | None:
    """Windows must follow one another, and the convolution be one that conv2d's `direct` takes."""
    p = problem.conv
    if reason := windows_refuse(problem.pool):
        return reason
    if p.R == p.S == 1:
        return "the kernel is 1 x 1: a matrix product, which keeps no rows apart"
    if p.groups != 1:
        return "groups is not 1"
    return _CONVOLUTION.refuses(p, "forward")


def cost(problem: Conv2dReluMaxPool2dProblem, direction: str) -> float:
    """Return what conv2d's `direct` costs on the pixels that lie in windows, and their pooling."""
    p, pool = problem
    if direction == "backward_input":
        if (p.stride_h, p.stride_w) != (1, 1):
            return unfused.cost(problem, direction) + 1
        tiles = tile_effort(p.C, p.N * p.H * p.W) * p.K * p.R * p.S + filter_effort(p.C * p.K * p.R * p.S)
        return tiles + _UNPOOL * p.N * p.K * p.P * p.Q
    pixels = pool.P * pool.R * pool.Q * pool.S
    share = pixels / (p.P * p.Q)
    return share * (_CONVOLUTION.cost(p, direction) or 0.0) + (_POOL if direction == "forward" else _UNPOOL) * p.N * p.K * pixels


def forward(
    problem: Conv2dReluMaxPool2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, winners: np.ndarray
) -> None:
    """Correlate a few rows of a block of channels, raise them to 0, pool them."""
    run = _forward(problem, checks.is_channels_last(x), x.dtype, machine.get_threads())
    into_channels_last(lambda *images: run(checks.flat(x), weight.reshape(-1), bias, *images), y, winners)


def backward_input(
    problem: Conv2dReluMaxPool2dProblem, dy: np.ndarray, y: np.ndarray, winners: np.ndarray, weight: np.ndarray, dx: np.ndarray
) -> None:
    """Correlate the unpooled gradient with the flipped weights."""
    p = problem.conv
    # The zeros around dy times Inf are NaN, which conv2d knows to avoid.
    if (p.stride_h, p.stride_w) != (1, 1) or not np.isfinite(weight.sum()):
        return unfused.backward_input(problem, dy, y, winners, weight, dx)
    run = _backward_input(problem, checks.is_channels_last(dx), dx.dtype, machine.get_threads())
    errors, values, places = (checks.flat(channels_last_memory(a)) for a in (dy, y, winners))
    return run(errors, values, places, weight.reshape(-1), checks.flat(dx))


def backward_weight(
    problem: Conv2dReluMaxPool2dProblem,
    x: np.ndarray,
    dy: np.ndarray,
    y: np.ndarray,
    winners: np.ndarray,
    dweight: np.ndarray,
    dbias: np.ndarray,
) -> None:
    """Sum x times the unpooled gradient over all pixels; a bias gathers what passed each window."""
    run = _backward_weight(problem, checks.is_channels_last(x), x.dtype, machine.get_threads())
    errors, values, places = (channels_last_memory(a) for a in (dy, y, winners))
    run(checks.flat(x), checks.flat(errors), checks.flat(values), checks.flat(places), dweight)
    passed_summer(problem, x.dtype)(checks.flat(errors), checks.flat(values), dbias)


def plan(
    problem: Conv2dReluMaxPool2dProblem, direction: str, channels_last: tuple[bool, bool], dtype: np.dtype
) -> Callable[..., None] | None:
    """Return a direction on flat arrays, where the pooled ones are channels-last; backward-input looks at its weights first."""
    x_last, pooled_last = channels_last
    if direction == "backward_input" or not pooled_last:
        return None
    key = problem, x_last, dtype, machine.get_threads()
    if direction == "forward":
        return _forward(*key)
    gradient, sums = _backward_weight(*key), passed_summer(problem, dtype)

    def run(x: np.ndarray, dy: np.ndarray, y: np.ndarray, winners: np.ndarray, dweight: np.ndarray, dbias: np.ndarray) -> None:
        gradient(x, dy, y, winners, dweight.reshape(problem.weight_shape))
        sums(dy, y, dbias)

    return run


@functools.lru_cache(maxsize=1024)
def _forward(problem: Conv2dReluMaxPool2dProblem, x_last: bool, dtype: np.dtype, threads: int) -> Callable[..., None]:
    p = problem.conv
    return pooled_correlation(forward_geometry(problem, x_last), window_of(problem), all_taps(p.weight_shape), dtype)


@functools.lru_cache(maxsize=1024)
def _backward_input(problem: Conv2dReluMaxPool2dProblem, dx_last: bool, dtype: np.dtype, threads: int) -> Callable[..., None]:
    return unpooled_correlation(backward_geometry(problem, dx_last), window_of(problem), flipped_taps(problem), dtype)


@functools.lru_cache(maxsize=1024)
def _backward_weight(problem: Conv2dReluMaxPool2dProblem, x_last: bool, dtype: np.dtype, threads: int) -> Callable[..., None]:
    return unpooled_weight_gradient(forward_geometry(problem, x_last), window_of(problem), dtype)
