"""Products of very few rows: scalar products along the rows of the weight, which memory bounds, and sums of its rows."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ... import machine
from ...engine.dot_simd import dot_rows
from ...engine.window_simd import window_sum
from ...jit import Kernel, kernel
from .problem import LinearProblem

WARNS = False
_ROWS, _UNROLLED = 4, 2  # of the weight at once, and sums of each
_VECTORS = 8  # of a sum of rows
_CHUNK = 16  # outputs of a job
_ONE = {np.dtype(kind): np.ones(1, kind) for kind in ("float32", "float64")}


def refuses(problem: LinearProblem) -> str | None:
    """Vectors want something to multiply."""
    if 0 in problem:
        return "there is nothing to multiply"
    if _UNROLLED * machine.lanes(4) > problem.I:
        return "rows are shorter than the vectors of a sum"
    return machine.tiles_available()


def cost(problem: LinearProblem, direction: str) -> float:
    """Vectors are read for every multiply-add, twice as many where sums of one vector's width begin anew with each row of the batch."""
    N, I, O = problem
    return ((1.9 if direction == "forward" else 4.5) * N / machine.lanes(4) + 0.05) * I * O


def forward(problem: LinearProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Y = x W' + b."""
    _forward(problem, x.dtype, machine.get_threads())(x.reshape(-1), weight.reshape(-1), bias, y.reshape(-1))


def backward_input(problem: LinearProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Dx = dy W."""
    _backward_input(problem, dy.dtype, machine.get_threads())(dy.reshape(-1), weight.reshape(-1), dx.reshape(-1))


def plan(problem: LinearProblem, direction: str, channels_last: tuple[()], dtype: np.dtype) -> Callable[..., None]:
    """Return a direction on flat arrays."""
    return (_forward if direction == "forward" else _backward_input)(problem, dtype, machine.get_threads())


@functools.lru_cache(maxsize=1024)
def _forward(p: LinearProblem, dtype: np.dtype, threads: int) -> Callable[..., None]:
    sizes, empty = np.array(p, np.int64), np.empty(0, dtype)
    run = _dots(dtype).bound(-(-p.O // _CHUNK), sizes, empty, empty, empty, empty, work=2 * p.N * p.I * p.O)
    return lambda x, weight, bias, y: run(sizes, x, weight, bias, y)


@functools.lru_cache(maxsize=1024)
def _backward_input(p: LinearProblem, dtype: np.dtype, threads: int) -> Callable[..., None]:
    sizes, empty, one = np.array(p, np.int64), np.empty(0, dtype), _ONE[dtype]
    run = _sums(dtype).bound(-(-p.I // _width(dtype)), sizes, one, empty, empty, empty, work=2 * p.N * p.I * p.O)
    return lambda dy, weight, dx: run(sizes, one, dy, weight, dx)


def _lanes(dtype: np.dtype) -> int:
    return machine.lanes(dtype.itemsize)


def _width(dtype: np.dtype) -> int:
    return _VECTORS * _lanes(dtype)


@functools.cache
def _dots(dtype: np.dtype) -> Kernel:
    lanes = _lanes(dtype)
    several, single = dot_rows(_ROWS, _UNROLLED, lanes, dtype), dot_rows(1, _UNROLLED, lanes, dtype)

    @kernel(specialisation=(lanes, _ROWS, _UNROLLED, _CHUNK))
    def dots(job, sizes, x, weight, bias, y):
        # Bounds. Reads rows o < O of the weight from o * I to o * I + I - 1, and as much of x; the last vector of a row ends at its end,
        # which lies at least a vector behind its start.
        N, I, O = sizes[0], sizes[1], sizes[2]
        steps = I // (_UNROLLED * lanes)
        singles = (I - steps * _UNROLLED * lanes) // lanes
        rest = I % lanes
        end = min(O, (job + 1) * _CHUNK)
        o = job * _CHUNK
        while o + _ROWS <= end:
            for n in range(N):  # the rows of the weight lie in the L1 cache from the second on
                several(x, n * I, weight, o * I, I, steps, singles, rest, bias, o, y, n * O + o)
            o += _ROWS
        while o < end:
            for n in range(N):
                single(x, n * I, weight, o * I, I, steps, singles, rest, bias, o, y, n * O + o)
            o += 1

    return dots


@functools.cache
def _sums(dtype: np.dtype) -> Kernel:
    lanes, width = _lanes(dtype), _width(dtype)
    wide, narrow = window_sum(_VECTORS, lanes, dtype), window_sum(1, lanes, dtype)
    unit = dtype.type(1)

    @kernel(specialisation=(lanes, width))
    def sums(job, sizes, one, dy, weight, dx):
        # Bounds. A vector that would pass the end of the rows begins earlier instead, and computes some sums again: I >= lanes.
        N, I, O = sizes[0], sizes[1], sizes[2]
        first, end = job * width, min(I, (job + 1) * width)
        for n in range(N):
            if first + width == end:
                wide(weight, first, O, I, 1, 0, dy, n * O, one, 0, unit, dx, n * I + first)
            else:
                for i in range(first, end, lanes):
                    at = min(i, I - lanes)
                    narrow(weight, at, O, I, 1, 0, dy, n * O, one, 0, unit, dx, n * I + at)

    return sums
