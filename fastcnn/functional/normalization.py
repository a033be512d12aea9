"""Normalisations that are made of others: groups, instances, and across channels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import checks, window
from ..ops.batch_norm import batch_norm, batch_norm_backward
from ..ops.layer_norm import normalize_rows, normalize_rows_backward


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *, algorithm: str = "auto"
) -> np.ndarray:
    """Return (x - mean) / sqrt(variance + eps) * weight[c] + bias[c], with the moments over groups of channels of a sample.

    Parameters
    ----------
    input : (N, C, ...) float32 or float64
    num_groups : int
        Divides C; groups are of C / num_groups neighbours.
    weight, bias : (C,), the input's dtype, optional
        1 and 0 where not given.
    eps : float
        Added to the variance.
    algorithm : str
        "auto", or a variant of `layer_norm`.

    Returns
    -------
    ndarray of the input's shape and dtype

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived; also for groups of a single value.

    References
    ----------
    Y. Wu & K. He, "Group Normalization", 2018.
    """
    op = "group_norm"
    x, of = _groups(op, input, num_groups)
    scale, shift = (_of_pixels(x, _channels(op, x, name, value)) for name, value in (("weight", weight), ("bias", bias)))
    return normalize_rows(op, x, of, scale, shift, checks.number(op, "eps", eps), algorithm)


def group_norm_backward(
    grad_output: Any, input: Any, num_groups: int, weight: Any = None, eps: float = 1e-5, *, algorithm: str = "auto"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of `group_norm` with respect to input, weight and bias.

    Parameters
    ----------
    grad_output : ndarray of the input's shape and dtype
    input, num_groups, weight, eps, algorithm
        As given to `group_norm`.

    Returns
    -------
    grad_input : ndarray of the input's shape
    grad_weight, grad_bias : (C,)

    Raises
    ------
    TypeError, ValueError
        As `group_norm`.
    """
    op = "group_norm_backward"
    x, of = _groups(op, input, num_groups)
    dy = checks.array(op, "grad_output", grad_output, None)
    scale = _of_pixels(x, _channels(op, x, "weight", weight))
    return _summed(x, normalize_rows_backward(op, dy, x, of, scale, checks.number(op, "eps", eps), algorithm))


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> np.ndarray:
    """Return (x - mean) / sqrt(variance + eps) * weight[c] + bias[c], with the moments over each channel of each sample.

    Parameters
    ----------
    input : (N, C, ...) float32 or float64
    running_mean, running_var : (C,), the input's dtype, or both None
        With `use_input_stats` changed in place: running = (1 - momentum) running + momentum times the mean over the samples.
    weight, bias : (C,), the input's dtype, optional
        1 and 0 where not given.
    use_input_stats : bool
        False uses the running moments instead, as `batch_norm` in evaluation.
    momentum : float
    eps : float
        Added to the variance.

    Returns
    -------
    ndarray of the input's shape and dtype

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived; also for channels of a single value.

    References
    ----------
    D. Ulyanov, A. Vedaldi & V. Lempitsky, "Instance Normalization", 2016.
    """
    op = "instance_norm"
    x = _instances(op, input, use_input_stats)
    scale, shift = (_channels(op, x, name, value) for name, value in (("weight", weight), ("bias", bias)))
    running = [_channels(op, x, name, value) for name, value in (("running_mean", running_mean), ("running_var", running_var))]
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{op}: running_mean and running_var must both be arrays or both be None; got one of each")
    eps, momentum = checks.number(op, "eps", eps), checks.number(op, "momentum", momentum)
    if not use_input_stats:
        if running_mean is None:
            raise ValueError(f"{op}: Expected running_mean and running_var to be defined when use_input_stats=False")
        return batch_norm(x.reshape(_flat(x)), running[0], running[1], scale, shift, eps=eps).reshape(x.shape)
    for name, value in (("running_mean", running_mean), ("running_var", running_var)):
        checks.changeable(op, name, value)
    of = math.prod(x.shape[2:]), x.shape[1]
    if running_mean is not None and x.size:
        _update(x.reshape(-1, *of[::-1]), momentum, np.asarray(running_mean), np.asarray(running_var))  # without a subclass's arithmetic
    return normalize_rows(op, x, of, _of_pixels(x, scale), _of_pixels(x, shift), eps, "auto")


