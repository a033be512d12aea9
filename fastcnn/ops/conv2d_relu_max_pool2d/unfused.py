"""conv2d in plain sums, ReLU and max-pooling one after the other: serves every problem."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import _unfused
from .problem import Conv2dReluMaxPool2dProblem


def cost(problem: Conv2dReluMaxPool2dProblem, direction: str) -> float:
    """Return what the best convolution costs, and passes over its output."""
    return _unfused.cost(problem, direction, "highest")


def forward(
    problem: Conv2dReluMaxPool2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, winners: np.ndarray
) -> None:
    """Convolve with ReLU, then pool."""
    _unfused.forward(problem, x, weight, bias, y, winners, "highest")


def backward_input(
    problem: Conv2dReluMaxPool2dProblem, dy: np.ndarray, y: np.ndarray, winners: np.ndarray, weight: np.ndarray, dx: np.ndarray
) -> None:
    """Unpool the gradient, then convolve back."""
    _unfused.backward_input(problem, dy, y, winners, weight, dx, "highest")


def backward_weight(
    problem: Conv2dReluMaxPool2dProblem,
    x: np.ndarray,
    dy: np.ndarray,
    y: np.ndarray,
    winners: np.ndarray,
    dweight: np.ndarray,
    dbias: np.ndarray,
) -> None:
    """Unpool the gradient, then sum over the pixels."""
    _unfused.backward_weight(problem, x, dy, y, winners, dweight, dbias, "highest")


def plan(
    problem: Conv2dReluMaxPool2dProblem, direction: str, channels_last: tuple[bool, bool], dtype: np.dtype
) -> Callable[..., None] | None:
    """Return a direction on flat arrays, where there is one."""
    return _unfused.plan(problem, direction, channels_last, dtype, "highest")
