"""Two-dimensional max-pooling: `torch.nn.functional.max_pool2d` on NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import checks, pools
from ...engine.windows import extremes
from ...plans import Plans, allocating, on_memory
from ...pools import Batch
from ...registry import Operation
from ...window import Axis
from . import problem as _problem
from .problem import MaxPool2dProblem

__all__ = ["OPERATION", "MaxPool2dProblem", "max_pool2d", "max_pool2d_backward"]

OPERATION = Operation(__name__, ("direct", "reference"), _problem)

INDEX = (np.dtype(np.int64),)

_FORWARD, _BACKWARD = Plans(), Plans()
_NOWHERE = np.empty(0, np.int64)  # the indices that nobody asked for


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    algorithm: str = "auto",
    layout: str = "NCHW",
) -> Any:
    """Return the maximum of every window: y[n,c,p,q] = max over r,s of x[n, c, p*stride + r*dilation - padding, ...].

    Parameters
    ----------
    input : (N, C, H, W) or (C, H, W), of floats or integers
        With ``layout="NHWC"`` (N, H, W, C) or (H, W, C).
    kernel_size, stride, dilation : int or (vertical, horizontal)
        `stride` defaults to the kernel size.
    padding : int or pair, at most half of the kernel, whatever the dilation
        Padding counts as minus infinity.
    ceil_mode : bool
        Round the output size up; the last window must start inside the input or the padding before it.
    return_indices : bool
        Also return where each maximum was found.
    algorithm : str
        "auto", or a variant of this operation.
    layout : "NCHW" or "NHWC"

    Returns
    -------
    y : (N, C, P, Q) ndarray of the input's dtype
        NaN wins over every number.
    indices : int64 ndarray like y, if `return_indices`
        h * W + w of the maximum in its plane; the first of equals in row-major order; -1 where a dilated window holds no pixel.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    flags = type(ceil_mode) is bool and type(return_indices) is bool
    arguments = kernel_size, stride, padding, dilation, int(ceil_mode is True), int(return_indices is True), algorithm, layout
    key = Plans.key(arguments, input) if flags else None
    plan = _FORWARD.find(key)
    if plan is None:
        x = pools.batch("max_pool2d", "input", input, 2, layout, checks.FLOATS + pools.INTEGERS)
        wanted = checks.flag(x.op, "return_indices", return_indices)
        problem = sliding_problem(x.op, x.value.shape, kernel_size, stride, padding, dilation, ceil_mode, wanted)
        y, indices = maxima(x, problem, algorithm, (_FORWARD, key, input))
    else:
        y, indices = plan(input)
    return (y, indices) if return_indices else y


def maxima(x: Batch, problem: MaxPool2dProblem, algorithm: str, remembered: tuple[Plans, Any, Any] | None = None) -> list[np.ndarray]:
    """Return the maxima and their indices (empty where the problem is without) of (N, C, H, W) images, with the axes that theirs have.

    `remembered` are the plans, the key and the array with which calls like this one come back.
    """
    op, letters = x.op, x.layout
    y = checks.empty_image(op, problem.output_shape, x.value.dtype, letters)
    indices = checks.empty_image(op, problem.output_shape, np.int64, letters) if problem.with_indices else _NOWHERE
    run = OPERATION.choose(problem, "forward", algorithm, op)
    results = [x.result(y), x.result(indices) if problem.with_indices else indices]
    if y.size:
        images = checks.dense_as(x.value, letters)
        compute = on_memory(run, problem, (images, y, indices), (images, y))
        compute(*map(checks.flat, (images, y)), checks.flat(indices) if problem.with_indices else indices)
        if remembered is not None:
            allocators = [checks.allocator(op, result.shape, result.dtype) if result.size else lambda: _NOWHERE for result in results]
            known, key, array = remembered
            known.remember(key, allocating(compute, *allocators), array)
    return results