def instance_norm_backward(
    grad_output: Any,
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    use_input_stats: bool = True,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of `instance_norm` with respect to input, weight and bias.

    Parameters
    ----------
    grad_output : ndarray of the input's shape and dtype
    input, running_mean, running_var, weight, use_input_stats, eps
        As given to `instance_norm`; the running moments matter without `use_input_stats` only.

    Returns
    -------
    grad_input : ndarray of the input's shape
    grad_weight, grad_bias : (C,)

    Raises
    ------
    TypeError, ValueError
        As `instance_norm`.
    """
    op = "instance_norm_backward"
    x = _instances(op, input, use_input_stats)
    dy = checks.array(op, "grad_output", grad_output, None)
    scale = _channels(op, x, "weight", weight)
    eps = checks.number(op, "eps", eps)
    if use_input_stats:
        of = math.prod(x.shape[2:]), x.shape[1]
        return _summed(x, normalize_rows_backward(op, dy, x, of, _of_pixels(x, scale), eps, "auto"))
    checks.same_dtype(op, grad_output=dy, input=x)
    checks.same_shape(op, "grad_output", dy, x.shape, "the input's shape")
    mean, variance = (_channels(op, x, name, value) for name, value in (("running_mean", running_mean), ("running_var", running_var)))
    if mean is None or variance is None:
        raise ValueError(f"{op}: Expected running_mean and running_var to be defined when use_input_stats=False")
    with np.errstate(all="ignore"):
        inverse = 1 / np.sqrt(variance.astype(np.float64) + eps)
    flat = _flat(x)
    dx, dweight, dbias = batch_norm_backward(dy.reshape(flat), x.reshape(flat), mean, inverse.astype(np.float64), scale)
    return dx.reshape(x.shape), dweight, dbias


def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> np.ndarray:
    """Return x[n,c,...] / (k + alpha / size * sum of the squares of `size` channels around c)^beta.

    Parameters
    ----------
    input : (N, C, ...) float32 or float64, of at least 3 axes
    size : int
        Channels in a sum: size // 2 before c, the others from c on; beyond the ends there are zeros.
    alpha, beta, k : float

    Returns
    -------
    ndarray of the input's shape and dtype

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    References
    ----------
    A. Krizhevsky, I. Sutskever & G. Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012, section 3.3.
    """
    x, size, alpha, beta, k = _responses("local_response_norm", input, size, alpha, beta, k)
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(x * _divisor(x, size, alpha, k) ** -beta)


def local_response_norm_backward(
    grad_output: Any, input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> np.ndarray:
    """Return the gradient of `local_response_norm` with respect to its input.

    Parameters
    ----------
    grad_output : ndarray of the input's shape and dtype
    input, size, alpha, beta, k
        As given to `local_response_norm`.

    Returns
    -------
    ndarray of the input's shape and dtype

    Raises
    ------
    TypeError, ValueError
        As `local_response_norm`.
    """
    op = "local_response_norm_backward"
    x, size, alpha, beta, k = _responses(op, input, size, alpha, beta, k)
    dy = checks.array(op, "grad_output", grad_output, None)
    checks.same_dtype(op, grad_output=dy, input=x)
    checks.same_shape(op, "grad_output", dy, x.shape, "the input's shape")
    with np.errstate(all="ignore"):
        divisor = _divisor(x, size, alpha, k)
        power = divisor**-beta
        # channel c is in the sums of those that begin at most (size - 1) // 2 before it
        through = _window(dy * x * power / divisor, (size - 1) // 2, size // 2)
        return np.ascontiguousarray(dy * power - x * through * (2 * alpha * beta / size))


def _groups(op: str, input: Any, num_groups: Any) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the input, and (elements of a group, groups)."""
    x = checks.array(op, "input", input, None)
    if x.ndim < 2:
        raise ValueError(f"{op}: Expected at least 2 dimensions for input tensor but received {x.ndim}")
    groups = window.integer(op, "num_groups", num_groups, 1)
    if x.shape[1] % groups:
        raise ValueError(
            f"{op}: Expected number of channels in input to be divisible by num_groups, but got input of shape {list(x.shape)} "
            f"and num_groups={groups}"
        )
    pixels = math.prod(x.shape[2:])
    if x.shape[0] * x.shape[1] // groups * pixels == 1:
        raise ValueError(f"{op}: Expected more than 1 value per channel when training, got input size {list(x.shape)}")
    return x, (x.shape[1] // groups * pixels, groups)


def _instances(op: str, input: Any, use_input_stats: Any) -> np.ndarray:
    x = checks.array(op, "input", input, None)
    if x.ndim < 2:
        raise ValueError(f"{op}: input must be (N, C, ...); got shape {x.shape}")
    if checks.flag(op, "use_input_stats", use_input_stats) and math.prod(x.shape[2:]) == 1:
        raise ValueError(f"{op}: Expected more than 1 spatial element when training, got input size {list(x.shape)}")
    return x


def _flat(x: np.ndarray) -> tuple[int, int, int]:
    """Return the shape (N, C, pixels)."""
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


def _channels(op: str, x: np.ndarray, name: str, value: Any) -> np.ndarray | None:
    """Return a checked array with one value per channel."""
    if value is None:
        return None
    array = checks.array(op, name, value, "C")
    checks.same_dtype(op, **{"input": x, name: array})
    checks.same_shape(op, name, array, (x.shape[1],), "one per channel of the input")
    return array


def _of_pixels(x: np.ndarray, channels: np.ndarray | None) -> np.ndarray | None:
    """Return a value of every channel as one of every element of a sample."""
    return None if channels is None else np.repeat(channels, math.prod(x.shape[2:]))


def _summed(x: np.ndarray, gradients: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return gradients whose parameters are of elements with those of channels."""
    dx, *parameters = gradients
    with np.errstate(all="ignore"):
        dweight, dbias = (p.reshape(x.shape[1], math.prod(x.shape[2:])).sum(1, np.float64).astype(x.dtype) for p in parameters)
    return dx, dweight, dbias


def _update(x: np.ndarray, momentum: float, running_mean: np.ndarray, running_var: np.ndarray) -> None:
    """Move the running moments towards those of (N, C, D) images."""
    pixels = x.shape[2]
    with np.errstate(all="ignore"):
        mean, variance = x.mean(2, np.float64), x.var(2, np.float64) * (pixels / (pixels - 1))
        for running, batch in ((running_mean, mean), (running_var, variance)):
            running *= 1 - momentum
            running += momentum * batch.mean(0)


def _responses(op: str, input: Any, size: Any, alpha: Any, beta: Any, k: Any) -> tuple[np.ndarray, int, float, float, float]:
    x = checks.array(op, "input", input, None)
    if x.ndim < 3:
        raise ValueError(f"{op}: Expected 3D or higher dimensionality input (got {x.ndim} dimensions)")
    numbers = (checks.number(op, name, value) for name, value in (("alpha", alpha), ("beta", beta), ("k", k)))
    return (x, window.integer(op, "size", size, 1), *numbers)  # type: ignore[return-value]


def _divisor(x: np.ndarray, size: int, alpha: float, k: float) -> np.ndarray:
    return _window(np.square(x), size // 2, (size - 1) // 2) * (alpha / size) + k


def _window(values: np.ndarray, before: int, after: int) -> np.ndarray:
    """Return the sums over the channels from `before` before each to `after` after it."""
    total = values.copy()
    for shift in range(1, min(before, values.shape[1] - 1) + 1):
        total[:, shift:] += values[:, :-shift]
    for shift in range(1, min(after, values.shape[1] - 1) + 1):
        total[:, :-shift] += values[:, shift:]
    return total
