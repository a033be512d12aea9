"""The definition of softmax, of its logarithm, and of their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np


def forward(problem: Any, x: np.ndarray, y: np.ndarray) -> None:
    """Y = exp(x) / sum exp(x), or its logarithm; the maximum is subtracted first, so that no exponential overflows."""
    if x.size:
        centred = x.astype(np.float64) - x.max(axis=1, keepdims=True)
        total = np.exp(centred).sum(axis=1, keepdims=True)
        y[...] = centred - np.log(total) if problem.log else np.exp(centred) / total


def backward_input(problem: Any, dy: np.ndarray, y: np.ndarray, dx: np.ndarray) -> None:
    """Dx = y (dy - sum dy y); of the logarithm dy - exp(y) sum dy."""
    dy, y = dy.astype(np.float64), y.astype(np.float64)
    if problem.log:
        dx[...] = dy - np.exp(y) * dy.sum(axis=1, keepdims=True)
    else:
        dx[...] = y * (dy - (dy * y).sum(axis=1, keepdims=True))
