"""The three products of a fully connected layer by NumPy's BLAS."""

from __future__ import annotations

import numpy as np

from .problem import LinearProblem


def forward(problem: LinearProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Y = x W' + b."""
    np.matmul(x, weight.T, out=y)
    y += bias


def backward_input(problem: LinearProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Dx = dy W."""
    np.matmul(dy, weight, out=dx)


def backward_weight(problem: LinearProblem, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """DW = dy' x."""
    np.matmul(dy.T, x, out=dweight)
