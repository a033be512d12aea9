"""Softmax and its logarithm along an axis: `torch.nn.functional.softmax`, `log_softmax` and `softmin` on NumPy arrays."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ... import checks, scalars
from ...registry import Operation
from ...window import integer
from . import problem as _problem
from .problem import SoftmaxProblem

__all__ = [
    "OPERATION",
    "SoftmaxProblem",
    "log_softmax",
    "log_softmax_backward",
    "softmax",
    "softmax_backward",
    "softmin",
    "softmin_backward",
]

OPERATION = Operation(__name__, ("direct", "reference"), _problem)


def softmax(input: Any, dim: int | None = None, *, dtype: Any = None, algorithm: str = "auto") -> np.ndarray:
    """Return exp(x) / sum of exp(x) along an axis.

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
    dim : int
        The axis; from -ndim to ndim - 1. Without it torch's old choice, with torch's warning: 1, but 0 for 0, 1 or 3 axes.
    dtype : float32 or float64, optional
        Convert the input to it first.
    algorithm : str
        "auto", or a variant of this operation.

    Returns
    -------
    ndarray of the input's shape

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.functional import softmax
    >>> softmax(np.array([0.0, np.log(3.0)]), 0).round(6)
    array([0.25, 0.75])
    """
    return _forward("softmax", _input("softmax", input, dtype), dim, False, algorithm)


def log_softmax(input: Any, dim: int | None = None, *, dtype: Any = None, algorithm: str = "auto") -> np.ndarray:
    """Return x - log of sum of exp(x) along an axis, which is the logarithm of `softmax`, also where that is 0.

    Parameters
    ----------
    input, dim, dtype, algorithm
        As of `softmax`.

    Returns
    -------
    ndarray of the input's shape

    Raises
    ------
    TypeError, ValueError
        As `softmax`.
    """
    return _forward("log_softmax", _input("log_softmax", input, dtype), dim, True, algorithm)


def softmin(input: Any, dim: int | None = None, *, dtype: Any = None, algorithm: str = "auto") -> np.ndarray:
    """Return exp(-x) / sum of exp(-x) along an axis.

    Parameters
    ----------
    input, dim, dtype, algorithm
        As of `softmax`.

    Returns
    -------
    ndarray of the input's shape

    Raises
    ------
    TypeError, ValueError
        As `softmax`.
    """
    return _forward("softmin", np.asarray(-_input("softmin", input, dtype)), dim, False, algorithm)


def softmax_backward(grad_output: Any, output: Any, dim: int | None = None, *, algorithm: str = "auto") -> np.ndarray:
    """Return the gradient of `softmax` with respect to its input: y (dy - sum of dy y).

    Parameters
    ----------
    grad_output, output : ndarrays of one shape and dtype, float32 or float64
        dy, and what `softmax` returned.
    dim, algorithm
        As given to `softmax`.

    Returns
    -------
    ndarray of that shape and dtype

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return _backward("softmax_backward", grad_output, output, dim, False, algorithm)


def log_softmax_backward(grad_output: Any, output: Any, dim: int | None = None, *, algorithm: str = "auto") -> np.ndarray:
    """Return the gradient of `log_softmax` with respect to its input: dy - exp(y) sum of dy.

    Parameters
    ----------
    grad_output, output, dim, algorithm
        As of `softmax_backward`; the output is what `log_softmax` returned.

    Returns
    -------
    ndarray of that shape and dtype

    Raises
    ------
    TypeError, ValueError
        As `softmax_backward`.
    """
    return _backward("log_softmax_backward", grad_output, output, dim, True, algorithm)


def softmin_backward(grad_output: Any, output: Any, dim: int | None = None, *, algorithm: str = "auto") -> np.ndarray:
    """Return the gradient of `softmin` with respect to its input: -y (dy - sum of dy y).

    Parameters
    ----------
    grad_output, output, dim, algorithm
        As of `softmax_backward`; the output is what `softmin` returned.

    Returns
    -------
    ndarray of that shape and dtype

    Raises
    ------
    TypeError, ValueError
        As `softmax_backward`.
    """
    return np.asarray(-_backward("softmin_backward", grad_output, output, dim, False, algorithm))


def _input(op: str, input: Any, dtype: Any) -> np.ndarray:
    x = checks.array(op, "input", input, None)
    if dtype is None:
        return x
    wanted = scalars.dtype(op, dtype)
    with np.errstate(over="ignore"):
        return x.astype(wanted, copy=False)


def _forward(op: str, x: np.ndarray, dim: Any, log: bool, algorithm: str) -> np.ndarray:
    problem = _along(op, x.shape, dim, log)
    y = checks.empty(op, x.shape, x.dtype)
    OPERATION.choose(problem, "forward", algorithm, op)(problem, checks.contiguous(x).reshape(problem.shape), y.reshape(problem.shape))
    return y


def _backward(op: str, grad_output: Any, output: Any, dim: Any, log: bool, algorithm: str) -> np.ndarray:
    dy, y = checks.array(op, "grad_output", grad_output, None), checks.array(op, "output", output, None)
    checks.same_dtype(op, grad_output=dy, output=y)
    checks.same_shape(op, "grad_output", dy, y.shape, "the output's shape")
    problem = _along(op, y.shape, dim, log)
    dx = checks.empty(op, y.shape, y.dtype)
    arrays = [checks.contiguous(array).reshape(problem.shape) for array in (dy, y)]
    OPERATION.choose(problem, "backward_input", algorithm, op)(problem, *arrays, dx.reshape(problem.shape))
    return dx


def _along(op: str, shape: tuple[int, ...], dim: Any, log: bool) -> SoftmaxProblem:
    """Return the problem of an array of `shape`; one without axes counts as one of a single value."""
    if dim is None:
        dim = 0 if len(shape) in (0, 1, 3) else 1
        text = f"{op}: Implicit dimension choice for {op} has been deprecated. Change the call to include dim=X as an argument."
        warnings.warn(text, stacklevel=4)
    sizes = shape or (1,)
    axis = integer(op, "dim", dim, -(2**31) + 1)
    if not -len(sizes) <= axis < len(sizes):
        raise ValueError(f"{op}: Dimension out of range (expected to be in range of [{-len(sizes)}, {len(sizes) - 1}], but got {axis})")
    axis %= len(sizes)
    return SoftmaxProblem(math.prod(sizes[:axis]), sizes[axis], math.prod(sizes[axis + 1 :]), log)
