"""Three-dimensional convolution: `torch.nn.functional.conv3d` and its gradients on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._convolution import Call, correlate, gradients, input_gradient, weight_gradient


def conv3d(
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
) -> np.ndarray:
    """Convolve volumes with filters (cross-correlation, as in `torch.nn.functional.conv3d`).

    y[n,k,o,p,q] = bias[k] + sum over c,t,r,s of x[n, c, o*stride + t*dilation - front, ...] * weight[k,c,t,r,s]

    The taps of the depth become channels of `conv2d`: an output slice sees T input slices as an image of T * C channels.

    Parameters
    ----------
    input : (N, C, D, H, W) float32 or float64
        Or (C, D, H, W). Any strides; never written to.
    weight : (K, C / groups, T, R, S), the input's dtype
    bias : (K,), the input's dtype, optional
    stride, dilation : int or (deep, vertical, horizontal)
    padding : int, triple, ((front, back), (top, bottom), (left, right)), "valid" or "same"
        "same" gives ceil(W / stride) outputs, for any stride (torch takes it for stride 1 only); an odd total puts the extra zeros
        at the end.
    groups : int
        Divides C and K; each group of K / groups filters sees its own C / groups channels.
    algorithm : str
        "auto", or a variant of `conv2d`, which computes it; ValueError with its reason where that variant cannot.
    precision : "highest", "high" or "medium"
        What "auto" may use, as in `conv2d`.

    Returns
    -------
    (N, K, O, P, Q) ndarray of the input's dtype
        O = floor((D + front + back - dilation (T - 1) - 1) / stride) + 1, P and Q likewise; unbatched where the input was.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.functional import conv3d
    >>> conv3d(np.ones((1, 1, 3, 3, 3), np.float32), np.ones((1, 1, 2, 2, 2), np.float32), padding="same")[0, 0, 0]
    array([[8., 8., 4.],
           [8., 8., 4.],
           [4., 4., 2.]], dtype=float32)
    """
    return correlate(Call("conv3d", 3, stride, padding, dilation, groups, algorithm, precision), input, weight, bias)


def conv3d_input(
    input_size: Any,
    weight: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    precision: str = "high",
) -> np.ndarray:
    """Return the gradient of `conv3d` with respect to its input (`torch.nn.grad.conv3d_input`).

    Parameters
    ----------
    input_size : shape of the forward's input
    weight, stride, padding, dilation, groups, algorithm, precision
        As given to `conv3d`.
    grad_output : (N, K, O, P, Q), or unbatched
        Gradient of the loss with respect to the forward's output.

    Returns
    -------
    ndarray of shape `input_size`

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    call = Call("conv3d_input", 3, stride, padding, dilation, groups, algorithm, precision)
    return input_gradient(call, input_size, weight, grad_output)


def conv3d_weight(
    input: Any,
    weight_size: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    precision: str = "high",
) -> np.ndarray:
    """Return the gradient of `conv3d` with respect to its weight (`torch.nn.grad.conv3d_weight`).

    Parameters
    ----------
    input, stride, padding, dilation, groups, algorithm, precision
        As given to `conv3d`.
    weight_size : (K, C / groups, T, R, S)
    grad_output : (N, K, O, P, Q), or unbatched

    Returns
    -------
    (K, C / groups, T, R, S) ndarray of the input's dtype

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    call = Call("conv3d_weight", 3, stride, padding, dilation, groups, algorithm, precision)
    return weight_gradient(call, input, weight_size, grad_output)


def conv3d_backward(
    grad_output: Any,
    input: Any,
    weight: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    precision: str = "high",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of `conv3d` with respect to input, weight and bias.

    Parameters
    ----------
    grad_output : (N, K, O, P, Q), or unbatched
    input, weight, stride, padding, dilation, groups, algorithm, precision
        As given to `conv3d`.

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
    call = Call("conv3d_backward", 3, stride, padding, dilation, groups, algorithm, precision)
    return gradients(call, grad_output, input, weight)
