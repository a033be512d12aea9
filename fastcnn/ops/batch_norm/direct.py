"""Batch normalisation in one pass for its statistics and one to normalise; its gradient in one for its sums and one for dx.

What a pass computes per channel is combined in float64 between the passes, from parts in a fixed order: the same bits on any number of
threads.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks, machine
from ...jit import Kernel
from ...workspace import workspace
from . import _pixels, _planes
from ._geometry import GEOMETRY, counts, of_pixels, of_planes
from .problem import BatchNormProblem

WARNS = False


def forward(
    problem: BatchNormProblem,
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    y: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """Find mean and variance, then normalise; x and y share a memory format."""
    plan = _plan(problem, checks.is_channels_last(x) and checks.is_channels_last(y), x.dtype, machine.get_threads())
    source, target = checks.flat(x), checks.flat(y)
    with np.errstate(all="ignore"):  # infinities and NaN are data
        if problem.training:
            _statistics(plan, source, mean, variance)
        else:
            mean[...], variance[...] = running_mean, running_var
        table = _table(plan, 3, mean, weight / np.sqrt(variance + problem.eps), bias)
    plan.normalise(plan.record, source, target, source, table.reshape(-1), _NONE)


def backward_input(
    problem: BatchNormProblem,
    dy: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    mean: np.ndarray,
    inverse: np.ndarray,
    dx: np.ndarray,
    dweight: np.ndarray,
    dbias: np.ndarray,
) -> None:
    """Sum dy and dy * (x - mean), then combine them with both images; dy, x and dx share a memory format."""
    plan = _plan(problem, all(map(checks.is_channels_last, (dy, x, dx))), x.dtype, machine.get_threads())
    with np.errstate(all="ignore"):
        scale = weight * inverse
        table = _table(plan, 6, mean, scale, bias)
        centre, images = table[0, 0, :, 0], (*map(checks.flat, (dy, x, dx)), table.reshape(-1))
        parts = np.empty((len(plan.pixels), 2, problem.C, plan.spread))
        plan.products(plan.record, *images, parts.reshape(-1))
        total, product = parts.sum(axis=(0, 3))
        product = (product + (centre - mean) * total) * inverse  # the kernel's centre is rounded to the images' dtype
        dweight[...], dbias[...] = product, total
        slope = product * inverse * scale / -problem.pixels
        _fill(table, 3, scale, slope, (centre - mean) * slope - scale * total / problem.pixels)
    plan.gradient(plan.record, *images, _NONE)


_NONE = np.empty(0)
_SMALL_PLANE, _WIDEST = 256, 2**15  # elements


class _Plan:
    """How a problem is computed on arrays of one memory format and dtype, for the threads that the caller has.

    Attributes
    ----------
    record : Geometry as the kernels take it
    repetitions : int
        Of the channels in a row of the kernels' table.
    spread : int
        Columns that the kernels take for channels of their own, for each channel.
    pixels, shares : (parts, 1, 1) float64
        Values of a channel in each part, and the same as shares of all.
    """

    def __init__(self, p: BatchNormProblem, last: bool, dtype: np.dtype) -> None:
        area, self.spread = p.H * p.W, 1
        kernels: Any = _pixels
        if last:
            g = of_pixels(p.pixels, p.C)
        elif area <= _SMALL_PLANE and p.C * area <= _WIDEST:  # each place in an image as a channel: long loops, not many short ones
            g, self.spread = of_pixels(p.N, p.C * area), area
        else:
            g, kernels = of_planes(p.N, p.C, area), _planes
        self.record, self.dtype = np.array([g], GEOMETRY), dtype
        self.repetitions = g.group if kernels is _pixels else 1
        self.pixels = counts(g)[:, None, None]
        self.shares = self.pixels / p.pixels
        sums = g.parts if kernels is _pixels else g.parts * g.C
        self._problem, self._kernels, self._jobs = p, kernels, (sums, g.runs)

    @functools.cached_property
    def moments(self) -> Callable[..., None]:
        return self._bound(self._kernels.moments, self._jobs[0])

    @functools.cached_property
    def normalise(self) -> Callable[..., None]:
        return self._bound(self._kernels.normalise(self._problem.relu), self._jobs[1])

    @functools.cached_property
    def products(self) -> Callable[..., None]:
        return self._bound(self._kernels.products(self._problem.relu), self._jobs[0])

    @functools.cached_property
    def gradient(self) -> Callable[..., None]:
        return self._bound(self._kernels.gradient(self._problem.relu, self._problem.training), self._jobs[1])

    def _bound(self, kernel: Kernel, jobs: int) -> Callable[..., None]:
        p, image = self._problem, np.empty(0, self.dtype)
        return kernel.bound(jobs, self.record, image, image, image, image, _NONE, work=8.0 * p.pixels * p.C)


@functools.lru_cache(maxsize=1024)
def _plan(problem: BatchNormProblem, last: bool, dtype: np.dtype, threads: int) -> _Plan:
    return _Plan(problem, last, dtype)


def _statistics(plan: _Plan, x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> None:
    """Write the mean and the biased variance of every channel, both float64."""
    parts = np.empty((len(plan.pixels), 2, mean.size, plan.spread))
    plan.moments(plan.record, x, x, x, x, parts.reshape(-1))
    means, squares = parts[:, 0], parts[:, 1]
    (plan.shares * means).sum(axis=(0, 2), out=mean)
    means -= mean[:, None]
    means *= means
    means *= plan.pixels
    means += squares
    means.sum(axis=(0, 2), out=variance)
    variance *= plan.shares[0, 0, 0] / plan.pixels[0, 0, 0]  # over all pixels


def _table(plan: _Plan, rows: int, mean: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return a table (rows, repetitions, C, spread) for the kernels with centre, scale and shift in its first rows.

    The centre is the mean rounded to the images' dtype, so that x - centre is exact where it matters, near the mean; what was rounded off
    is in the shift.
    """
    shape = rows, plan.repetitions, scale.size, plan.spread
    table = workspace(math.prod(shape), plan.dtype).reshape(shape)  # begins at a cache line: a fifth of the time of a pass in the cache
    _fill(table, 0, mean, scale)
    _fill(table, 2, shift + (table[0, 0, :, 0] - mean) * scale)
    return table


def _fill(table: np.ndarray, first: int, *channels: np.ndarray) -> None:
    """Write values per channel to rows of a table."""
    for row, values in enumerate(channels, first):
        table[row] = values[:, None]
