"""Convolution, ReLU and max-pooling in one pass on matrix tiles, in bfloat16; the sums are pooled while they lie in the L1 cache.

float64 arrays are left to `direct`. References: `fastcnn.amx`, `engine.matrix_pool`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ... import amx, checks, machine
from ...engine import matrix_gradient
from ...engine.filters import all_taps, filter_effort
from ...engine.matrix_correlate import effort
from ...engine.matrix_pool import pooled_correlation, unpooled_correlation
from . import direct, unfused
from ._geometry import backward_geometry, flipped_taps, forward_geometry, window_of
from ._pooled import channels_last_memory, into_channels_last, passed_summer
from .problem import Conv2dReluMaxPool2dProblem

PRECISION = "medium"
ERROR_GROWTH = 2.0**15  # of products of bfloat16 factors
_POOL, _UNPOOL = 0.6, 1.5  # vector multiply-adds of float32 per pixel before pooling, measured


def refuses(problem: Conv2dReluMaxPool2dProblem) -> str | None:
    """As `direct`, and the tiles must be there."""
    return direct.refuses(problem) or amx.unavailable()


def cost(problem: Conv2dReluMaxPool2dProblem, direction: str) -> float:
    """Return the estimate of the engine, what packing the weights costs, and the pooling."""
    p = problem.conv
    pixels = p.N * p.K * p.P * p.Q
    packing = filter_effort(p.C * p.K * p.R * p.S)
    if direction == "forward":
        return packing + effort(forward_geometry(problem, True)) + _POOL * pixels
    if direction == "backward_weight":
        if matrix_gradient.refuses(forward_geometry(problem, True), window_of(problem)):
            return direct.cost(problem, direction) + 1
        return matrix_gradient.effort(forward_geometry(problem, True), window_of(problem))
    if (p.stride_h, p.stride_w) != (1, 1):
        return unfused.cost(problem, direction) + 1
    return packing + effort(backward_geometry(problem, True), False) + _UNPOOL * pixels


def forward(
    problem: Conv2dReluMaxPool2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, winners: np.ndarray
) -> None:
    """Correlate a row of windows, raise it to 0, pool it."""
    if x.dtype == np.float64:
        return direct.forward(problem, x, weight, bias, y, winners)
    run = _forward(problem, checks.is_channels_last(x), machine.get_threads())
    return into_channels_last(lambda *images: run(checks.flat(x), weight.reshape(-1), bias, *images), y, winners)


def backward_input(
    problem: Conv2dReluMaxPool2dProblem, dy: np.ndarray, y: np.ndarray, winners: np.ndarray, weight: np.ndarray, dx: np.ndarray
) -> None:
    """Correlate the unpooled gradient with the flipped weights."""
    p = problem.conv
    if dy.dtype == np.float64:
        return direct.backward_input(problem, dy, y, winners, weight, dx)
    # The zeros around dy times Inf are NaN, which conv2d knows to avoid.
    if (p.stride_h, p.stride_w) != (1, 1) or not np.isfinite(weight.sum()):
        return unfused.backward_input(problem, dy, y, winners, weight, dx)
    run = _backward_input(problem, checks.is_channels_last(dx), machine.get_threads())
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
    run = None if x.dtype == np.float64 else _backward_weight(problem, checks.is_channels_last(x), machine.get_threads())
    if run is not None:
        errors, values, places = (channels_last_memory(a) for a in (dy, y, winners))
        run(checks.flat(x), checks.flat(errors), checks.flat(values), checks.flat(places), dweight)
        if np.isfinite(dweight.sum()):
            return passed_summer(problem, x.dtype)(checks.flat(errors), checks.flat(values), dbias)
    return direct.backward_weight(problem, x, dy, y, winners, dweight, dbias)


@functools.lru_cache(maxsize=1024)
def _forward(problem: Conv2dReluMaxPool2dProblem, x_last: bool, threads: int) -> Callable[..., None]:
    return pooled_correlation(forward_geometry(problem, x_last), window_of(problem), all_taps(problem.conv.weight_shape))


@functools.lru_cache(maxsize=1024)
def _backward_input(problem: Conv2dReluMaxPool2dProblem, dx_last: bool, threads: int) -> Callable[..., None]:
    return unpooled_correlation(backward_geometry(problem, dx_last), window_of(problem), flipped_taps(problem))


@functools.lru_cache(maxsize=1024)
def _backward_weight(problem: Conv2dReluMaxPool2dProblem, x_last: bool, threads: int) -> Callable[..., None] | None:
    """Return the gradient on tiles, or None where it is left to `direct`."""
    geometry, window = forward_geometry(problem, x_last), window_of(problem)
    return None if matrix_gradient.refuses(geometry, window) else matrix_gradient.unpooled_weight_gradient(geometry, window)
