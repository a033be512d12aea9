"""conv2d in plain sums, then ReLU in place: serves every problem."""

from __future__ import annotations

import numpy as np

from ..conv2d import Conv2dProblem
from . import _unfused


def cost(problem: Conv2dProblem, direction: str) -> float:
    """Return what the best convolution costs, and a pass over its output."""
    return _unfused.cost(problem, direction, "highest")


def forward(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Convolve, then raise the result to 0 in place."""
    _unfused.forward(problem, x, weight, bias, y, "highest")


def backward_input(problem: Conv2dProblem, dy: np.ndarray, y: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Pass dy where y is positive, then convolve back."""
    _unfused.backward_input(problem, dy, y, weight, dx, "highest")


def backward_weight(problem: Conv2dProblem, x: np.ndarray, dy: np.ndarray, y: np.ndarray, dweight: np.ndarray, dbias: np.ndarray) -> None:
    """Pass dy where y is positive, then sum over the pixels."""
    _unfused.backward_weight(problem, x, dy, y, dweight, dbias, "highest")
