"""Two-dimensional convolution: check the arguments, choose a variant, call it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import checks
from ...registry import Operation
from . import problem as _problem
from ._bias_gradient import sum_over_pixels
from .problem import Conv2dProblem, checked_problem

__all__ = ["OPERATION", "Conv2dProblem", "conv2d", "conv2d_backward", "conv2d_input", "conv2d_weight"]

# The order of automatic choice. `fastcnn compare conv2d` shows direct ahead of im2col by 1.5 to 5 times wherever it does not defer.
OPERATION = Operation(__name__, ("direct", "im2col", "reference"), _problem)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    layout: str = "NCHW",
) -> np.ndarray:
    """Convolve images with filters (cross-correlation, as in `torch.nn.functional.conv2d`).

    y[n,k,p,q] = bias[k] + sum over c,r,s of x[n, c, p*stride + r*dilation - padding, ...] * weight[k,c,r,s]

    Parameters
    ----------
    input : (N, C, H, W) float32 or float64
        Or (C, H, W); with ``layout="NHWC"`` (N, H, W, C) or (H, W, C). Any strides; never written to.
    weight : (K, C / groups, R, S), the input's dtype
    bias : (K,), the input's dtype, optional
    stride, dilation : int or (vertical, horizontal)
    padding : int, pair, ((top, bottom), (left, right)), "valid" or "same"
        "same" gives ceil(H / stride) outputs; an odd total puts the extra zeros at the end.
    groups : int
        Divides C and K; each group of K / groups filters sees its own C / groups channels.
    algorithm : str
        "auto", or a variant of this operation; ValueError with its reason where that variant cannot.
    layout : "NCHW" or "NHWC"
        Of input and output; channels-last is faster, as kernels compute in it.

    Returns
    -------
    (N, K, P, Q) ndarray of the input's dtype
        P = floor((H + top + bottom - dilation (R - 1) - 1) / stride) + 1; in `layout`, unbatched where the input was.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import conv2d
    >>> image = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> conv2d(image, np.ones((1, 1, 3, 3), np.float32))
    array([[[[45., 54.],
             [81., 90.]]]], dtype=float32)
    """
    op = "conv2d"
    x, unbatched, layout = _image(op, "input", input, layout)
    w = checks.array(op, "weight", weight, "KCRS")
    b = None if bias is None else checks.array(op, "bias", bias, "K")
    dtype = checks.same_dtype(op, input=x, weight=w, bias=b)
    problem = checked_problem(op, x.shape, w.shape, stride, padding, dilation, groups)
    if b is None:
        b = np.zeros(problem.K, dtype)
    elif b.shape != (problem.K,):
        raise ValueError(f"{op}: bias must have shape ({problem.K},), one per filter of the weight; got {b.shape}")
    run = OPERATION.choose(problem, "forward", algorithm)
    y = checks.empty_image(op, problem.output_shape, dtype, layout)
    if y.size:
        run(problem, checks.dense(x), checks.contiguous(w), checks.contiguous(b), y)
    return _result(y, unbatched, layout)


def conv2d_input(
    input_size: Any,
    weight: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    layout: str = "NCHW",
) -> np.ndarray:
    """Return the gradient of `conv2d` with respect to its input (`torch.nn.grad.conv2d_input`).

    Parameters
    ----------
    input_size : shape of the forward's input, in `layout`
    weight, stride, padding, dilation, groups, algorithm, layout
        As given to `conv2d`.
    grad_output : (N, K, P, Q), or unbatched, in `layout`
        Gradient of the loss with respect to the forward's output.

    Returns
    -------
    ndarray of shape `input_size`

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    op = "conv2d_input"
    dy, unbatched, layout = _image(op, "grad_output", grad_output, layout)
    shape = _image_size(op, input_size, unbatched, layout)
    w = checks.array(op, "weight", weight, "KCRS")
    dtype = checks.same_dtype(op, weight=w, grad_output=dy)
    problem = checked_problem(op, shape, w.shape, stride, padding, dilation, groups)
    checks.same_shape(op, "grad_output", dy, problem.output_shape, "the forward's output as (N, K, P, Q)")
    run = OPERATION.choose(problem, "backward_input", algorithm)
    dx = checks.empty_image(op, problem.input_shape, dtype, layout)
    if dx.size:
        run(problem, checks.dense(dy), checks.contiguous(w), dx)
    return _result(dx, unbatched, layout)


