"""The definition of average-pooling and its gradient, window by window."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np


def forward(problem: Any, x: np.ndarray, y: np.ndarray) -> None:
    """Y = the sum over the window's pixels in the image, divided by its divisor."""
    for p, q in np.ndindex(problem.P, problem.Q):
        rows, columns, divisor = _window(problem, p, q)
        pixels = x[:, :, rows.start : rows.stop, columns.start : columns.stop].astype(np.float64)
        y[:, :, p, q] = pixels.sum(axis=(2, 3)) / divisor


def backward_input(problem: Any, dy: np.ndarray, dx: np.ndarray) -> None:
    """Dx = the sum, over the windows that hold the pixel, of dy divided by the window's divisor."""
    total = np.zeros(dx.shape)
    for p, q in np.ndindex(problem.P, problem.Q):
        rows, columns, divisor = _window(problem, p, q)
        total[:, :, rows.start : rows.stop, columns.start : columns.stop] += dy[:, :, p, q, None, None].astype(np.float64) / divisor
    dx[...] = total


def _window(problem: Any, p: int, q: int) -> tuple[range, range, int]:
    """Return the rows and columns of the image in a window, and its divisor."""
    g = problem
    if g.adaptive:
        rows, columns = _share(p, g.P, g.H), _share(q, g.Q, g.W)
        return rows, columns, len(rows) * len(columns)
    top, left = p * g.stride_h - g.pad_h, q * g.stride_w - g.pad_w
    padded = (min(top + g.R, g.H + g.pad_h) - top) * (min(left + g.S, g.W + g.pad_w) - left)
    rows, columns = range(max(top, 0), min(top + g.R, g.H)), range(max(left, 0), min(left + g.S, g.W))
    return rows, columns, g.divisor or (padded if g.count_include_pad else len(rows) * len(columns))


def _share(window: int, windows: int, size: int) -> range:
    """Return the elements of an axis that belong to one of some windows that share it."""
    return range(math.floor(Fraction(window * size, windows)), math.ceil(Fraction((window + 1) * size, windows)))
