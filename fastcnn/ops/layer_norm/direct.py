"""Rows normalised while they are in cache; the gradients of the parameters in a second pass, over blocks of columns."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from ...engine.folding import LANES, folding, pair_folding
from ...jit import kernel
from .problem import LayerNormProblem, work

WARNS = False
_CHUNK = 16_384  # elements of a job of rows
_BLOCK = 256  # columns of a job


def forward(problem: LayerNormProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Moments of every row, then its values."""
    eps = np.array([problem.eps])
    _kernels(x.dtype.name).rows.launch(_jobs(problem), x, weight, bias, eps, y, work=work(problem, "forward"))


def backward_input(
    problem: LayerNormProblem, dy: np.ndarray, x: np.ndarray, weight: np.ndarray, dx: np.ndarray, dweight: np.ndarray, dbias: np.ndarray
) -> None:
    """Moments once more, and the gradient while the row is in cache; then the sums over rows."""
    kernels, flops = _kernels(x.dtype.name), work(problem, "backward_input")
    moments = np.empty((problem.rows, 2))
    kernels.rows_back.launch(_jobs(problem), dy, x, weight, np.array([problem.eps]), dx, moments, work=flops)
    jobs = problem.period * -(-problem.D // _BLOCK)
    kernels.parameters.launch(jobs, dy, x, moments, dweight, dbias, work=flops)


def _jobs(problem: LayerNormProblem) -> int:
    return -(-problem.rows // max(1, _CHUNK // max(problem.D, 1)))


class _Kernels(NamedTuple):
    rows: Any
    rows_back: Any
    parameters: Any


@functools.cache
def _kernels(dtype: str) -> _Kernels:
    """Return the kernels of a dtype."""
    T = np.dtype(dtype).type
    zero, total, totals = T(0), folding(dtype, False), pair_folding(dtype)
    made = functools.partial(kernel, specialisation=dtype)

    @made()
    def wide_moments(row, eps):
        """Return what `moments` does, of values whose sum or squares the dtype does not hold."""
        mean = squares = np.float64(0)
        for d in range(row.size):
            mean += np.float64(row[d])
        mean /= row.size
        for d in range(row.size):
            distance = np.float64(row[d]) - mean
            squares += distance * distance
        near = T(mean)
        return near, T(mean - near), T(1 / math.sqrt(squares / row.size + eps))

    @made()
    def moments(row, eps, lanes):
        """Return the mean as a value near it and the rest, and 1 / sqrt(variance + eps).

        The rest counts where the mean is large beside the deviation: it is the mean of small distances.
        """
        near = T(total(row, lanes) / row.size)
        distances, squares = totals(row, row, near, lanes)
        if not math.isfinite(squares):
            return wide_moments(row, eps)
        rest = distances / row.size
        return near, T(rest), T(1 / math.sqrt(squares / row.size - rest * rest + eps))

    @made()
    def rows(job, x, weight, bias, eps, y):
        count = max(1, _CHUNK // x.shape[1])
        lanes = np.empty(2 * LANES, x.dtype)
        for n in range(job * count, min(x.shape[0], (job + 1) * count)):
            source, target = x[n], y[n]
            near, rest, inverse = moments(source, eps[0], lanes)
            scale, shift = weight[n % weight.shape[0]], bias[n % weight.shape[0]]
            for d in range(source.size):
                target[d] = ((source[d] - near) - rest) * inverse * scale[d] + shift[d]

    @made()
    def rows_back(job, dy, x, weight, eps, dx, kept):
        D = x.shape[1]
        count = max(1, _CHUNK // D)
        lanes, normal = np.empty(2 * LANES, x.dtype), np.empty(D, x.dtype)
        for n in range(job * count, min(x.shape[0], (job + 1) * count)):
            source, errors, target, scale = x[n], dy[n], dx[n], weight[n % weight.shape[0]]
            near, rest, inverse = moments(source, eps[0], lanes)
            kept[n, 0], kept[n, 1] = float(near) + rest, inverse
            for d in range(D):
                normal[d] = ((source[d] - near) - rest) * inverse
                target[d] = errors[d] * scale[d]
            sums, products = totals(target, normal, zero, lanes)
            mean, slope = T(sums / D), T(products / D)
            for d in range(D):
                target[d] = inverse * ((target[d] - mean) - normal[d] * slope)

    @made()
    def parameters(job, dy, x, kept, dweight, dbias):
        blocks = -(-x.shape[1] // _BLOCK)
        row, first = job // blocks, (job % blocks) * _BLOCK
        last = min(x.shape[1], first + _BLOCK)
        scale, shift = np.zeros(last - first), np.zeros(last - first)  # float64: there may be many rows
        for n in range(row, x.shape[0], dweight.shape[0]):
            errors, source = dy[n, first:last], x[n, first:last]
            mean, inverse = kept[n, 0], kept[n, 1]
            for d in range(source.size):
                scale[d] += errors[d] * ((source[d] - mean) * inverse)
                shift[d] += errors[d]
        for d in range(scale.size):
            dweight[row, first + d], dbias[row, first + d] = scale[d], shift[d]

    return _Kernels(rows, rows_back, parameters)
