"""Average-pooling of signals and volumes; that of images has kernels of its own: `fastcnn.ops.avg_pool2d`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .. import checks, pools
from ..ops.avg_pool2d import checked_divisor, problem_of
from ._axes import ONE, Windows, average, average_backward


def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """Return the average of every window: y[n,c,q] = sum over s of x[n, c, q*stride + s - padding] / divisor.

    Parameters
    ----------
    input : (N, C, L) or (C, L) float32 or float64
    kernel_size, stride, padding, ceil_mode, count_include_pad, algorithm
        As of `avg_pool2d`, for one axis: ints, or tuples of one.

    Returns
    -------
    (N, C, Q) ndarray of the input's dtype

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return _forward("avg_pool1d", 1, input, (kernel_size, stride, padding, ceil_mode, count_include_pad, None), algorithm)


def avg_pool1d_backward(
    grad_output: Any,
    input_shape: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """Return the gradient of `avg_pool1d`, as `avg_pool2d_backward` that of `avg_pool2d`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    window = kernel_size, stride, padding, ceil_mode, count_include_pad, None
    return _backward("avg_pool1d_backward", 1, grad_output, input_shape, window, algorithm)


def avg_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """Return the average of every window of a volume.

    Parameters
    ----------
    input : (N, C, D, H, W) or (C, D, H, W) float32 or float64
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, algorithm
        As of `avg_pool2d`, for three axes: ints or (depth, height, width).

    Returns
    -------
    (N, C, O, P, Q) ndarray of the input's dtype

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return _forward("avg_pool3d", 3, input, (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override), algorithm)


def avg_pool3d_backward(
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
) -> np.ndarray:
    """Return the gradient of `avg_pool3d`, as `avg_pool2d_backward` that of `avg_pool2d`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    window = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    return _backward("avg_pool3d_backward", 3, grad_output, input_shape, window, algorithm)


def _windows(op: str, shape: tuple[int, ...], window: tuple[Any, ...]) -> Windows:
    """Return the windows of checked arguments: what one is divided by is the product of its parts along the axes."""
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override = window
    include, divisor = checks.flag(op, "count_include_pad", count_include_pad), checked_divisor(op, divisor_override)
    problem = functools.partial(problem_of, count_include_pad=include)
    images, depths = (functools.partial(problem, divisor=part) for part in (divisor, int(divisor != 0)))
    return Windows(pools.slide(op, shape, kernel_size, stride, padding, 1, ceil_mode), ONE, images, depths)


def _forward(op: str, rank: int, input: Any, window: tuple[Any, ...], algorithm: str) -> np.ndarray:
    x = pools.batch(op, "input", input, rank)
    return average(x, _windows(op, x.value.shape, window), algorithm)


def _backward(op: str, rank: int, grad_output: Any, input_shape: Any, window: tuple[Any, ...], algorithm: str) -> np.ndarray:
    dy = pools.batch(op, "grad_output", grad_output, rank)
    shape = dy.shape("input_shape", input_shape)
    return average_backward(dy, _windows(op, shape, window), shape, algorithm)
