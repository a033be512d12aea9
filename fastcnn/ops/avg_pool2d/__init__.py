"""Two-dimensional average-pooling: `torch.nn.functional.avg_pool2d` on NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import checks, pools, window
from ...plans import Plans, allocating, on_memory
from ...pools import Batch
from ...registry import Operation
from ...window import Axis
from . import problem as _problem
from .problem import AvgPool2dProblem

__all__ = ["OPERATION", "AvgPool2dProblem", "avg_pool2d", "avg_pool2d_backward"]

OPERATION = Operation(__name__, ("direct", "reference"), _problem)

_FORWARD, _BACKWARD = Plans(), Plans()


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    algorithm: str = "auto",
    layout: str = "NCHW",
) -> np.ndarray:
    """Return the average of every window: y[n,c,p,q] = sum over r,s of x[n, c, p*stride + r - padding, ...] / divisor.

    Parameters
    ----------
    input : (N, C, H, W) or (C, H, W) float32 or float64
        With ``layout="NHWC"`` (N, H, W, C) or (H, W, C).
    kernel_size, stride : int or (vertical, horizontal)
        `stride` defaults to the kernel size.
    padding : int or pair, at most half the kernel
        Padding counts as 0.
    ceil_mode : bool
        Round the output size up; the last window must start inside the input or the padding before it.
    count_include_pad : bool
        Divide by the pixels of the window with those in the padding; else by those in the image alone.
    divisor_override : int, optional
        Divide by this number instead.
    algorithm : str
        "auto", or a variant of this operation.
    layout : "NCHW" or "NHWC"

    Returns
    -------
    (N, C, P, Q) ndarray of the input's dtype, in `layout`

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import avg_pool2d
    >>> avg_pool2d(np.array([[[[1.0, 2.0], [3.0, 6.0]]]]), 2)
    array([[[[3.]]]])
    """
    window_ = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    key = _key(window_, (algorithm, layout), input)
    plan = _FORWARD.find(key)
    if plan is not None:
        result: np.ndarray = plan(input)[0]
        return result
    x = pools.batch("avg_pool2d", "input", input, 2, layout)
    return averages(x, sliding_problem(x.op, x.value.shape, *window_), algorithm, "forward", (_FORWARD, key, input))


def avg_pool2d_backward(
    grad_output: Any,
    input_shape: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    algorithm: str = "auto",
    layout: str = "NCHW",
) -> np.ndarray:
    """Return the gradient of `avg_pool2d`: every pixel has the sum, over its windows, of grad_output / divisor.

    Parameters
    ----------
    grad_output : (N, C, P, Q) or (C, P, Q) float32 or float64, in `layout`
    input_shape : shape of the forward's input, in `layout`
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, algorithm, layout
        As given to `avg_pool2d`.

    Returns
    -------
    ndarray of shape `input_shape`

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    window_ = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    key = _key(window_, (input_shape, algorithm, layout), grad_output)
    plan = _BACKWARD.find(key)
    if plan is not None:
        result: np.ndarray = plan(grad_output)[0]
        return result
    dy = pools.batch("avg_pool2d_backward", "grad_output", grad_output, 2, layout)
    problem = sliding_problem(dy.op, dy.shape("input_shape", input_shape), *window_)
    return averages(dy, problem, algorithm, "backward_input", (_BACKWARD, key, grad_output))


def averages(
    given: Batch, problem: AvgPool2dProblem, algorithm: str, direction: str, remembered: tuple[Plans, Any, Any] | None = None
) -> np.ndarray:
    """Return one direction of (N, C, H, W) images or, backward, of gradients, with the axes that theirs have.

    `remembered` are the plans, the key and the array with which calls like this one come back.
    """
    op, letters, source = given.op, given.layout, given.value
    shape = problem.output_shape
    if direction == "backward_input":
        checks.same_shape(op, "grad_output", source, shape, "the forward's output as (N, C, P, Q)")
        shape = problem.input_shape
    target = checks.empty_image(op, shape, source.dtype, letters)
    run = OPERATION.choose(problem, direction, algorithm, op)
    result = given.result(target)
    if source.size == 0:
        target.fill(0)
    elif target.size:
        images = checks.dense_as(source, letters), target
        compute = on_memory(run, problem, images, images)
        compute(*map(checks.flat, images))
        if remembered is not None:
            known, key, array = remembered
            known.remember(key, allocating(compute, checks.allocator(op, result.shape, result.dtype)), array)
    return result


def sliding_problem(
    op: str,
    shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: Any,
    count_include_pad: Any = True,
    divisor_override: Any = None,
) -> AvgPool2dProblem:
    """Return the problem of windows that slide over (N, C, H, W) images of `shape`, checked."""
    axes = pools.slide(op, shape, kernel_size, stride, padding, 1, ceil_mode)
    return problem_of(
        shape[0], shape[1], axes, checks.flag(op, "count_include_pad", count_include_pad), checked_divisor(op, divisor_override)
    )


def problem_of(N: int, C: int, axes: Sequence[tuple[Axis, int]], count_include_pad: bool, divisor: int = 0) -> AvgPool2dProblem:
    """Return the problem of N images of C channels whose rows and columns, with the number of windows along each, are `axes`."""
    (v, P), (h, Q) = axes
    return AvgPool2dProblem(
        N, C, v.size, h.size, v.kernel, h.kernel, P, Q, v.stride, h.stride, v.before, h.before, count_include_pad, divisor
    )  # fmt: skip


def checked_divisor(op: str, value: Any) -> int:
    """Return a checked `divisor_override`; 0 where there is none."""
    if value is None:
        return 0
    number = window.whole(op, "divisor_override", value)
    if number == 0:
        raise ValueError(f"{op}: divisor must be not zero: divisor_override must be an int other than 0, or None; got 0")
    if abs(number) > window.LARGEST:
        raise ValueError(f"{op}: divisor_override must be at most {window.LARGEST} in size; got {window.shown(number)}")
    return number


def _key(window_: tuple[Any, ...], others: tuple[Any, ...], array: Any) -> tuple[Any, ...] | None:
    """Return the key of a call; None where a flag is none, which may equal one that is."""
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override = window_
    if type(ceil_mode) is not bool or type(count_include_pad) is not bool:
        return None
    return Plans.key((kernel_size, stride, padding, int(ceil_mode), int(count_include_pad), divisor_override, *others), array)
