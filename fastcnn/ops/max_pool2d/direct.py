"""Max-pooling in one pass: over pixels in vectors of channels, or over planes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks, machine
from ...engine import windows
from .problem import MaxPool2dProblem

WARNS = False


def forward(problem: MaxPool2dProblem, x: np.ndarray, y: np.ndarray, indices: np.ndarray) -> None:
    """Pool every image (channels-last) or plane (NCHW); x, y and indices share a memory format."""
    last = checks.is_channels_last(x) and checks.is_channels_last(y)
    places = checks.flat(indices) if problem.with_indices else indices
    plan(problem, "forward", (last, last), x.dtype)(checks.flat(x), checks.flat(y), places)


def backward_input(problem: MaxPool2dProblem, dy: np.ndarray, indices: np.ndarray, dx: np.ndarray) -> None:
    """Add every gradient to the pixel that its window chose."""
    last = checks.is_channels_last(dx) and checks.is_channels_last(dy)  # an image of one pixel or channel is in both formats
    plan(problem, "backward_input", (last, last), dx.dtype)(checks.flat(dy), checks.flat(indices), checks.flat(dx))


def plan(problem: MaxPool2dProblem, direction: str, channels_last: tuple[bool, bool], dtype: np.dtype) -> Callable[..., None]:
    """Return the direction as a function of flat memory."""
    return (_forward if direction == "forward" else _backward)(problem, all(channels_last), dtype, machine.get_threads())


@functools.lru_cache(maxsize=512)  # tables and all take 60 us to make
def _forward(problem: MaxPool2dProblem, last: bool, dtype: np.dtype, threads: int) -> Callable[..., None]:
    p = problem
    if p.adaptive:
        rows, columns = windows.adaptive(p.H, p.P), windows.adaptive(p.W, p.Q)
    else:
        rows = windows.sliding(p.H, p.R, p.stride_h, p.pad_h, p.dilation_h, p.P)
        columns = windows.sliding(p.W, p.S, p.stride_w, p.pad_w, p.dilation_w, p.Q)
    images, size = _images(p, last)
    run: Any
    if windows.strips()[2] <= size.C and p.H * p.W < 2**31 and not machine.jit_is_disabled():
        run, units = windows.pixel_pooler(dtype, p.with_indices), images * p.P
    else:
        run, units = windows.pool_places if p.with_indices else windows.pool_rows, images
    elements = p.N * p.C * (p.H * p.W + p.P * p.Q)
    jobs, sizes = size.cut(units, elements)
    lowest = np.array([-np.inf if dtype.kind == "f" else np.iinfo(dtype).min], dtype)
    data, places = np.empty(0, dtype), np.empty(0, np.int64)
    bound = run.bound(jobs, sizes, rows, columns, data, data, places, lowest, work=8.0 * elements)
    return lambda x, y, indices: bound(sizes, rows, columns, x, y, indices, lowest)


@functools.lru_cache(maxsize=512)
def _backward(problem: MaxPool2dProblem, last: bool, dtype: np.dtype, threads: int) -> Callable[..., None]:
    images, size = _images(problem, last)
    elements = problem.N * problem.C * (problem.H * problem.W + problem.P * problem.Q)
    jobs, sizes = size.cut(images, elements)
    data = np.empty(0, dtype)
    bound = windows.route.bound(jobs, sizes, data, np.empty(0, np.int64), data, work=8.0 * elements)
    return lambda dy, indices, dx: bound(sizes, dy, indices, dx)


def _images(problem: MaxPool2dProblem, last: bool) -> tuple[int, windows.Size]:
    """Return how many images there are, and their size: planes are images of one channel."""
    p = problem
    images, C = (p.N, p.C) if last else (p.N * p.C, 1)
    return images, windows.Size(C, p.H, p.W, p.P, p.Q, p.dilation_h, p.dilation_w)
