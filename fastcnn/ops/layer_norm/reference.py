"""The definition of the normalisation of rows, and of its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np


def forward(problem: Any, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Y = (x - mean) / sqrt(variance + eps) * weight + bias."""
    for n in range(problem.rows):
        y[n] = _normal(problem, x[n])[0] * weight[n % problem.period] + bias[n % problem.period]


def backward_input(
    problem: Any, dy: np.ndarray, x: np.ndarray, weight: np.ndarray, dx: np.ndarray, dweight: np.ndarray, dbias: np.ndarray
) -> None:
    """Gradients through the moments, and sums over the rows that share parameters."""
    totals = np.zeros((2, *weight.shape))
    for n in range(problem.rows):
        normal, inverse = _normal(problem, x[n])
        g = dy[n].astype(np.float64) * weight[n % problem.period]
        dx[n] = inverse * (g - g.mean() - normal * (g * normal).mean())
        totals[0, n % problem.period] += dy[n] * normal
        totals[1, n % problem.period] += dy[n]
    dweight[...], dbias[...] = totals


def _normal(problem: Any, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    row = row.astype(np.float64)
    inverse = 1 / np.sqrt(row.var() + problem.eps)
    return (row - row.mean()) * inverse, inverse
