"""Convolution as matrix products: windows laid out as columns (im2col), then NumPy's BLAS. Serves every problem.

    y[n] = W cols(x[n])        dcols[n] = W' dy[n], added back by col2im        dW = sum over n of dy[n] cols(x[n])'

A few images at a time, so that the columns - R*S times the image - take a bounded amount of memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ... import machine
from .. import im2col as _im2col
from .problem import Conv2dProblem

_COLUMN_BYTES = 4 * 2**20  # of columns at once: they stay in the last-level cache between im2col and the product


def cost(problem: Conv2dProblem, direction: str) -> float:
    """BLAS at two thirds of the peak, and columns, R * S times the image, written and read."""
    p = problem
    products = p.N * p.P * p.Q * p.K * (p.C // p.groups) * p.R * p.S / machine.lanes(4) / 0.65
    columns = p.N * p.P * p.Q * p.C * p.R * p.S
    return products + (2.0 if direction == "forward" else 5.0) * columns + 50_000.0


def forward(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Multiply the weights, as a (K, C*R*S) matrix per group, with the columns."""
    p = problem
    matrix = weight.reshape(p.groups, p.K // p.groups, -1)
    for images in _batches(p, x.itemsize):
        columns = _columns(p, x[images])
        product = np.matmul(matrix, columns).reshape(-1, p.K, p.P, p.Q)
        np.add(product, bias[:, None, None], out=y[images])


def backward_input(problem: Conv2dProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Multiply the transposed weights with dy, and add the columns back into an image."""
    p = problem
    matrix = weight.reshape(p.groups, p.K // p.groups, -1).transpose(0, 2, 1)
    for images in _batches(p, dy.itemsize):
        errors = np.ascontiguousarray(dy[images]).reshape(-1, p.groups, p.K // p.groups, p.P * p.Q)
        columns = np.matmul(matrix, errors).reshape(len(errors), -1, p.P * p.Q)
        dx[images] = _im2col.col2im(columns, (p.H, p.W), (p.R, p.S), **_window(p))


def backward_weight(problem: Conv2dProblem, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """Multiply dy with the transposed columns and sum over the images."""
    p = problem
    total = np.zeros((p.groups, p.K // p.groups, p.C // p.groups * p.R * p.S), dweight.dtype)
    for images in _batches(p, x.itemsize):
        errors = np.ascontiguousarray(dy[images]).reshape(-1, p.groups, p.K // p.groups, p.P * p.Q)
        columns = _columns(p, x[images])
        total += np.matmul(errors, columns.transpose(0, 1, 3, 2)).sum(axis=0)
    dweight[...] = total.reshape(p.weight_shape)


def _columns(p: Conv2dProblem, x: np.ndarray) -> np.ndarray:
    columns = _im2col.im2col(x, (p.R, p.S), **_window(p))
    return columns.reshape(len(x), p.groups, -1, p.P * p.Q)


def _window(p: Conv2dProblem) -> dict[str, Any]:
    return {
        "dilation": (p.dilation_h, p.dilation_w),
        "padding": ((p.top, p.bottom), (p.left, p.right)),
        "stride": (p.stride_h, p.stride_w),
    }


def _batches(p: Conv2dProblem, itemsize: int) -> Iterator[slice]:
    size = max(1, _COLUMN_BYTES // (p.C * p.R * p.S * p.P * p.Q * itemsize))
    for first in range(0, p.N, size):
        yield slice(first, min(p.N, first + size))
