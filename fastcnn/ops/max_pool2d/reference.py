"""The definition of max-pooling and its gradient, window by window."""

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
    for p, q in np.ndindex(*y.shape[2:]):
        best, place = np.full(y.shape[:2], lowest, x.dtype), np.full(y.shape[:2], -1)
        for h, w in _pixels(problem, p, q):
            value = x[:, :, h, w]
            better = (place < 0) | (value > best) | np.isnan(value)
            best, place = np.where(better, value, best), np.where(better, h * problem.W + w, place)
        y[:, :, p, q] = best
        if problem.with_indices:
            indices[:, :, p, q] = place


def backward_input(problem: Any, dy: np.ndarray, indices: np.ndarray, dx: np.ndarray) -> None:
    """Dx = the sum of dy over the windows that chose the pixel."""
    total = np.zeros((*dx.shape[:2], problem.H * problem.W))
    for p, q in np.ndindex(*dy.shape[2:]):
        images, channels = np.nonzero(indices[:, :, p, q] >= 0)  # each of them has chosen one pixel
        total[images, channels, indices[images, channels, p, q]] += dy[images, channels, p, q]
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
