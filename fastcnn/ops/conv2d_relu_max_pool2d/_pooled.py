"""Passes over channels-last memory: pooling and unpooling of whole images, where nothing fuses them, and the bias gradient."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ... import checks
from ...engine.column_sums import column_sums
from ...engine.pooling import pooler, unpooler
from ...jit import Kernel, kernel
from ..max_pool2d import MaxPool2dProblem
from .problem import Conv2dReluMaxPool2dProblem

GEOMETRY = np.dtype([(name, np.int64) for name in MaxPool2dProblem._fields])


def channels_last_memory(image: np.ndarray) -> np.ndarray:
    """Return an (N, K, P, Q) array whose memory is (N, P, Q, K), copying where it is not."""
    return image if checks.is_channels_last(image) else np.ascontiguousarray(image.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def into_channels_last(run: Callable[..., None], y: np.ndarray, winners: np.ndarray) -> None:
    """Call run(y, winners) on flat channels-last memory: that of the images themselves, or of others that are copied to them."""
    last = checks.is_channels_last(y), checks.is_channels_last(winners)
    pooled, places = (a if is_last else channels_last_memory(np.empty_like(a)) for a, is_last in zip((y, winners), last, strict=True))
    run(checks.flat(pooled), checks.flat(places))
    if not last[0]:
        y[...] = pooled
    if not last[1]:
        winners[...] = places


def passed_summer(problem: Conv2dReluMaxPool2dProblem, dtype: np.dtype) -> Callable[..., None]:
    """Return a function ``(dy, y, total)`` on flat channels-last arrays that sums dy where y is not <= 0 over images and pixels."""
    N, K, P, Q = problem.output_shape
    return column_sums((N * P, Q * K), dtype, True)  # long rows: pixels of few channels are slow


def windows_refuse(pool: MaxPool2dProblem) -> str | None:
    """Return why windows do not follow one another, without padding and all of them whole; None where they do."""
    if (pool.pad_h, pool.pad_w) != (0, 0):
        return "the pooling has padding"
    if (pool.stride_h, pool.stride_w) != (pool.R, pool.S):
        return f"the pooling's stride is {pool.stride_h} x {pool.stride_w}, its window {pool.R} x {pool.S}"
    if (pool.P, pool.Q) != (pool.H // pool.R, pool.W // pool.S):
        return "the last windows of the pooling are not whole"
    return None


def image_pooler(pool: MaxPool2dProblem, dtype: np.dtype) -> Callable[..., None]:
    """Return a function ``(x, y, winners)`` on flat channels-last arrays that pools what is positive in x."""
    sample, sizes = np.empty(0, dtype), np.array([pool], GEOMETRY)
    work = 8.0 * pool.N * pool.H * pool.W * pool.C
    run = _image_pooler((pool.R, pool.S) == (2, 2), dtype).bound(pool.N * pool.P, sizes, sample, sample, np.empty(0, np.uint8), work=work)
    return lambda x, y, winners: run(sizes, x, y, winners)


def image_unpooler(pool: MaxPool2dProblem, dtype: np.dtype) -> Callable[..., None]:
    """Return a function ``(dy, y, winners, dx)`` on flat channels-last arrays that unpools dy where y is not <= 0."""
    sample, sizes, window = np.empty(0, dtype), np.array([pool], GEOMETRY), np.array([pool.R, pool.S])
    work = 8.0 * pool.N * pool.H * pool.W * pool.C
    places = np.empty(0, np.uint8)
    run = _image_unpooler((pool.R, pool.S) == (2, 2), dtype).bound(pool.N, sizes, window, sample, sample, places, sample, work=work)
    return lambda dy, y, winners, dx: run(sizes, window, dy, y, winners, dx)


@functools.cache
def _image_pooler(quads: bool, dtype: np.dtype) -> Kernel:
    pool_row = pooler(quads, dtype)

    @kernel(specialisation=(quads, dtype.str))
    def pool_windows(job, geometry, x, y, winners):
        g = geometry[0]
        n, p = job // g.P, job % g.P
        first = (n * g.H + p * g.R) * g.W * g.C
        pool_row(x, first, g.W, g.C, g.R, g.S, g.C, y, winners, job * g.Q * g.C, g.C)

    return pool_windows


@functools.cache
def _image_unpooler(quads: bool, dtype: np.dtype) -> Kernel:
    unpool = unpooler(quads, dtype)

    @kernel(specialisation=(quads, dtype.str))
    def unpool_image(job, geometry, window, dy, y, winners, dx):
        g = geometry[0]
        at, out, y_h = job * g.P * g.Q * g.C, job * g.H * g.W * g.C, g.Q * g.C
        unpool(dy, y, winners, at, y_h, g.C, window, g.H, g.W, g.C, 0, 0, dx, out, g.H, g.W, g.C)

    return unpool_image
