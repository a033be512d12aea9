"""Average-pooling in one pass: over pixels in vectors of channels, or over planes; the gradient is such a pass too.

An average is a sum over a range of rows and a range of columns. Backward sums over the windows that hold a pixel, which also are ranges, so
that it writes every pixel once: the same kernel with the tables turned round, and divided before the sum instead of after it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ... import checks, machine
from ...engine import windows
from .problem import AvgPool2dProblem

WARNS = False


def forward(problem: AvgPool2dProblem, x: np.ndarray, y: np.ndarray) -> None:
    """Average every window; x and y share a memory format."""
    _run(problem, "forward", x, y)


def backward_input(problem: AvgPool2dProblem, dy: np.ndarray, dx: np.ndarray) -> None:
    """Sum over the windows of every pixel; dy and dx share a memory format."""
    _run(problem, "backward_input", dy, dx)


def plan(problem: AvgPool2dProblem, direction: str, channels_last: tuple[bool, bool], dtype: np.dtype) -> Callable[..., None]:
    """Return the direction as a function of flat memory."""
    return _planned(problem, direction, all(channels_last), dtype, machine.get_threads())


@functools.lru_cache(maxsize=512)  # tables and all take 60 to 100 us to make
def _planned(problem: AvgPool2dProblem, direction: str, last: bool, dtype: np.dtype, threads: int) -> Callable[..., None]:
    p = problem
    images, C = (p.N, p.C) if last else (p.N * p.C, 1)
    rows, columns = _axes(p, dtype)
    size = windows.Size(C, p.H, p.W, p.P, p.Q)
    if direction == "backward_input":
        rows, columns, size = rows.turned(p.H), columns.turned(p.W), windows.Size(C, p.P, p.Q, p.H, p.W)
    run, units = windows.average_rows, images
    if windows.strips()[2] <= C and not machine.jit_is_disabled():
        run, units = windows.pixel_averager(dtype), images * size.P
    elif (C, p.Q) == (1, 1) and direction == "forward" and columns.table[0, 1] == p.W and not machine.jit_is_disabled():
        run = windows.run_averager(dtype)
    elements = p.N * p.C * (p.H * p.W + p.P * p.Q)
    jobs, sizes = size.cut(units, elements)
    tables = sizes, rows.table, columns.table, rows.weights, columns.weights, rows.counts, columns.counts
    data = np.empty(0, dtype)
    bound = run.bound(jobs, *tables, data, data, work=8.0 * elements)
    return lambda source, target: bound(*tables, source, target)


def _run(problem: AvgPool2dProblem, direction: str, source: np.ndarray, target: np.ndarray) -> None:
    last = checks.is_channels_last(source) and checks.is_channels_last(target)
    plan(problem, direction, (last, last), target.dtype)(checks.flat(source), checks.flat(target))


class _Axis(NamedTuple):
    """The windows along an axis: (first, taps) of each, what its taps count, and what it is divided by."""

    table: np.ndarray
    weights: np.ndarray
    counts: np.ndarray

    def turned(self, size: int) -> _Axis:
        """Return the elements of the axis, of which there are `size`, as sums over the windows that hold them."""
        return _Axis(windows.holders(self.table, size), 1 / self.counts, np.ones(size, self.counts.dtype))


def _axes(problem: AvgPool2dProblem, dtype: np.dtype) -> tuple[_Axis, _Axis]:
    """Return the windows along both axes: the divisor of a window is the product of what it has along each."""
    p = problem
    axes: list[_Axis] = []
    for size, kernel, stride, before, count in ((p.H, p.R, p.stride_h, p.pad_h, p.P), (p.W, p.S, p.stride_w, p.pad_w, p.Q)):
        table = windows.adaptive(size, count) if p.adaptive else windows.sliding(size, kernel, stride, before, 1, count)
        counts = table[:, 1]
        if p.divisor:
            counts = np.full(count, 1 if axes else p.divisor)
        elif p.count_include_pad and not p.adaptive:
            origin = np.arange(count, dtype=np.int64) * stride - before
            counts = np.minimum(origin + kernel, size + before) - origin
        axes.append(_Axis(table, np.ones(size, dtype), counts.astype(dtype)))
    return axes[0], axes[1]
