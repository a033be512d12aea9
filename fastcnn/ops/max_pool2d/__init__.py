"""Two-dimensional max-pooling: `torch.nn.functional.max_pool2d` on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import checks, window
from ...registry import Operation
from . import problem as _problem
from .problem import MaxPool2dProblem

__all__ = ["OPERATION", "MaxPool2dProblem", "max_pool2d", "max_pool2d_backward"]

OPERATION = Operation(__name__, ("direct", "reference"), _problem)

_INTEGERS = tuple(np.dtype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8))


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
    padding : int or pair, at most half the kernel
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
    op = "max_pool2d"
    letters = checks.layout(op, layout)
    x = checks.array(op, "input", input, (letters, letters[1:]), checks.FLOATS + _INTEGERS)
    batch = checks.channels_first(x if x.ndim == 4 else x[None], letters)
    problem = _pool_problem(op, batch.shape, kernel_size, stride, padding, dilation, ceil_mode)
    y = checks.empty_image(op, problem.output_shape, x.dtype, letters)
    indices = checks.empty_image(op, problem.output_shape, np.int64, letters)
    return_indices = checks.flag(op, "return_indices", return_indices)
    run = OPERATION.choose(problem, "forward", algorithm)
    if y.size:
        run(problem, checks.dense_as(batch, letters), y, indices)
    results = [array.transpose(0, 2, 3, 1) if letters == "NHWC" else array for array in (y, indices)]
    if x.ndim == 3:
        results = [array[0] for array in results]
    return tuple(results) if return_indices else results[0]


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
    op = "max_pool2d_backward"
    letters = checks.layout(op, layout)
    dy = checks.array(op, "grad_output", grad_output, (letters, letters[1:]))
    where = checks.array(op, "indices", indices, (letters, letters[1:]), (np.dtype(np.int64),))
    checks.same_shape(op, "indices", where, dy.shape, "grad_output's shape")
    shape = checks.shape(op, "input_shape", input_shape, letters if dy.ndim == 4 else letters[1:])
    unbatched = dy.ndim == 3
    sizes = dict(zip(letters[1:] if unbatched else letters, shape, strict=True))
    batch_shape = tuple(sizes.get(letter, 1) for letter in "NCHW")
    problem = _pool_problem(op, batch_shape, kernel_size, stride, padding, dilation, ceil_mode)
    errors, places = (checks.channels_first(a[None] if unbatched else a, letters) for a in (dy, where))
    checks.same_shape(op, "grad_output", errors, problem.output_shape, "the forward's output as (N, C, P, Q)")
    if places.size and not (places.min() >= -1 and places.max() < problem.H * problem.W):
        raise ValueError(
            f"{op}: indices must be between -1 and H*W - 1 = {problem.H * problem.W - 1}; got {places.min()} to {places.max()}"
        )
    dx = checks.empty_image(op, problem.input_shape, dy.dtype, letters)
    run = OPERATION.choose(problem, "backward_input", algorithm, op)
    if dx.size:
        run(problem, checks.dense_as(errors, letters), checks.dense_as(places, letters), dx)
    result = dx.transpose(0, 2, 3, 1) if letters == "NHWC" else dx
    return result[0] if unbatched else result


def pool_output(
    size: tuple[int, ...], kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> tuple[int, int]:
    """Return the output size (P, Q) of `max_pool2d` for images of `size` (H, W)."""
    problem = _pool_problem("max_pool2d", (1, 1, *size), kernel_size, stride, padding, dilation, ceil_mode)
    return problem.P, problem.Q


def _pool_problem(
    op: str, shape: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any
) -> MaxPool2dProblem:
    N, C, H, W = shape
    if C == 0:
        raise ValueError(f"{op}: input must have at least one channel; got (N, C, H, W) = {shape}")
    ceil_mode = checks.flag(op, "ceil_mode", ceil_mode)
    kernel = window.pair(op, "kernel_size", kernel_size, 1)
    before = window.pair(op, "padding", padding, 0)
    for pad, size in zip(before, kernel, strict=True):
        if pad > size // 2:
            raise ValueError(f"{op}: padding must be at most half of kernel_size, {size // 2}; got {pad}")
    vertical, horizontal = window.axes(op, (H, W), kernel, kernel if stride is None else stride, before, dilation, ceil_mode)
    P, Q = (axis.ceil_output if ceil_mode else axis.output for axis in (vertical, horizontal))
    v, h = vertical, horizontal
    return MaxPool2dProblem(
        N, C, H, W, v.kernel, h.kernel, P, Q, v.stride, h.stride, v.before, h.before, v.dilation, h.dilation
    )  # fmt: skip
