"""The definition of max-pooling and its gradient, pixel by pixel of the output."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np


def forward(problem: Any, x: np.ndarray, y: np.ndarray, indices: np.ndarray) -> None:
    """Y = maximum of the window; indices = its place h*W + w, the first one of equals; NaN is greater than all.

    A window that holds no pixel at all gives the lowest value of the dtype and index -1. Indices are left out where not asked for.
    """
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    for n, c, p, q in np.ndindex(*y.shape):
        best, place = lowest, -1
        for h, w in _pixels(problem, p, q):
            value = x[n, c, h, w]
            if place < 0 or value > best or np.isnan(value):
                best, place = value, h * problem.W + w
        y[n, c, p, q] = best
        if problem.with_indices:
            indices[n, c, p, q] = place


def backward_input(problem: Any, dy: np.ndarray, indices: np.ndarray, dx: np.ndarray) -> None:
    """Dx = the sum of dy over the windows that chose the pixel."""
    total = np.zeros((*dx.shape[:2], problem.H * problem.W))
    for n, c, p, q in np.ndindex(*dy.shape):
        if indices[n, c, p, q] >= 0:
            total[n, c, indices[n, c, p, q]] += dy[n, c, p, q]
    dx[...] = total.reshape(dx.shape)


def _pixels(problem: Any, p: int, q: int) -> list[tuple[int, int]]:
    """Return the pixels (h, w) of a window that lie in the image, row by row."""
    g = problem
    if g.adaptive:
        return [(h, w) for h in _share(p, g.P, g.H) for w in _share(q, g.Q, g.W)]
    top, left = p * g.stride_h - g.pad_h, q * g.stride_w - g.pad_w
    rows = [h for h in range(g.H) if h in range(top, top + g.R * g.dilation_h, g.dilation_h)]
    columns = [w for w in range(g.W) if w in range(left, left + g.S * g.dilation_w, g.dilation_w)]
    return [(h, w) for h in rows for w in columns]


def _share(window: int, windows: int, size: int) -> range:
    """Return the elements of an axis that belong to one of some windows that share it."""
    return range(math.floor(Fraction(window * size, windows)), math.ceil(Fraction((window + 1) * size, windows)))
