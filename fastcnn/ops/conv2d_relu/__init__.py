"""Convolution with ReLU as one operation: the tile stores max(0, sum), so the output is not read and written again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ... import checks
from ...plans import Plans, forward_plan, on_memory
from ...registry import PRECISIONS, Operation
from ..conv2d import Conv2dProblem, checked_problem
from . import problem as _problem

__all__ = ["OPERATION", "conv2d_relu", "conv2d_relu_backward"]

OPERATION = Operation(__name__, ("direct", "unfused_high", "unfused", "unfused_medium", "reference"), _problem)

_FORWARD = Plans()


def conv2d_relu(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    precision: str = "high",
    layout: str = "NCHW",
) -> np.ndarray:
    """Return ``relu(conv2d(...))`` without a second pass over the output.

    y[n,k,p,q] = max(0, bias[k] + sum over c,r,s of x[n, c, p*stride + r*dilation - padding, ...] * weight[k,c,r,s])

    Parameters
    ----------
    input, weight, bias, stride, padding, dilation, groups, precision, layout
        As in `conv2d`.
    algorithm : str
        "auto", or a variant of this operation; ValueError with its reason where that variant cannot.

    Returns
    -------
    (N, K, P, Q) ndarray of the input's dtype
        In `layout`, unbatched where the input was; NaN stays NaN.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import conv2d_relu
    >>> conv2d_relu(np.array([[[[-2.0, 3.0]]]]), np.ones((1, 1, 1, 1)))
    array([[[[0., 3.]]]])
    """
    arguments = stride, padding, dilation, groups, algorithm, precision, layout
    key = Plans.key(arguments, input, weight, bias)
    plan = _FORWARD.find(key)
    if plan is not None:
        result: np.ndarray = plan(input, weight, bias)
        return result
    call = _Call("conv2d_relu", *arguments[:-1], checks.layout("conv2d_relu", layout))
    x, unbatched = call.image("input", input)
    w = checks.array(call.op, "weight", weight, "KCRS")
    b = None if bias is None else checks.array(call.op, "bias", bias, "K")
    dtype = checks.same_dtype(call.op, input=x, weight=w, bias=b)
    problem = call.problem(x.shape, w.shape)
    if b is None:
        b = np.zeros(problem.K, dtype)
    checks.same_shape(call.op, "bias", b, (problem.K,), "one per filter of the weight")
    run = call.choose(problem, "forward")
    y = checks.empty_image(call.op, problem.output_shape, dtype, layout)
    x, w, b = checks.dense(x), checks.contiguous(w), checks.contiguous(b)
    if y.size:
        run(problem, x, w, b, y)
        if key is not None:
            compute = on_memory(run, problem, (x, w, b, y), images=(x, y))
            allocate = checks.allocator(call.op, call.result(y, unbatched).shape, dtype)
            _FORWARD.remember(key, forward_plan(compute, allocate, problem.K), input, weight, bias)
    return call.result(y, unbatched)


def conv2d_relu_backward(
    grad_output: Any,
    output: Any,
    input: Any,
    weight: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    input_gradient: bool = True,
    weight_gradient: bool = True,
    algorithm: str = "auto",
    precision: str = "high",
    layout: str = "NCHW",
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Return the gradients of `conv2d_relu` with respect to input, weight and bias.

    Parameters
    ----------
    grad_output : (N, K, P, Q), or unbatched, in `layout`
    output : ndarray of the same shape
        What `conv2d_relu` returned: the gradient passes where it is positive (or NaN).
    input, weight, stride, padding, dilation, groups, algorithm, precision, layout
        As given to `conv2d_relu`.
    input_gradient : bool
        False leaves out the input's gradient, which the first layer of a network does not need, and returns None for it.
    weight_gradient : bool
        False leaves out the gradients of weight and bias, which a frozen layer does not need, and returns None for both.

    Returns
    -------
    grad_input : the input's shape, or None
    grad_weight : the weight's shape, or None
    grad_bias : (K,), or None

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    name = "conv2d_relu_backward"
    call = _Call(name, stride, padding, dilation, groups, algorithm, precision, checks.layout(name, layout))
    dy, unbatched = call.image("grad_output", grad_output)
    y, x = call.image("output", output, unbatched)[0], call.image("input", input, unbatched)[0]
    w = checks.array(call.op, "weight", weight, "KCRS")
    dtype = checks.same_dtype(call.op, grad_output=dy, output=y, input=x, weight=w)
    problem = call.problem(x.shape, w.shape)
    checks.same_shape(call.op, "grad_output", dy, problem.output_shape, "the forward's output as (N, K, P, Q)")
    checks.same_shape(call.op, "output", y, problem.output_shape, "the forward's output as (N, K, P, Q)")
    wanted = checks.flag(call.op, "input_gradient", input_gradient)
    dweight = dbias = None
    x, dy, y = checks.dense(x), checks.dense(dy), checks.dense(y)
    if checks.flag(call.op, "weight_gradient", weight_gradient):
        run = call.choose(problem, "backward_weight")
        dweight, dbias = checks.empty(call.op, problem.weight_shape, dtype), np.empty(problem.K, dtype)
        run(problem, x, dy, y, dweight, dbias)
    if not wanted:
        return None, dweight, dbias
    run = call.choose(problem, "backward_input")
    dx = checks.empty_image(call.op, problem.input_shape, dtype, layout)
    if dx.size:
        run(problem, dy, y, checks.contiguous(w), dx)
    return call.result(dx, unbatched), dweight, dbias


class _Call(NamedTuple):
    """How a public function was called: its name, for errors, and the arguments that both of them share."""

    op: str
    stride: Any
    padding: Any
    dilation: Any
    groups: Any
    algorithm: Any
    precision: Any
    layout: str

    def image(self, name: str, value: Any, unbatched: bool | None = None) -> tuple[np.ndarray, bool]:
        """Return (a batch of images as an (N, C, H, W) view, whether it was a single image)."""
        batched = {False: self.layout, True: self.layout[1:]}
        array = checks.array(self.op, name, value, tuple(batched.values()) if unbatched is None else batched[unbatched])
        single = array.ndim == 3
        return checks.channels_first(array[None] if single else array, self.layout), single

    def problem(self, x: tuple[int, ...], weight: tuple[int, ...]) -> Conv2dProblem:
        """Return the checked problem of an input (N, C, H, W) and a weight of these shapes."""
        problem = checked_problem(self.op, x, weight, self.stride, self.padding, self.dilation, self.groups)
        if isinstance(self.algorithm, str) and self.algorithm == "reference":  # the only one that pads a whole batch
            N, C, H, W = problem.input_shape
            padded = (N, C, H + problem.top + problem.bottom, W + problem.left + problem.right)
            checks.require_memory(self.op, "the padded input", padded, 8)
        return problem

    def choose(self, problem: Conv2dProblem, direction: str) -> Callable[..., None]:
        """Return the variant's function that serves this call."""
        precision = checks.choice(self.op, "precision", self.precision, PRECISIONS)
        return OPERATION.choose(problem, direction, self.algorithm, self.op, precision)

    def result(self, image: np.ndarray, unbatched: bool) -> np.ndarray:
        """Return an (N, C, H, W) view as the caller's layout has it, C-contiguous."""
        result = image.transpose(0, 2, 3, 1) if self.layout == "NHWC" else image
        return result[0] if unbatched else result
