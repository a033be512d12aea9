"""The rectified linear unit: `torch.nn.functional.relu` on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import checks
from ...registry import Operation
from . import problem as _problem
from .problem import ReluProblem

__all__ = ["OPERATION", "ReluProblem", "relu", "relu_backward"]

OPERATION = Operation(__name__, ("direct", "reference"), _problem)


def relu(input: Any, *, algorithm: str = "auto") -> np.ndarray:
    """Return max(x, 0) of every element; NaN stays NaN.

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
    algorithm : str
        "auto", or a variant of this operation.

    Returns
    -------
    ndarray of the input's shape and dtype
        A channels-last (N, C, H, W) view comes back as one: the memory order is kept.

    Raises
    ------
    TypeError
        Not an array, or of another dtype.
    """
    x = checks.array("relu", "input", input, None)
    memory = checks.memory_order(x)
    y = np.empty_like(memory)
    OPERATION.choose(ReluProblem(x.size), "forward", algorithm)(ReluProblem(x.size), memory.reshape(-1), y.reshape(-1))
    return checks.like(y, x)


def relu_backward(grad_output: Any, input: Any, *, algorithm: str = "auto") -> np.ndarray:
    """Return the gradient of `relu`: grad_output where input > 0, else 0 (also at 0).

    Parameters
    ----------
    grad_output : ndarray of the input's shape and dtype
    input : ndarray
        The forward's input, or its output, which is positive at the same places.
    algorithm : str
        "auto", or a variant of this operation.

    Returns
    -------
    ndarray of the input's shape and dtype

    Raises
    ------
    TypeError, ValueError
        Not arrays, of another dtype, or of different shapes or dtypes.
    """
    dy, x = checks.array("relu_backward", "grad_output", grad_output, None), checks.array("relu_backward", "input", input, None)
    checks.same_dtype("relu_backward", grad_output=dy, input=x)
    checks.same_shape("relu_backward", "grad_output", dy, x.shape, "the input's shape")
    memory = checks.memory_order(x)
    errors = checks.memory_order(dy, as_in=x)
    dx = np.empty_like(memory)
    problem = ReluProblem(x.size)
    OPERATION.choose(problem, "backward_input", algorithm, "relu_backward")(problem, errors.reshape(-1), memory.reshape(-1), dx.reshape(-1))
    return checks.like(dx, x)
