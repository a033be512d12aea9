"""conv2d as `precision="medium"` chooses it (in bfloat16, where the CPU has that), then ReLU in place."""

from __future__ import annotations

import numpy as np

from ..conv2d import Conv2dProblem
from . import _unfused

PRECISION = "medium"
ERROR_GROWTH = 2.0**15  # of products of bfloat16 factors


def cost(problem: Conv2dProblem, direction: str) -> float:
    """Return what the best convolution costs, and a pass over its output."""
    return _unfused.cost(problem, direction, "medium")


def forward(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Convolve, then raise the result to 0 in place."""
    _unfused.forward(problem, x, weight, bias, y, "medium")


def backward_input(problem: Conv2dProblem, dy: np.ndarray, y: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Pass dy where y is positive, then convolve back."""
    _unfused.backward_input(problem, dy, y, weight, dx, "medium")


def backward_weight(problem: Conv2dProblem, x: np.ndarray, dy: np.ndarray, y: np.ndarray, dweight: np.ndarray, dbias: np.ndarray) -> None:
    """Pass dy where y is positive, then sum over the pixels."""
    _unfused.backward_weight(problem, x, dy, y, dweight, dbias, "medium")
