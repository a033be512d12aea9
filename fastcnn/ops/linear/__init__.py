"""Fully connected layers: `torch.nn.functional.linear` on NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks
from ...engine.column_sums import column_sums
from ...plans import Plans, forward_plan, on_memory
from ...registry import PRECISIONS, Operation
from . import problem as _problem
from .problem import LinearProblem

__all__ = ["OPERATION", "LinearProblem", "linear", "linear_backward"]

# `fastcnn compare linear` shows tiles level with OpenBLAS or ahead, by 2.4 times at most, but for a few rows of a large matrix. And
# OpenBLAS's idle threads spin, which slows the kernels that follow.
OPERATION = Operation(__name__, ("tile", "rows", "dot", "blas", "amx", "reference"), _problem)
_FORWARD, _INPUT, _WEIGHT = Plans(), Plans(), Plans()


def linear(input: Any, weight: Any, bias: Any = None, *, algorithm: str = "auto", precision: str = "high") -> np.ndarray:
    """Multiply by a matrix and add a bias: y[..., o] = bias[o] + sum over i of input[..., i] * weight[o, i].

    Parameters
    ----------
    input : (..., I) float32 or float64
    weight : (O, I), the input's dtype
    bias : (O,), the input's dtype, optional
    algorithm : str
        "auto", or a variant of this operation.
    precision : "highest", "high" or "medium"
        What "auto" may choose, as in `conv2d`: "medium" rounds the factors to bfloat16 where the CPU has matrix tiles for these.

    Returns
    -------
    (..., O) ndarray of the input's dtype

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    key = Plans.key((algorithm, precision), input, weight, bias)
    plan = _FORWARD.find(key)
    if plan is not None:
        result: np.ndarray = plan(input, weight, bias)
        return result
    x, w, problem = _check("linear", input, weight)
    b = None if bias is None else checks.array("linear", "bias", bias, "O")
    dtype = checks.same_dtype("linear", input=x, weight=w, bias=b)
    if b is None:
        b = np.zeros(problem.O, dtype)
    checks.same_shape("linear", "bias", b, (problem.O,), "one per row of the weight")
    y = checks.empty("linear", (problem.N, problem.O), dtype)
    run = _choose("linear", problem, "forward", algorithm, precision)
    arrays = checks.contiguous(x).reshape(problem.N, problem.I), checks.contiguous(w), checks.contiguous(b), y
    run(problem, *arrays)
    if key is not None and x.ndim == 2:
        plan = forward_plan(on_memory(run, problem, arrays), checks.allocator("linear", y.shape, dtype), problem.O)
        _FORWARD.remember(key, plan, input, weight, bias)
    return y.reshape(*x.shape[:-1], problem.O)


