"""Layer normalisation: `torch.nn.functional.layer_norm` on NumPy arrays; `normalize_rows` serves its kin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import checks, window
from ...registry import Operation
from . import problem as _problem
from .problem import LayerNormProblem

__all__ = ["OPERATION", "LayerNormProblem", "layer_norm", "layer_norm_backward", "normalize_rows", "normalize_rows_backward"]

OPERATION = Operation(__name__, ("direct", "reference"), _problem)


def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *, algorithm: str = "auto"
) -> np.ndarray:
    """Return (x - mean) / sqrt(variance + eps) * weight + bias, with the moments over the last axes.

    Parameters
    ----------
    input : (..., *normalized_shape) float32 or float64
    normalized_shape : int or sequence of int
        Lengths of the axes over which to normalise.
    weight, bias : ndarrays of shape `normalized_shape` and the input's dtype, optional
        1 and 0 where not given.
    eps : float
        Added to the variance.
    algorithm : str
        "auto", or a variant of this operation.

    Returns
    -------
    ndarray of the input's shape and dtype

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    References
    ----------
    J. Ba, J. Kiros & G. Hinton, "Layer Normalization", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.functional import layer_norm
    >>> layer_norm(np.array([[1.0, 3.0]]), 2, eps=1e-12).round(6)
    array([[-1.,  1.]])
    """
    op = "layer_norm"
    x = checks.array(op, "input", input, None)
    shape = _shape(op, x, normalized_shape)
    scale, shift = (_parameter(op, x, shape, name, value) for name, value in (("weight", weight), ("bias", bias)))
    return normalize_rows(op, x, (math.prod(shape), 1), scale, shift, checks.number(op, "eps", eps), algorithm)


def layer_norm_backward(
    grad_output: Any, input: Any, normalized_shape: Any, weight: Any = None, eps: float = 1e-5, *, algorithm: str = "auto"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of `layer_norm` with respect to input, weight and bias.

    Parameters
    ----------
    grad_output : ndarray of the input's shape and dtype
    input, normalized_shape, weight, eps, algorithm
        As given to `layer_norm`.

    Returns
    -------
    grad_input : ndarray of the input's shape
    grad_weight, grad_bias : ndarrays of shape `normalized_shape`

    Raises
    ------
    TypeError, ValueError
        As `layer_norm`.
    """
    op = "layer_norm_backward"
    x, dy = checks.array(op, "input", input, None), checks.array(op, "grad_output", grad_output, None)
    shape = _shape(op, x, normalized_shape)
    scale = _parameter(op, x, shape, "weight", weight)
    dx, dweight, dbias = normalize_rows_backward(op, dy, x, (math.prod(shape), 1), scale, checks.number(op, "eps", eps), algorithm)
    return dx, dweight.reshape(shape), dbias.reshape(shape)


def normalize_rows(
    op: str, x: np.ndarray, of: tuple[int, int], weight: np.ndarray | None, bias: np.ndarray | None, eps: float, algorithm: str
) -> np.ndarray:
    """Return x normalised in rows of ``of[0]`` neighbours; ``of[1]`` rows in turn have parameters of their own.

    It is not checked that weight and bias have of[0] * of[1] elements of the dtype of x.
    """
    y = checks.empty(op, x.shape, x.dtype)
    if x.size:
        problem = LayerNormProblem(x.size // of[0], *of, eps)
        run = OPERATION.choose(problem, "forward", algorithm, op)
        parameters = [_rows(x, of, value, default) for value, default in ((weight, 1), (bias, 0))]
        run(problem, checks.contiguous(x).reshape(-1, of[0]), *parameters, y.reshape(-1, of[0]))
    return y


def normalize_rows_backward(
    op: str, dy: np.ndarray, x: np.ndarray, of: tuple[int, int], weight: np.ndarray | None, eps: float, algorithm: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of `normalize_rows` with respect to x, weight and bias, these of shape (of[1], of[0])."""
    checks.same_dtype(op, grad_output=dy, input=x)
    checks.same_shape(op, "grad_output", dy, x.shape, "the input's shape")
    dx = checks.empty(op, x.shape, x.dtype)
    dweight, dbias = np.zeros((of[1], of[0]), x.dtype), np.zeros((of[1], of[0]), x.dtype)
    if x.size:
        problem = LayerNormProblem(x.size // of[0], *of, eps)
        run = OPERATION.choose(problem, "backward_input", algorithm, op)
        rows = [checks.contiguous(array).reshape(-1, of[0]) for array in (dy, x)]
        run(problem, *rows, _rows(x, of, weight, 1), dx.reshape(-1, of[0]), dweight, dbias)
    return dx, dweight, dbias


def _rows(x: np.ndarray, of: tuple[int, int], value: np.ndarray | None, default: int) -> np.ndarray:
    """Return a parameter as (of[1], of[0])."""
    return np.full((of[1], of[0]), default, x.dtype) if value is None else checks.contiguous(value).reshape(of[1], of[0])


def _shape(op: str, x: np.ndarray, value: Any) -> tuple[int, ...]:
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(given) > 32:  # whose list would fill a page
        raise ValueError(f"{op}: normalized_shape must have at most 32 axes; got {len(given)}")
    shape = tuple(window.integer(op, "normalized_shape", size, 0) for size in given)
    if not shape:
        raise ValueError(f"{op}: Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element; got ()")
    if x.shape[-len(shape) :] != shape:
        wanted = ", ".join(map(str, ("*", *shape)))
        raise ValueError(
            f"{op}: Given normalized_shape={list(shape)}, expected input with shape [{wanted}], but got input of size{list(x.shape)}"
        )
    return shape


def _parameter(op: str, x: np.ndarray, shape: tuple[int, ...], name: str, value: Any) -> np.ndarray | None:
    if value is None:
        return None
    array = checks.array(op, name, value, None)
    checks.same_dtype(op, **{"input": x, name: array})
    if array.shape != shape:
        raise ValueError(
            f"{op}: Expected {name} to be of same shape as normalized_shape, but got {name} of shape {array.shape} "
            f"and normalized_shape = {shape}"
        )
    return array
