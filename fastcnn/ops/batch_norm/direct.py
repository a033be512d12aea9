"""Batch normalisation in one pass for its statistics and one to normalise; its gradient in one for its sums and one for dx.

What a pass computes per channel is combined in float64 between the passes, from parts in a fixed order: the same bits on any number of
threads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks, machine
from ...jit import in_turn
from ...workspace import workspace
from . import _channels, _pixels, _planes
from ._geometry import GEOMETRY, Geometry, of_pixels, of_planes
from .problem import BatchNormProblem

WARNS = False
_SMALL_PLANE, _WIDEST = 256, 2**15  # elements


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
    run = plan(problem, "forward", (checks.is_channels_last(x), checks.is_channels_last(y)), x.dtype)
    run(checks.flat(x), weight, bias, running_mean, running_var, checks.flat(y), mean, variance)


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
    run = plan(problem, "backward_input", (checks.is_channels_last(x), checks.is_channels_last(dx)), x.dtype)
    run(checks.flat(dy), checks.flat(x), weight, bias, mean, inverse, checks.flat(dx), dweight, dbias)


def plan(problem: BatchNormProblem, direction: str, channels_last: tuple[bool, bool], dtype: np.dtype) -> Callable[..., None]:
    """Return a direction for arrays of known memory."""
    make = _forward if direction == "forward" else _backward
    return make(problem, all(channels_last), dtype, machine.get_threads())


@functools.lru_cache(maxsize=1024)
def _forward(p: BatchNormProblem, last: bool, dtype: np.dtype, threads: int) -> Callable[..., None]:
    g, kernels = _geometry(p, last)
    sums = [(kernels.moments, _sums(g, kernels), 1)] if p.training else []
    launch = _launcher(p, g, kernels, [*sums, (_channels.prepare(p.training), 1, 0), (kernels.normalise(p.relu), g.runs, 1)], 3, dtype)

    def run(
        x: np.ndarray, weight: np.ndarray, bias: np.ndarray, first: np.ndarray, second: np.ndarray,
        y: np.ndarray, mean: np.ndarray, variance: np.ndarray,
    ) -> None:  # fmt: skip
        launch(x, y, x, weight, bias, first, second, mean, variance)

    return run


@functools.lru_cache(maxsize=1024)
def _backward(p: BatchNormProblem, last: bool, dtype: np.dtype, threads: int) -> Callable[..., None]:
    g, kernels = _geometry(p, last)
    steps = [
        (_channels.restore, 1, 0), (kernels.products(p.relu), _sums(g, kernels), 1),
        (_channels.combine, 1, 0), (kernels.gradient(p.relu, p.training), g.runs, 1),
    ]  # fmt: skip
    launch = _launcher(p, g, kernels, steps, 6, dtype)

    def run(
        dy: np.ndarray, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, mean: np.ndarray, inverse: np.ndarray,
        dx: np.ndarray, dweight: np.ndarray, dbias: np.ndarray,
    ) -> None:  # fmt: skip
        launch(dy, x, dx, weight, bias, dweight, dbias, mean, inverse)

    return run


def _geometry(p: BatchNormProblem, last: bool) -> tuple[Geometry, Any]:
    """Return how images of one memory format are cut into jobs, and the module whose kernels do them."""
    area = p.H * p.W
    kernels: Any = _pixels
    if last:
        g = of_pixels(p.pixels, p.C)
    elif area <= _SMALL_PLANE and p.C * area <= _WIDEST:  # each place in an image as a channel: long loops, not many short ones
        g = of_pixels(p.N, p.C * area)
    else:
        g, kernels = of_planes(p.N, p.C, area), _planes
    return g._replace(eps=p.eps), kernels


def _sums(g: Geometry, kernels: Any) -> int:
    """Return the jobs of a pass that sums."""
    return g.parts if kernels is _pixels else g.parts * g.C


def _launcher(
    p: BatchNormProblem, g: Geometry, kernels: Any, steps: list[tuple[Any, int, int]], rows: int, dtype: np.dtype
) -> Callable[..., None]:
    """Return a launch of `steps`, each (kernel, jobs, whether it passes over the images), on a table of `rows`.

    It takes the arguments of `_channels` but geometry, table and parts.
    """
    record, width = np.array([g], GEOMETRY), g.C * (g.group if kernels is _pixels else 1)
    image, numbers = np.empty(0, dtype), np.empty(0)
    work = 8.0 * p.pixels * p.C
    run = in_turn(
        [(kernel, jobs, work * passes) for kernel, jobs, passes in steps],
        record, *[image] * 4, numbers, *[image] * 4, numbers, numbers,
    )  # fmt: skip

    def launch(a: np.ndarray, b: np.ndarray, c: np.ndarray, *channels: np.ndarray) -> None:
        table = workspace(rows * width, dtype)  # begins at a cache line: a fifth of the time of a pass in the cache
        run(record, a, b, c, table, np.empty(2 * g.parts * g.C), *channels)

    return launch
