"""Pooling to a given size: windows share every axis evenly, from floor(i size / windows) to ceil((i + 1) size / windows)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import checks, pools
from ..ops.avg_pool2d import averages
from ..ops.avg_pool2d.problem import adaptive as _averages
from ..ops.max_pool2d import INDEX, maxima
from ..ops.max_pool2d.problem import adaptive as _maxima
from ..plans import Plans
from ._axes import Windows, average, average_backward, maximum, maximum_backward

_AVERAGES, _MAXIMA = Plans(), Plans()


def adaptive_avg_pool1d(input: Any, output_size: Any, *, algorithm: str = "auto") -> np.ndarray:
    """Return the averages of `output_size` windows of signals (N, C, L) or (C, L); as `adaptive_avg_pool2d`, for one axis.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    x = pools.batch("adaptive_avg_pool1d", "input", input, 1, words=_words(1))
    return average(x, _windows(x.op, x.value.shape, output_size, _averages), algorithm)


def adaptive_avg_pool1d_backward(grad_output: Any, input_shape: Any, output_size: Any, *, algorithm: str = "auto") -> np.ndarray:
    """Return the gradient of `adaptive_avg_pool1d`, as `adaptive_avg_pool2d_backward` that of `adaptive_avg_pool2d`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return _average_backward("adaptive_avg_pool1d_backward", 1, grad_output, input_shape, output_size, algorithm)


def adaptive_avg_pool2d(input: Any, output_size: Any, *, algorithm: str = "auto", layout: str = "NCHW") -> np.ndarray:
    """Return the averages of P x Q windows that share an image evenly.

    Parameters
    ----------
    input : (N, C, H, W) or (C, H, W) float32 or float64, in `layout`
    output_size : int or (P, Q)
        None in the place of a number keeps that axis as it is.
    algorithm : str
        "auto", or a variant of `avg_pool2d`.
    layout : "NCHW" or "NHWC"

    Returns
    -------
    (N, C, P, Q) ndarray of the input's dtype, in `layout`

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    key = Plans.key((output_size, algorithm, layout), input)
    plan = _AVERAGES.find(key)
    if plan is not None:
        result: np.ndarray = plan(input)[0]
        return result
    x = pools.batch("adaptive_avg_pool2d", "input", input, 2, layout, words=_words(2))
    problem = _windows(x.op, x.value.shape, output_size, _averages).of_rows(*x.value.shape[:2])
    return averages(x, problem, algorithm, "forward", (_AVERAGES, key, input))


def adaptive_avg_pool2d_backward(
    grad_output: Any, input_shape: Any, output_size: Any, *, algorithm: str = "auto", layout: str = "NCHW"
) -> np.ndarray:
    """Return the gradient of `adaptive_avg_pool2d`: every pixel has the sum, over its windows, of grad_output / their pixels.

    Parameters
    ----------
    grad_output : (N, C, P, Q) or (C, P, Q) float32 or float64, in `layout`
    input_shape : shape of the forward's input, in `layout`
    output_size, algorithm, layout
        As given to `adaptive_avg_pool2d`.

    Returns
    -------
    ndarray of shape `input_shape`

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return _average_backward("adaptive_avg_pool2d_backward", 2, grad_output, input_shape, output_size, algorithm, layout)


def adaptive_avg_pool3d(input: Any, output_size: Any, *, algorithm: str = "auto") -> np.ndarray:
    """Return the averages of windows of volumes (N, C, D, H, W) or (C, D, H, W); as `adaptive_avg_pool2d`, for three axes.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    x = pools.batch("adaptive_avg_pool3d", "input", input, 3, words=_words(3))
    return average(x, _windows(x.op, x.value.shape, output_size, _averages), algorithm)