def conv2d_weight(
    input: Any,
    weight_size: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    layout: str = "NCHW",
) -> np.ndarray:
    """Return the gradient of `conv2d` with respect to its weight (`torch.nn.grad.conv2d_weight`).

    Parameters
    ----------
    input, stride, padding, dilation, groups, algorithm, layout
        As given to `conv2d`.
    weight_size : (K, C / groups, R, S)
    grad_output : (N, K, P, Q), or unbatched, in `layout`

    Returns
    -------
    (K, C / groups, R, S) ndarray of the input's dtype

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    op = "conv2d_weight"
    x, unbatched, layout = _image(op, "input", input, layout)
    dy, _, _ = _image(op, "grad_output", grad_output, layout, unbatched=unbatched)
    dtype = checks.same_dtype(op, input=x, grad_output=dy)
    w_shape = checks.shape(op, "weight_size", weight_size, "KCRS")
    problem = checked_problem(op, x.shape, w_shape, stride, padding, dilation, groups)
    checks.same_shape(op, "grad_output", dy, problem.output_shape, "the forward's output as (N, K, P, Q)")
    run = OPERATION.choose(problem, "backward_weight", algorithm)
    dweight = checks.empty(op, problem.weight_shape, dtype)
    run(problem, checks.dense(x), checks.dense(dy), dweight)
    return dweight


def conv2d_backward(
    grad_output: Any,
    input: Any,
    weight: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    layout: str = "NCHW",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of `conv2d` with respect to input, weight and bias.

    Parameters
    ----------
    grad_output : (N, K, P, Q), or unbatched, in `layout`
    input, weight, stride, padding, dilation, groups, algorithm, layout
        As given to `conv2d`.

    Returns
    -------
    grad_input : the input's shape
    grad_weight : the weight's shape
    grad_bias : (K,)

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    window_arguments = (stride, padding, dilation, groups)
    x, _, layout = _image("conv2d_backward", "input", input, layout)
    w = checks.array("conv2d_backward", "weight", weight, "KCRS")
    checks.same_dtype("conv2d_backward", input=x, weight=w)
    dweight = conv2d_weight(input, w.shape, grad_output, *window_arguments, algorithm=algorithm, layout=layout)
    dx = conv2d_input(np.shape(input), w, grad_output, *window_arguments, algorithm=algorithm, layout=layout)
    return dx, dweight, bias_gradient(grad_output, layout)


def bias_gradient(grad_output: Any, layout: str = "NCHW") -> np.ndarray:
    """Return the gradient of a per-channel bias: grad_output summed over images and pixels.

    Parameters
    ----------
    grad_output : (N, K, P, Q), or unbatched, in `layout`

    Returns
    -------
    (K,) ndarray of the same dtype
    """
    dy, _, _ = _image("bias_gradient", "grad_output", grad_output, layout)
    return sum_over_pixels(checks.dense(dy))


def _image(op: str, name: str, value: Any, layout: Any, unbatched: bool | None = None) -> tuple[np.ndarray, bool, str]:
    """Return (a batch of images as an (N, C, H, W) view, whether it was a single image, the checked layout)."""
    letters = checks.layout(op, layout)
    accepted = [d for d, single in ((letters, False), (letters[1:], True)) if unbatched is None or unbatched == single]
    array = checks.array(op, name, value, tuple(accepted))
    single = array.ndim == 3
    return checks.channels_first(array[None] if single else array, letters), single, letters


def _image_size(op: str, value: Any, unbatched: bool, layout: str) -> tuple[int, ...]:
    letters = layout[1:] if unbatched else layout
    sizes = dict(zip(letters, checks.shape(op, "input_size", value, letters), strict=True))
    return tuple(sizes.get(letter, 1) for letter in "NCHW")


def _result(image: np.ndarray, unbatched: bool, layout: str) -> np.ndarray:
    """Return an (N, C, H, W) view as the caller's layout has it, C-contiguous."""
    result = image.transpose(0, 2, 3, 1) if layout == "NHWC" else image
    return result[0] if unbatched else result
