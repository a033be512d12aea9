"""One public operation after the other: what each precision makes of them is a variant."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks
from .. import conv2d_relu as _conv2d_relu
from ..conv2d import OPERATION as CONVOLUTION
from ..max_pool2d import OPERATION as POOLING
from ._pooled import channels_last_memory, image_pooler, image_unpooler, passed_summer, windows_refuse
from .problem import Conv2dReluMaxPool2dProblem

# Vector multiply-adds per pixel before pooling, measured: windows that follow one another in channels-last memory, and all others.
_FAST, _SLOW = {"forward": 0.9, "backward": 1.5}, {"forward": 5.0, "backward": 11.0}


def cost(problem: Conv2dReluMaxPool2dProblem, direction: str, precision: str) -> float:
    """Return what the best convolution costs, and passes over its output."""
    p = problem.conv
    per_pixel = (_SLOW if windows_refuse(problem.pool) else _FAST)[direction.partition("_")[0]]
    return (CONVOLUTION.candidates(p, direction, precision)[0][1] or 0.0) + per_pixel * p.N * p.K * p.P * p.Q


def forward(
    problem: Conv2dReluMaxPool2dProblem,
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    y: np.ndarray,
    winners: np.ndarray,
    precision: str,
) -> None:
    """Convolve with ReLU, pool, and turn indices into places within the windows."""
    p, pool = problem
    last = checks.is_channels_last(y) and checks.is_channels_last(winners)
    if last and windows_refuse(pool) is None:
        dense = _empty(p.output_shape, y.dtype, True)
        CONVOLUTION.choose(p, "forward", precision=precision)(p, x, weight, bias, dense)
        return image_pooler(pool, y.dtype)(*map(checks.flat, (dense, y, winners)))
    dense = _empty(p.output_shape, y.dtype, last)
    indices = _empty(pool.output_shape, np.dtype(np.int64), last)
    _conv2d_relu.OPERATION.choose(p, "forward", precision=precision)(p, x, weight, bias, dense)
    POOLING.choose(pool, "forward")(pool, dense, y, indices)
    rows, columns = _origins(problem)
    winners[...] = (indices // pool.W - rows) * pool.S + (indices % pool.W - columns)
    return None


def backward_input(
    problem: Conv2dReluMaxPool2dProblem,
    dy: np.ndarray,
    y: np.ndarray,
    winners: np.ndarray,
    weight: np.ndarray,
    dx: np.ndarray,
    precision: str,
) -> None:
    """Unpool the gradient, then convolve back."""
    errors = _unpooled(problem, dy, y, winners)
    CONVOLUTION.choose(problem.conv, "backward_input", precision=precision)(problem.conv, errors, weight, dx)


def backward_weight(
    problem: Conv2dReluMaxPool2dProblem,
    x: np.ndarray,
    dy: np.ndarray,
    y: np.ndarray,
    winners: np.ndarray,
    dweight: np.ndarray,
    dbias: np.ndarray,
    precision: str,
) -> None:
    """Unpool the gradient, then sum over the pixels; a bias gathers what passed each window."""
    errors = _unpooled(problem, dy, y, winners)
    CONVOLUTION.choose(problem.conv, "backward_weight", precision=precision)(problem.conv, x, errors, dweight)
    passed_summer(problem, dy.dtype)(*(checks.flat(channels_last_memory(a)) for a in (dy, y)), dbias)


def plan(
    problem: Conv2dReluMaxPool2dProblem, direction: str, channels_last: tuple[bool, bool], dtype: np.dtype, precision: str
) -> Callable[..., None] | None:
    """Return a direction on flat arrays, where windows follow one another, all pooled arrays are channels-last and conv2d has a plan."""
    conv, pool = problem
    x_last, pooled_last = channels_last[::-1] if direction == "backward_input" else channels_last
    convolution: Any = CONVOLUTION.choose(conv, direction, precision=precision)
    if not pooled_last or windows_refuse(pool) is not None or convolution.plan is None or 0 in problem.output_shape:
        return None
    compute = convolution.plan(conv, channels_last=(x_last, True) if direction != "backward_input" else (True, x_last), dtype=dtype)
    if compute is None:
        return None
    allocate = checks.allocator("conv2d_relu_max_pool2d", (math.prod(pool.input_shape),), dtype)
    if direction == "forward":
        pool_images = image_pooler(pool, dtype)

        def forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, winners: np.ndarray) -> None:
            dense = allocate()
            compute(x, weight, bias, dense)
            pool_images(dense, y, winners)

        return forward
    unpool_images, sums = image_unpooler(pool, dtype), passed_summer(problem, dtype)

    def backward_input(dy: np.ndarray, y: np.ndarray, winners: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
        errors = allocate()
        unpool_images(dy, y, winners, errors)
        compute(errors, weight, dx)

    def backward_weight(x: np.ndarray, dy: np.ndarray, y: np.ndarray, winners: np.ndarray, dweight: np.ndarray, dbias: np.ndarray) -> None:
        errors = allocate()
        unpool_images(dy, y, winners, errors)
        compute(x, errors, dweight)
        sums(dy, y, dbias)

    return backward_input if direction == "backward_input" else backward_weight


def _unpooled(problem: Conv2dReluMaxPool2dProblem, dy: np.ndarray, y: np.ndarray, winners: np.ndarray) -> np.ndarray:
    """Return the gradient before pooling, channels-last."""
    pool = problem.pool
    dy, y, winners = (channels_last_memory(a) for a in (dy, y, winners))
    if windows_refuse(pool) is None:
        errors = _empty(pool.input_shape, dy.dtype, True)
        image_unpooler(pool, dy.dtype)(*map(checks.flat, (dy, y, winners, errors)))
        return errors
    rows, columns = _origins(problem)
    places = winners.astype(np.int64)
    indices = (rows + places // pool.S) * pool.W + columns + places % pool.S
    errors = _empty(pool.input_shape, dy.dtype, True)
    POOLING.choose(pool, "backward_input")(pool, np.where(y <= 0, dy.dtype.type(0), dy), indices, errors)
    return errors


def _origins(problem: Conv2dReluMaxPool2dProblem) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row (P, 1) and column (Q,) of every window."""
    pool = problem.pool
    return np.arange(pool.P)[:, None] * pool.stride_h - pool.pad_h, np.arange(pool.Q) * pool.stride_w - pool.pad_w


def _empty(shape: tuple[int, int, int, int], dtype: np.dtype, last: bool) -> np.ndarray:
    return checks.empty_image("conv2d_relu_max_pool2d", shape, dtype, "NHWC" if last else "NCHW")
