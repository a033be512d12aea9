"""Backward over the gradients that are not 0 alone: behind max-pooling with ReLU, one pixel in four or fewer.

A gradient that is 0, or that no pixel of its window passes, contributes nothing, also where it meets Inf or NaN (of x or the weights): 0
times infinity counts as 0, where the sums over all pixels of the other variants make NaN of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ... import checks, machine
from ...engine.sparse_gradient import Pooled, weight_effort, weight_gradient
from ...engine.sparse_input import input_effort, input_gradient
from ...engine.sparse_simd import BLOCK
from ._pooled import channels_last_memory, windows_refuse
from .problem import Conv2dReluMaxPool2dProblem


def refuses(problem: Conv2dReluMaxPool2dProblem) -> str | None:
    """Windows must follow one another, and a kernel's row be contiguous in channels-last images."""
    p, pool = problem
    if reason := windows_refuse(pool):
        return reason
    if p.groups != 1:
        return "groups is not 1"
    if (p.dilation_h, p.dilation_w) != (1, 1):
        return "dilation is not 1"
    if p.K < BLOCK:
        return f"fewer than {BLOCK} filters"
    if (p.left + p.W + p.right) * (p.C + 64) * (p.R + pool.R * p.stride_h) >= 2**30:
        return "a row of images has so many elements that places in it are no 32-bit integers"
    return machine.tiles_available()


def cost(problem: Conv2dReluMaxPool2dProblem, direction: str) -> float:
    """Return the estimate of the engine, for half of all windows open; how many are is not known when a variant is chosen."""
    pooled = _pooled(problem, True)
    return input_effort(pooled) if direction == "backward_input" else weight_effort(pooled)


def backward_input(
    problem: Conv2dReluMaxPool2dProblem, dy: np.ndarray, y: np.ndarray, winners: np.ndarray, weight: np.ndarray, dx: np.ndarray
) -> None:
    """List the gradients that pass to each pixel, and sum the weights that they meet."""
    if dy.size == 0:
        dx[...] = 0
        return
    run = _backward_input(problem, checks.is_channels_last(dx), dx.dtype, machine.get_threads())
    errors, values, places = (checks.flat(channels_last_memory(a)) for a in (dy, y, winners))
    run(errors, values, places, weight.reshape(-1), checks.flat(dx))


def backward_weight(
    problem: Conv2dReluMaxPool2dProblem,
    x: np.ndarray,
    dy: np.ndarray,
    y: np.ndarray,
    winners: np.ndarray,
    dweight: np.ndarray,
    dbias: np.ndarray,
) -> None:
    """List the gradients of each channel that pass, and sum the pixels of x that they meet."""
    if dy.size == 0:
        dweight[...], dbias[...] = 0, 0
        return
    run = _backward_weight(problem, checks.is_channels_last(x), x.dtype, machine.get_threads())
    errors, values, places = (checks.flat(channels_last_memory(a)) for a in (dy, y, winners))
    run(checks.flat(x), errors, values, places, dweight, dbias)


def plan(
    problem: Conv2dReluMaxPool2dProblem, direction: str, channels_last: tuple[bool, bool], dtype: np.dtype
) -> Callable[..., None] | None:
    """Return a direction on flat arrays, where there are any pooled ones and they are channels-last."""
    x_last, pooled_last = channels_last if direction == "backward_weight" else channels_last[::-1]
    if not pooled_last or 0 in problem.output_shape:
        return None
    make = _backward_weight if direction == "backward_weight" else _backward_input
    return make(problem, x_last, dtype, machine.get_threads())


@functools.lru_cache(maxsize=1024)
def _backward_weight(problem: Conv2dReluMaxPool2dProblem, x_last: bool, dtype: np.dtype, threads: int) -> Callable[..., None]:
    return weight_gradient(_pooled(problem, x_last), dtype)


@functools.lru_cache(maxsize=1024)
def _backward_input(problem: Conv2dReluMaxPool2dProblem, dx_last: bool, dtype: np.dtype, threads: int) -> Callable[..., None]:
    return input_gradient(_pooled(problem, dx_last), dtype)


def _pooled(problem: Conv2dReluMaxPool2dProblem, x_last: bool) -> Pooled:
    p, pool = problem
    n, c, h, w = checks.strides_of(p.input_shape, x_last)
    return Pooled(
        p.N, p.C, p.H, p.W, n, c, h, w, p.K, p.R, p.S, p.stride_h, p.stride_w, p.top, p.left, pool.R, pool.S, pool.P, pool.Q
    )  # fmt: skip