def linear_backward(
    grad_output: Any, input: Any, weight: Any, *, algorithm: str = "auto", precision: str = "high"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of `linear` with respect to input, weight and bias.

    Parameters
    ----------
    grad_output : (..., O)
    input : (..., I)
    weight : (O, I)
    algorithm, precision : str
        As in `linear`.

    Returns
    -------
    grad_input : (..., I)
    grad_weight : (O, I)
    grad_bias : (O,)

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    op = "linear_backward"
    dweight, dbias = _weight_gradient(op, grad_output, input, weight, algorithm, precision)
    return _input_gradient(op, grad_output, weight, algorithm, precision), dweight, dbias


def linear_input(grad_output: Any, weight: Any, *, algorithm: str = "auto", precision: str = "high") -> np.ndarray:
    """Return the gradient of `linear` with respect to its input, (..., I), from grad_output (..., O) and weight (O, I)."""
    return _input_gradient("linear_input", grad_output, weight, algorithm, precision)


def linear_weight(
    grad_output: Any, input: Any, weight: Any, *, algorithm: str = "auto", precision: str = "high"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients of `linear` with respect to weight, (O, I), and bias, (O,)."""
    return _weight_gradient("linear_weight", grad_output, input, weight, algorithm, precision)


def _input_gradient(op: str, grad_output: Any, weight: Any, algorithm: str, precision: str) -> np.ndarray:
    key = Plans.key((algorithm, precision), grad_output, weight)
    plan = _INPUT.find(key)
    if plan is not None:
        result: np.ndarray = plan(grad_output, weight)
        return result
    dy, w = checks.array(op, "grad_output", grad_output, None), checks.array(op, "weight", weight, "OI")
    dtype = checks.same_dtype(op, grad_output=dy, weight=w)
    if dy.ndim == 0 or dy.shape[-1] != w.shape[0]:
        raise ValueError(f"{op}: grad_output must be (..., {w.shape[0]}) for weight {w.shape}; got shape {dy.shape}")
    problem = LinearProblem(math.prod(dy.shape[:-1]), w.shape[1], w.shape[0])
    dx = checks.empty(op, (problem.N, problem.I), dtype)
    run = _choose(op, problem, "backward_input", algorithm, precision)
    arrays = checks.contiguous(dy).reshape(problem.N, problem.O), checks.contiguous(w), dx
    run(problem, *arrays)
    if key is not None and dy.ndim == 2:
        _INPUT.remember(key, _input_plan(on_memory(run, problem, arrays), checks.allocator(op, dx.shape, dtype)), grad_output, weight)
    return dx.reshape(*dy.shape[:-1], problem.I)


def _weight_gradient(op: str, grad_output: Any, input: Any, weight: Any, algorithm: str, precision: str) -> tuple[np.ndarray, np.ndarray]:
    key = Plans.key((algorithm, precision), input, weight, grad_output)
    plan = _WEIGHT.find(key)
    if plan is not None:
        gradients: tuple[np.ndarray, np.ndarray] = plan(input, grad_output)
        return gradients
    x, w, problem = _check(op, input, weight)
    dy = checks.array(op, "grad_output", grad_output, None)
    dtype = checks.same_dtype(op, grad_output=dy, input=x, weight=w)
    checks.same_shape(op, "grad_output", dy, (*x.shape[:-1], problem.O), "the forward's output")
    dy = checks.contiguous(dy).reshape(problem.N, problem.O)
    dweight, dbias = checks.empty(op, (problem.O, problem.I), dtype), np.empty(problem.O, dtype)
    run, sums = _choose(op, problem, "backward_weight", algorithm, precision), column_sums((problem.N, problem.O), dtype)
    arrays = checks.contiguous(x).reshape(problem.N, problem.I), dy, dweight
    run(problem, *arrays)
    sums(dy.reshape(-1), dbias)
    if key is not None and x.ndim == 2:
        plan = _weight_plan(on_memory(run, problem, arrays), sums, checks.allocator(op, dweight.shape, dtype))
        _WEIGHT.remember(key, plan, input, weight, grad_output)
    return dweight, dbias


def _choose(op: str, problem: LinearProblem, direction: str, algorithm: str, precision: str) -> Callable[..., None]:
    return OPERATION.choose(problem, direction, algorithm, op, checks.choice(op, "precision", precision, PRECISIONS))


def _input_plan(compute: Callable[..., None], allocate: Callable[[], np.ndarray]) -> Callable[..., np.ndarray]:
    """Return a plan of (grad_output, weight)."""

    def call(grad_output: np.ndarray, weight: np.ndarray) -> np.ndarray:
        dx = allocate()
        compute(grad_output.ravel(), weight.ravel(), dx.ravel())
        return dx

    return call


def _weight_plan(compute: Callable[..., None], sums: Callable[..., None], allocate: Callable[[], np.ndarray]) -> Callable[..., Any]:
    """Return a plan of (input, grad_output)."""

    def call(input: np.ndarray, grad_output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dweight = allocate()
        dbias, errors = np.empty(len(dweight), dweight.dtype), grad_output.ravel()
        compute(input.ravel(), errors, dweight.ravel())
        sums(errors, dbias)
        return dweight, dbias

    return call


def _check(op: str, input: Any, weight: Any) -> tuple[np.ndarray, np.ndarray, LinearProblem]:
    x, w = checks.array(op, "input", input, None), checks.array(op, "weight", weight, "OI")
    checks.same_dtype(op, input=x, weight=w)
    if x.ndim == 0 or x.shape[-1] != w.shape[1]:
        raise ValueError(f"{op}: input must be (..., {w.shape[1]}) for weight {w.shape}; got shape {x.shape}")
    return x, w, LinearProblem(math.prod(x.shape[:-1]), w.shape[1], w.shape[0])
