"""Softmax while its values are in cache: rows of neighbours one by one, other axes in blocks of columns side by side."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from ... import machine
from ...engine.elementary import elementary
from ...engine.folding import LANES, folding
from ...jit import kernel
from .problem import SoftmaxProblem, work

WARNS = False
_CHUNK = 16_384  # elements of a job of rows
_BLOCK = 256  # columns of a job


def refuses(problem: SoftmaxProblem) -> str | None:
    """Intrinsics need the compiler."""
    return "NUMBA_DISABLE_JIT is set" if machine.jit_is_disabled() else None


def forward(problem: SoftmaxProblem, x: np.ndarray, y: np.ndarray) -> None:
    """Maximum, exponentials and their sum, quotients."""
    _launch(problem, "forward", x, y)


def backward_input(problem: SoftmaxProblem, dy: np.ndarray, y: np.ndarray, dx: np.ndarray) -> None:
    """Products and their sum, differences."""
    _launch(problem, "backward_input", dy, y, dx)


def _launch(problem: SoftmaxProblem, direction: str, *arrays: np.ndarray) -> None:
    kernels = _kernels(problem.log, arrays[0].dtype.name)
    if not arrays[0].size:
        return
    if problem.inner == 1:
        run = kernels.rows if direction == "forward" else kernels.rows_back
        jobs = -(-problem.outer // max(1, _CHUNK // problem.C))
        arrays = tuple(array.reshape(problem.outer, problem.C) for array in arrays)
    else:
        run = kernels.columns if direction == "forward" else kernels.columns_back
        jobs = problem.outer * -(-problem.inner // _BLOCK)
    run.launch(jobs, *arrays, work=work(problem, direction))


class _Kernels(NamedTuple):
    rows: Any
    rows_back: Any
    columns: Any
    columns_back: Any


@functools.cache
def _kernels(log: bool, dtype: str) -> _Kernels:
    """Return the kernels for softmax, or its logarithm, of a dtype."""
    exp = elementary(dtype).exp
    T = np.dtype(dtype).type
    zero, one, lowest = T(0), T(1), T(-math.inf)
    total, largest = folding(dtype, False), folding(dtype, True)
    made = functools.partial(kernel, specialisation=(log, dtype))

    @made()
    def rows(job, x, y):
        C = x.shape[1]
        count = max(1, _CHUNK // C)
        lanes = np.empty(LANES, x.dtype)
        for n in range(job * count, min(x.shape[0], (job + 1) * count)):
            source, target = x[n], y[n]
            top = largest(source, lanes)
            for c in range(C):
                target[c] = exp(source[c] - top)
            mass = total(target, lanes)
            if log:
                shift = T(math.log(mass))
                for c in range(C):
                    target[c] = (source[c] - top) - shift
            else:
                share = T(1 / mass)
                for c in range(C):
                    target[c] *= share

    @made()
    def rows_back(job, dy, y, dx):
        C = y.shape[1]
        count = max(1, _CHUNK // C)
        lanes = np.empty(LANES, y.dtype)
        for n in range(job * count, min(y.shape[0], (job + 1) * count)):
            errors, values, target = dy[n], y[n], dx[n]
            if log:
                mass = T(total(errors, lanes))
                for c in range(C):
                    target[c] = errors[c] - exp(values[c]) * mass
            else:
                for c in range(C):
                    target[c] = errors[c] * values[c]
                mass = T(total(target, lanes))
                for c in range(C):
                    target[c] = values[c] * (errors[c] - mass)

    @made()
    def columns(job, x, y):
        blocks = -(-x.shape[2] // _BLOCK)
        n, first = job // blocks, (job % blocks) * _BLOCK
        last = min(x.shape[2], first + _BLOCK)
        top, mass = np.empty(last - first, x.dtype), np.empty(last - first, x.dtype)
        top[:], mass[:] = lowest, zero
        for c in range(x.shape[1]):
            source = x[n, c, first:last]
            for i in range(source.size):
                top[i] = source[i] if source[i] > top[i] or source[i] != source[i] else top[i]
        for c in range(x.shape[1]):
            source, target = x[n, c, first:last], y[n, c, first:last]
            for i in range(source.size):
                e = exp(source[i] - top[i])
                target[i] = e
                mass[i] += e
        for i in range(mass.size):
            mass[i] = T(math.log(mass[i])) if log else one / mass[i]
        for c in range(x.shape[1]):
            source, target = x[n, c, first:last], y[n, c, first:last]
            if log:
                for i in range(source.size):
                    target[i] = (source[i] - top[i]) - mass[i]
            else:
                for i in range(source.size):
                    target[i] *= mass[i]

    @made()
    def columns_back(job, dy, y, dx):
        blocks = -(-y.shape[2] // _BLOCK)
        n, first = job // blocks, (job % blocks) * _BLOCK
        last = min(y.shape[2], first + _BLOCK)
        mass = np.zeros(last - first, y.dtype)
        for c in range(y.shape[1]):
            errors, values = dy[n, c, first:last], y[n, c, first:last]
            for i in range(values.size):
                mass[i] += errors[i] if log else errors[i] * values[i]
        for c in range(y.shape[1]):
            errors, values, target = dy[n, c, first:last], y[n, c, first:last], dx[n, c, first:last]
            if log:
                for i in range(values.size):
                    target[i] = errors[i] - exp(values[i]) * mass[i]
            else:
                for i in range(values.size):
                    target[i] = values[i] * (errors[i] - mass[i])

    return _Kernels(rows, rows_back, columns, columns_back)
