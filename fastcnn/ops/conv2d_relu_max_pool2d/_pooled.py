"""Passes over channels-last memory: pooling and unpooling of whole images, where nothing fuses them, and the bias gradient."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ... import checks
from ...engine.pooling import pooler, unpooler
from ...jit import Kernel, kernel
from ..max_pool2d import MaxPool2dProblem

GEOMETRY = np.dtype([(name, np.int64) for name in MaxPool2dProblem._fields])

_CHUNK = 256  # rows of pixels summed one by one; the sums of chunks are summed after them, which also rounds less


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


def sum_of_passed(dy: np.ndarray, y: np.ndarray, total: np.ndarray) -> None:
    """Sum dy where y is not <= 0 over images and pixels; both have channels-last memory."""
    errors, values = (checks.flat(a).reshape(-1, a.shape[1] * a.shape[3]) for a in (dy, y))  # long rows: pixels of few channels are slow
    partial = np.empty((-(-len(errors) // _CHUNK), errors.shape[1]), total.dtype)
    _sum_chunk.launch(len(partial), errors, values, partial, work=8.0 * errors.size)
    with np.errstate(over="ignore", invalid="ignore"):
        total[...] = partial.sum(axis=0).reshape(-1, total.size).sum(axis=0)


@kernel
def _sum_chunk(job, errors, values, partial):
    total, zero = partial[job], partial.dtype.type(0)
    for k in range(total.size):
        total[k] = zero
    for row in range(job * _CHUNK, min(len(errors), (job + 1) * _CHUNK)):
        error, value = errors[row], values[row]
        for k in range(total.size):
            total[k] += zero if value[k] <= zero else error[k]


def windows_refuse(pool: MaxPool2dProblem) -> str | None:
    """Return why windows do not follow one another, without padding and all of them whole; None where they do."""
    if (pool.pad_h, pool.pad_w) != (0, 0):
        return "the pooling has padding"
    if (pool.stride_h, pool.stride_w) != (pool.R, pool.S):
        return f"the pooling's stride is {pool.stride_h} x {pool.stride_w}, its window {pool.R} x {pool.S}"
    if (pool.P, pool.Q) != (pool.H // pool.R, pool.W // pool.S):
        return "the last windows of the pooling are not whole"
    return None


def pool_images(pool: MaxPool2dProblem, x: np.ndarray, y: np.ndarray, winners: np.ndarray) -> None:
    """Pool what is positive in x; all three have channels-last memory."""
    run = _image_pooler((pool.R, pool.S) == (2, 2), x.dtype)
    run.launch(pool.N * pool.P, np.array([pool], GEOMETRY), *map(checks.flat, (x, y, winners)), work=8.0 * x.size)


def unpool_images(pool: MaxPool2dProblem, dy: np.ndarray, y: np.ndarray, winners: np.ndarray, dx: np.ndarray) -> None:
    """Unpool dy where y is not <= 0; all four have channels-last memory."""
    run = _image_unpooler((pool.R, pool.S) == (2, 2), dy.dtype)
    sizes = np.array([pool], GEOMETRY), np.array([pool.R, pool.S])
    run.launch(pool.N, *sizes, *map(checks.flat, (dy, y, winners, dx)), work=8.0 * dx.size)


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