def adaptive_avg_pool3d_backward(grad_output: Any, input_shape: Any, output_size: Any, *, algorithm: str = "auto") -> np.ndarray:
    """Return the gradient of `adaptive_avg_pool3d`, as `adaptive_avg_pool2d_backward` that of `adaptive_avg_pool2d`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return _average_backward("adaptive_avg_pool3d_backward", 3, grad_output, input_shape, output_size, algorithm)


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False, *, algorithm: str = "auto") -> Any:
    """Return the maxima of `output_size` windows of signals (N, C, L) or (C, L); as `adaptive_max_pool2d`, for one axis.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return _maximum("adaptive_max_pool1d", 1, input, output_size, return_indices, algorithm)


def adaptive_max_pool1d_backward(
    grad_output: Any, indices: Any, input_shape: Any, output_size: Any, *, algorithm: str = "auto"
) -> np.ndarray:
    """Return the gradient of `adaptive_max_pool1d`, as `adaptive_max_pool2d_backward` that of `adaptive_max_pool2d`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return _maximum_backward("adaptive_max_pool1d_backward", 1, grad_output, indices, input_shape, output_size, algorithm)


def adaptive_max_pool2d(
    input: Any, output_size: Any, return_indices: bool = False, *, algorithm: str = "auto", layout: str = "NCHW"
) -> Any:
    """Return the maxima of P x Q windows that share an image evenly.

    Parameters
    ----------
    input : (N, C, H, W) or (C, H, W), of floats or integers, in `layout`
    output_size : int or (P, Q)
        None in the place of a number keeps that axis as it is.
    return_indices : bool
        Also return where each maximum was found.
    algorithm : str
        "auto", or a variant of `max_pool2d`.
    layout : "NCHW" or "NHWC"

    Returns
    -------
    y : (N, C, P, Q) ndarray of the input's dtype, in `layout`
    indices : int64 ndarray like y, if `return_indices`
        As of `max_pool2d`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    key = Plans.key((output_size, int(return_indices is True), algorithm, layout), input) if type(return_indices) is bool else None
    plan = _MAXIMA.find(key)
    if plan is None:
        x = pools.batch("adaptive_max_pool2d", "input", input, 2, layout, checks.FLOATS + pools.INTEGERS, _words(2))
        wanted = checks.flag(x.op, "return_indices", return_indices)
        problem = _windows(x.op, x.value.shape, output_size, _maxima).of_rows(*x.value.shape[:2])
        y, indices = maxima(x, problem._replace(with_indices=wanted), algorithm, (_MAXIMA, key, input))
    else:
        y, indices = plan(input)
    return (y, indices) if return_indices else y


def adaptive_max_pool2d_backward(
    grad_output: Any, indices: Any, input_shape: Any, output_size: Any, *, algorithm: str = "auto", layout: str = "NCHW"
) -> np.ndarray:
    """Return the gradient of `adaptive_max_pool2d`: each output's gradient goes to the pixel of its maximum; overlaps add.

    Parameters
    ----------
    grad_output : (N, C, P, Q) or (C, P, Q) float32 or float64, in `layout`
    indices : int64 ndarray of the same shape, from ``adaptive_max_pool2d(..., return_indices=True)``
    input_shape : shape of the forward's input, in `layout`
    output_size, algorithm, layout
        As given to `adaptive_max_pool2d`.

    Returns
    -------
    ndarray of shape `input_shape`

    Raises
    ------
    TypeError, ValueError
        Also for an index outside the image.
    """
    return _maximum_backward("adaptive_max_pool2d_backward", 2, grad_output, indices, input_shape, output_size, algorithm, layout)


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False, *, algorithm: str = "auto") -> Any:
    """Return the maxima of windows of volumes (N, C, D, H, W) or (C, D, H, W); as `adaptive_max_pool2d`, for three axes.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return _maximum("adaptive_max_pool3d", 3, input, output_size, return_indices, algorithm)


def adaptive_max_pool3d_backward(
    grad_output: Any, indices: Any, input_shape: Any, output_size: Any, *, algorithm: str = "auto"
) -> np.ndarray:
    """Return the gradient of `adaptive_max_pool3d`, as `adaptive_max_pool2d_backward` that of `adaptive_max_pool2d`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return _maximum_backward("adaptive_max_pool3d_backward", 3, grad_output, indices, input_shape, output_size, algorithm)


