"""Transposed convolutions: `torch.nn.functional.conv_transpose1d`, `2d` and `3d` and their gradients on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._convolution import Call
from ._transposed import transposed, transposed_gradients


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    algorithm: str = "auto",
    precision: str = "high",
) -> np.ndarray:
    """Convolve, transposed: every input element adds its filters to the output (`torch.nn.functional.conv_transpose1d`).

    y[n,k,q*stride + s*dilation - left] = bias[k] + sum over all c and all (q, s) that meet there of x[n,c,q] * weight[c,k,s]

    Its kernels are those of the gradient of `conv1d`.

    Parameters
    ----------
    input : (N, C, W) float32 or float64
        Or (C, W). Any strides; never written to.
    weight : (C, K / groups, S), the input's dtype
    bias : (K,), the input's dtype, optional
    stride, dilation : int or (int,)
    padding : int, (padding,) or ((left, right),)
        Elements cut off the output's ends.
    output_padding : int or (int,)
        Elements added at the output's end; smaller than the stride or the dilation.
    groups : int
        Divides C and K; each group of C / groups channels adds to its own K / groups channels of the output.
    algorithm : str
        "auto", or a variant of `conv2d` with a `backward_input`; ValueError with its reason where that variant cannot.
    precision : "highest", "high" or "medium"
        What "auto" may use, as in `conv2d`.

    Returns
    -------
    (N, K, Q) ndarray of the input's dtype
        Q = (W - 1) stride - left - right + dilation (S - 1) + output_padding + 1; unbatched where the input was.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return transposed(
        Call("conv_transpose1d", 1, stride, padding, dilation, groups, algorithm, precision), input, weight, bias, output_padding
    )


def conv_transpose1d_backward(
    grad_output: Any,
    input: Any,
    weight: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    algorithm: str = "auto",
    precision: str = "high",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of `conv_transpose1d` with respect to input, weight and bias.

    Parameters
    ----------
    grad_output : (N, K, Q), or unbatched
    input, weight, stride, padding, output_padding, groups, dilation, algorithm, precision
        As given to `conv_transpose1d`.

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
    call = Call("conv_transpose1d_backward", 1, stride, padding, dilation, groups, algorithm, precision)
    return transposed_gradients(call, grad_output, input, weight, output_padding)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    algorithm: str = "auto",
    precision: str = "high",
) -> np.ndarray:
    """Convolve, transposed: every input element adds its filters to the output (`torch.nn.functional.conv_transpose2d`).

    y[n,k,h*stride + r*dilation - top, ...] = bias[k] + sum over all c and all (h, w, r, s) that meet there of x[n,c,h,w] * weight[c,k,r,s]

    It is the gradient of `conv2d` with respect to its input, as an operation of its own, and has its kernels.

    Parameters
    ----------
    input : (N, C, H, W) float32 or float64
        Or (C, H, W). Any strides; never written to.
    weight : (C, K / groups, R, S), the input's dtype
    bias : (K,), the input's dtype, optional
    stride, dilation : int or (vertical, horizontal)
    padding : int, pair or ((top, bottom), (left, right))
        Elements cut off the output's ends.
    output_padding : int or (vertical, horizontal)
        Elements added at the output's end; smaller than the stride or the dilation.
    groups : int
        Divides C and K; each group of C / groups channels adds to its own K / groups channels of the output.
    algorithm : str
        "auto", or a variant of `conv2d` with a `backward_input`; ValueError with its reason where that variant cannot.
    precision : "highest", "high" or "medium"
        What "auto" may use, as in `conv2d`.

    Returns
    -------
    (N, K, P, Q) ndarray of the input's dtype
        P = (H - 1) stride - top - bottom + dilation (R - 1) + output_padding + 1, Q likewise; unbatched where the input was.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    References
    ----------
    V. Dumoulin & F. Visin, "A guide to convolution arithmetic for deep learning", arXiv 1603.07285, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.functional import conv_transpose2d
    >>> conv_transpose2d(np.array([[[1, 2]]], np.float32), np.ones((1, 1, 2, 2), np.float32), stride=2)
    array([[[1., 1., 2., 2.],
            [1., 1., 2., 2.]]], dtype=float32)
    """
    return transposed(
        Call("conv_transpose2d", 2, stride, padding, dilation, groups, algorithm, precision), input, weight, bias, output_padding
    )


def conv_transpose2d_backward(
    grad_output: Any,
    input: Any,
    weight: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    algorithm: str = "auto",
    precision: str = "high",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of `conv_transpose2d` with respect to input, weight and bias.

    Parameters
    ----------
    grad_output : (N, K, P, Q), or unbatched
    input, weight, stride, padding, output_padding, groups, dilation, algorithm, precision
        As given to `conv_transpose2d`.

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
    call = Call("conv_transpose2d_backward", 2, stride, padding, dilation, groups, algorithm, precision)
    return transposed_gradients(call, grad_output, input, weight, output_padding)


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    algorithm: str = "auto",
    precision: str = "high",
) -> np.ndarray:
    """Convolve, transposed: every input element adds its filters to the output (`torch.nn.functional.conv_transpose3d`).

    y[n,k,d*stride + t*dilation - front, ...] = bias[k] + sum over all c and all taps that meet there of x[n,c,d,h,w] * weight[c,k,t,r,s]

    Its kernels are those of the gradient of `conv3d`.

    Parameters
    ----------
    input : (N, C, D, H, W) float32 or float64
        Or (C, D, H, W). Any strides; never written to.
    weight : (C, K / groups, T, R, S), the input's dtype
    bias : (K,), the input's dtype, optional
    stride, dilation : int or (deep, vertical, horizontal)
    padding : int, triple or ((front, back), (top, bottom), (left, right))
        Elements cut off the output's ends.
    output_padding : int or (deep, vertical, horizontal)
        Elements added at the output's end; smaller than the stride or the dilation.
    groups : int
        Divides C and K; each group of C / groups channels adds to its own K / groups channels of the output.
    algorithm : str
        "auto", or a variant of `conv2d` with a `backward_input`; ValueError with its reason where that variant cannot.
    precision : "highest", "high" or "medium"
        What "auto" may use, as in `conv2d`.

    Returns
    -------
    (N, K, O, P, Q) ndarray of the input's dtype
        O = (D - 1) stride - front - back + dilation (T - 1) + output_padding + 1, P and Q likewise; unbatched where the input was.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return transposed(
        Call("conv_transpose3d", 3, stride, padding, dilation, groups, algorithm, precision), input, weight, bias, output_padding
    )


def conv_transpose3d_backward(
    grad_output: Any,
    input: Any,
    weight: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    algorithm: str = "auto",
    precision: str = "high",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of `conv_transpose3d` with respect to input, weight and bias.

    Parameters
    ----------
    grad_output : (N, K, O, P, Q), or unbatched
    input, weight, stride, padding, output_padding, groups, dilation, algorithm, precision
        As given to `conv_transpose3d`.

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
    call = Call("conv_transpose3d_backward", 3, stride, padding, dilation, groups, algorithm, precision)
    return transposed_gradients(call, grad_output, input, weight, output_padding)
