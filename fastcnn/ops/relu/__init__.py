"""The rectified linear unit: `torch.nn.functional.relu` on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks
from ...plans import Plans, on_memory
from ...registry import Operation
from . import problem as _problem
from .problem import ReluProblem

__all__ = ["OPERATION", "ReluProblem", "relu", "relu_backward"]

OPERATION = Operation(__name__, ("direct", "reference"), _problem)
_FORWARD, _BACKWARD = Plans(), Plans()


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
    key = Plans.key((algorithm,), input)
    plan = _FORWARD.find(key)
    if plan is not None:
        result: np.ndarray = plan(input)
        return result
    x = checks.array("relu", "input", input, None)
    memory = checks.memory_order(x)
    y = checks.empty("relu", memory.shape, x.dtype)
    run, problem = OPERATION.choose(ReluProblem(x.size), "forward", algorithm), ReluProblem(x.size)
    arrays = memory.reshape(-1), y.reshape(-1)
    run(problem, *arrays)
    if key is not None:
        _FORWARD.remember(key, _plan("relu", on_memory(run, problem, arrays), y), input)
    return checks.like(y, x)


def _plan(op: str, compute: Callable[..., None], result: np.ndarray) -> Callable[..., np.ndarray]:
    """Return a plan of arrays as large as `result`, which it returns anew."""
    allocate = checks.allocator(op, result.shape, result.dtype)

    def planned(*arrays: np.ndarray) -> np.ndarray:
        y = allocate()
        compute(*[array.ravel() for array in arrays], y.ravel())
        return y

    return planned


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
    key = Plans.key((algorithm,), grad_output, input)
    plan = _BACKWARD.find(key)
    if plan is not None:
        result: np.ndarray = plan(grad_output, input)
        return result
    dy, x = checks.array("relu_backward", "grad_output", grad_output, None), checks.array("relu_backward", "input", input, None)
    checks.same_dtype("relu_backward", grad_output=dy, input=x)
    checks.same_shape("relu_backward", "grad_output", dy, x.shape, "the input's shape")
    memory = checks.memory_order(x)
    errors = checks.memory_order(dy, as_in=x)
    dx = checks.empty("relu_backward", memory.shape, x.dtype)
    problem = ReluProblem(x.size)
    run = OPERATION.choose(problem, "backward_input", algorithm, "relu_backward")
    arrays = errors.reshape(-1), memory.reshape(-1), dx.reshape(-1)
    run(problem, *arrays)
    if key is not None:
        _BACKWARD.remember(key, _plan("relu_backward", on_memory(run, problem, arrays), dx), grad_output, input)
    return checks.like(dx, x)