def global_avg_pool2d(input: Any, *, algorithm: str = "auto", layout: str = "NCHW") -> np.ndarray:
    """Return the average of every channel, (N, C, 1, 1): ``adaptive_avg_pool2d(input, 1)``.

    Parameters
    ----------
    input, algorithm, layout
        As of `adaptive_avg_pool2d`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return adaptive_avg_pool2d(input, 1, algorithm=algorithm, layout=layout)


def global_avg_pool2d_backward(grad_output: Any, input_shape: Any, *, algorithm: str = "auto", layout: str = "NCHW") -> np.ndarray:
    """Return the gradient of `global_avg_pool2d`.

    Parameters
    ----------
    grad_output, input_shape, algorithm, layout
        As of `adaptive_avg_pool2d_backward`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return adaptive_avg_pool2d_backward(grad_output, input_shape, 1, algorithm=algorithm, layout=layout)


def global_max_pool2d(input: Any, return_indices: bool = False, *, algorithm: str = "auto", layout: str = "NCHW") -> Any:
    """Return the maximum of every channel, (N, C, 1, 1): ``adaptive_max_pool2d(input, 1)``.

    Parameters
    ----------
    input, return_indices, algorithm, layout
        As of `adaptive_max_pool2d`, with its results.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return adaptive_max_pool2d(input, 1, return_indices, algorithm=algorithm, layout=layout)


def global_max_pool2d_backward(
    grad_output: Any, indices: Any, input_shape: Any, *, algorithm: str = "auto", layout: str = "NCHW"
) -> np.ndarray:
    """Return the gradient of `global_max_pool2d`.

    Parameters
    ----------
    grad_output, indices, input_shape, algorithm, layout
        As of `adaptive_max_pool2d_backward`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return adaptive_max_pool2d_backward(grad_output, indices, input_shape, 1, algorithm=algorithm, layout=layout)


def _words(rank: int) -> str:
    return f"Input dimension should be at least {rank + 1}"


def _windows(op: str, shape: tuple[int, ...], output_size: Any, make: Callable[..., Any]) -> Windows:
    """Return checked windows; `make(N, C, H, W, P, Q)` is the problem of P x Q windows that share H x W pixels."""

    def problem(N: int, C: int, axes: Sequence[Any]) -> Any:
        (H, P), (W, Q) = axes
        return make(N, C, H, W, P, Q)

    axes = tuple(zip(shape[2:], pools.adaptive_sizes(op, shape, output_size), strict=True))
    return Windows(axes, (1, 1), problem, problem)


def _average_backward(
    op: str, rank: int, grad_output: Any, input_shape: Any, output_size: Any, algorithm: str, layout: str = "NCHW"
) -> np.ndarray:
    dy = pools.batch(op, "grad_output", grad_output, rank, layout, words=_words(rank))
    shape = dy.shape("input_shape", input_shape)
    return average_backward(dy, _windows(op, shape, output_size, _averages), shape, algorithm)


def _maximum(op: str, rank: int, input: Any, output_size: Any, return_indices: Any, algorithm: str) -> Any:
    x = pools.batch(op, "input", input, rank, dtypes=checks.FLOATS + pools.INTEGERS, words=_words(rank))
    wanted = checks.flag(op, "return_indices", return_indices)
    return maximum(x, _windows(op, x.value.shape, output_size, _maxima), wanted, algorithm)


def _maximum_backward(
    op: str, rank: int, grad_output: Any, indices: Any, input_shape: Any, output_size: Any, algorithm: str, layout: str = "NCHW"
) -> np.ndarray:
    dy = pools.batch(op, "grad_output", grad_output, rank, layout, words=_words(rank))
    shape = dy.shape("input_shape", input_shape)
    where = dy.like("indices", indices, INDEX)
    return maximum_backward(dy, where, _windows(op, shape, output_size, _maxima), shape, algorithm)
