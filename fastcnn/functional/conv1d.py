"""One-dimensional convolution: `torch.nn.functional.conv1d` and its gradients on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._convolution import Call, correlate, gradients, input_gradient, weight_gradient


def conv1d(
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
    """Convolve rows with filters (cross-correlation, as in `torch.nn.functional.conv1d`).

    y[n,k,q] = bias[k] + sum over c,s of x[n, c, q*stride + s*dilation - left] * weight[k,c,s]

    A row is an image of height 1 to the kernels of `conv2d`, which is exact and moves no memory.

    Parameters
    ----------
    input : (N, C, W) float32 or float64
        Or (C, W). Any strides; never written to.
    weight : (K, C / groups, S), the input's dtype
    bias : (K,), the input's dtype, optional
    stride, dilation : int or (int,)
    padding : int, (padding,), ((left, right),), "valid" or "same"
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
    (N, K, Q) ndarray of the input's dtype
        Q = floor((W + left + right - dilation (S - 1) - 1) / stride) + 1; unbatched where the input was.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.functional import conv1d
    >>> conv1d(np.arange(5, dtype=np.float32).reshape(1, 1, 5), np.ones((1, 1, 3), np.float32))
    array([[[3., 6., 9.]]], dtype=float32)
    """
    return correlate(Call("conv1d", 1, stride, padding, dilation, groups, algorithm, precision), input, weight, bias)


def conv1d_input(
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
    """Return the gradient of `conv1d` with respect to its input (`torch.nn.grad.conv1d_input`).

    Parameters
    ----------
    input_size : shape of the forward's input
    weight, stride, padding, dilation, groups, algorithm, precision
        As given to `conv1d`.
    grad_output : (N, K, Q), or unbatched
        Gradient of the loss with respect to the forward's output.

    Returns
    -------
    ndarray of shape `input_size`

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    call = Call("conv1d_input", 1, stride, padding, dilation, groups, algorithm, precision)
    return input_gradient(call, input_size, weight, grad_output)


def conv1d_weight(
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
    """Return the gradient of `conv1d` with respect to its weight (`torch.nn.grad.conv1d_weight`).

    Parameters
    ----------
    input, stride, padding, dilation, groups, algorithm, precision
        As given to `conv1d`.
    weight_size : (K, C / groups, S)
    grad_output : (N, K, Q), or unbatched

    Returns
    -------
    (K, C / groups, S) ndarray of the input's dtype

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    call = Call("conv1d_weight", 1, stride, padding, dilation, groups, algorithm, precision)
    return weight_gradient(call, input, weight_size, grad_output)


def conv1d_backward(
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
    """Return the gradients of `conv1d` with respect to input, weight and bias.

    Parameters
    ----------
    grad_output : (N, K, Q), or unbatched
    input, weight, stride, padding, dilation, groups, algorithm, precision
        As given to `conv1d`.

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
    call = Call("conv1d_backward", 1, stride, padding, dilation, groups, algorithm, precision)
    return gradients(call, grad_output, input, weight)