def max_pool2d_backward(
    grad_output: Any,
    indices: Any,
    input_shape: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    algorithm: str = "auto",
    layout: str = "NCHW",
) -> np.ndarray:
    """Return the gradient of `max_pool2d`: each output's gradient goes to the pixel of its maximum; overlaps add.

    Parameters
    ----------
    grad_output : (N, C, P, Q) or (C, P, Q) float32 or float64, in `layout`
    indices : int64 ndarray of the same shape, from ``max_pool2d(..., return_indices=True)``
    input_shape : shape of the forward's input, in `layout`
    kernel_size, stride, padding, dilation, ceil_mode, algorithm, layout
        As given to `max_pool2d`.

    Returns
    -------
    ndarray of shape `input_shape`

    Raises
    ------
    TypeError, ValueError
        Also for an index outside the plane.
    """
    arguments = input_shape, kernel_size, stride, padding, dilation, int(ceil_mode is True), algorithm, layout
    key = Plans.key(arguments, grad_output, indices) if type(ceil_mode) is bool else None
    plan = _BACKWARD.find(key)
    if plan is not None:
        result: np.ndarray = plan(grad_output, indices)
        return result
    dy = pools.batch("max_pool2d_backward", "grad_output", grad_output, 2, layout)
    shape = dy.shape("input_shape", input_shape)
    problem = sliding_problem(dy.op, shape, kernel_size, stride, padding, dilation, ceil_mode)
    return route(dy, dy.like("indices", indices, INDEX), problem, algorithm, remembered=(_BACKWARD, key, grad_output, indices))


def route(
    dy: Batch,
    where: Batch,
    problem: MaxPool2dProblem,
    algorithm: str,
    product: str = "H*W",
    remembered: tuple[Plans, Any, Any, Any] | None = None,
) -> np.ndarray:
    """Return the gradient of `maxima`, with the axes of `dy`, whose images are (N, C, P, Q).

    `product` is how errors call the number of pixels; `remembered` are the plans, the key and the arrays with which calls like this one
    come back.
    """
    op, letters = dy.op, dy.layout
    checks.same_shape(op, "grad_output", dy.value, problem.output_shape, "the forward's output as (N, C, P, Q)")
    errors, places = (checks.dense_as(given.value, letters) for given in (dy, where))

    def look_at(indices: np.ndarray) -> None:
        pixels = problem.H * problem.W
        lowest, highest = extremes(indices)
        if not (lowest >= -1 and highest < pixels):
            raise ValueError(f"{op}: indices must be between -1 and {product} - 1 = {pixels - 1}; got {lowest} to {highest}")

    if places.size:
        look_at(checks.flat(places))
    dx = checks.empty_image(op, problem.input_shape, dy.value.dtype, letters)
    run = OPERATION.choose(problem, "backward_input", algorithm, op)
    result = dy.result(dx)
    if dx.size:
        compute = on_memory(run, problem, (errors, places, dx), (dx, errors))
        compute(*map(checks.flat, (errors, places, dx)))
    if places.size and remembered is not None:
        known, key, *arrays = remembered
        planned = allocating(compute, checks.allocator(op, result.shape, result.dtype))

        def route_again(grad_output: np.ndarray, indices: np.ndarray) -> np.ndarray:
            look_at(indices)
            return planned(grad_output, indices)[0]

        known.remember(key, route_again, *arrays)
    return result


def pool_output(
    size: tuple[int, ...], kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> tuple[int, int]:
    """Return the output size (P, Q) of `max_pool2d` for images of `size` (H, W)."""
    problem = sliding_problem("max_pool2d", (1, 1, *size), kernel_size, stride, padding, dilation, ceil_mode)
    return problem.P, problem.Q


def sliding_problem(
    op: str, shape: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, with_indices: bool = True
) -> MaxPool2dProblem:
    """Return the problem of windows that slide over (N, C, H, W) images of `shape`, checked."""
    return problem_of(shape[0], shape[1], pools.slide(op, shape, kernel_size, stride, padding, dilation, ceil_mode), with_indices)


def problem_of(N: int, C: int, axes: Sequence[tuple[Axis, int]], with_indices: bool = True) -> MaxPool2dProblem:
    """Return the problem of N images of C channels whose rows and columns, with the number of windows along each, are `axes`."""
    (v, P), (h, Q) = axes
    return MaxPool2dProblem(
        N, C, v.size, h.size, v.kernel, h.kernel, P, Q, v.stride, h.stride, v.before, h.before, v.dilation, h.dilation,
        with_indices=with_indices,
    )  # fmt: skip
