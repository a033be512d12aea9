"""Max-pooling of signals and volumes; that of images has kernels of its own: `fastcnn.ops.max_pool2d`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks, pools
from ..ops.max_pool2d import INDEX, problem_of
from ._axes import ONE, Windows, maximum, maximum_backward


def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    algorithm: str = "auto",
) -> Any:
    """Return the maximum of every window: y[n,c,q] = max over s of x[n, c, q*stride + s*dilation - padding].

    Parameters
    ----------
    input : (N, C, L) or (C, L), of floats or integers
    kernel_size, stride, padding, dilation, ceil_mode, return_indices, algorithm
        As of `max_pool2d`, for one axis: ints, or tuples of one.

    Returns
    -------
    y : (N, C, Q) ndarray of the input's dtype
    indices : int64 ndarray like y, if `return_indices`
        The place of the maximum, as of `max_pool2d`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return _forward("max_pool1d", 1, input, (kernel_size, stride, padding, dilation, ceil_mode), return_indices, algorithm)


def max_pool1d_backward(
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
) -> np.ndarray:
    """Return the gradient of `max_pool1d`, as `max_pool2d_backward` that of `max_pool2d`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived; also for an index outside the signal.
    """
    window = kernel_size, stride, padding, dilation, ceil_mode
    return _backward("max_pool1d_backward", 1, grad_output, indices, input_shape, window, algorithm)


def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    algorithm: str = "auto",
) -> Any:
    """Return the maximum of every window of a volume.

    Parameters
    ----------
    input : (N, C, D, H, W) or (C, D, H, W), of floats or integers
    kernel_size, stride, padding, dilation, ceil_mode, return_indices, algorithm
        As of `max_pool2d`, for three axes: ints or (depth, height, width).

    Returns
    -------
    y : (N, C, O, P, Q) ndarray of the input's dtype
    indices : int64 ndarray like y, if `return_indices`
        (d * H + h) * W + w of the maximum in its volume, as of `max_pool2d`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return _forward("max_pool3d", 3, input, (kernel_size, stride, padding, dilation, ceil_mode), return_indices, algorithm)


def max_pool3d_backward(
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
) -> np.ndarray:
    """Return the gradient of `max_pool3d`, as `max_pool2d_backward` that of `max_pool2d`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived; also for an index outside the volume.
    """
    window = kernel_size, stride, padding, dilation, ceil_mode
    return _backward("max_pool3d_backward", 3, grad_output, indices, input_shape, window, algorithm)


def _windows(op: str, shape: tuple[int, ...], window: tuple[Any, ...]) -> Windows:
    return Windows(pools.slide(op, shape, *window), ONE, problem_of, problem_of)


def _forward(op: str, rank: int, input: Any, window: tuple[Any, ...], return_indices: Any, algorithm: str) -> Any:
    x = pools.batch(op, "input", input, rank, dtypes=checks.FLOATS + pools.INTEGERS)
    wanted = checks.flag(op, "return_indices", return_indices)
    return maximum(x, _windows(op, x.value.shape, window), wanted, algorithm)


def _backward(op: str, rank: int, grad_output: Any, indices: Any, input_shape: Any, window: tuple[Any, ...], algorithm: str) -> np.ndarray:
    dy = pools.batch(op, "grad_output", grad_output, rank)
    shape = dy.shape("input_shape", input_shape)
    return maximum_backward(dy, dy.like("indices", indices, INDEX), _windows(op, shape, window), shape, algorithm)
