"""Activations with learnt parameters; those without stand in `fastcnn.ops.activation`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks

_LARGE = 4096  # elements


def prelu(input: Any, weight: Any) -> np.ndarray:
    """Return x where x > 0, else weight x.

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
        Axis 1 is the channels.
    weight : () or (1,) or (C,), the input's dtype
        One slope, or one of every channel.

    Returns
    -------
    ndarray of the input's shape and dtype

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    References
    ----------
    K. He et al., "Delving Deep into Rectifiers", 2015, section 2.1.
    """
    x, slopes = _checked("prelu", input, weight)
    y = checks.empty("prelu", x.shape, x.dtype)
    by_sample = x.ndim > 2 and x[:1].size > _LARGE  # so that its passes find it in cache
    with np.errstate(all="ignore"):
        for source, target in zip(x, y, strict=True) if by_sample else ((x, y),):
            np.minimum(source, 0, out=target)
            target *= slopes
            target += np.maximum(source, 0)
    return y


def prelu_backward(grad_output: Any, input: Any, weight: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients of `prelu` with respect to input and weight.

    Parameters
    ----------
    grad_output : ndarray of the input's shape and dtype
    input, weight
        As given to `prelu`.

    Returns
    -------
    grad_input, grad_weight : ndarrays of the shapes of input and weight

    Raises
    ------
    TypeError, ValueError
        As `prelu`.
    """
    op = "prelu_backward"
    x, slopes = _checked(op, input, weight)
    dy = checks.array(op, "grad_output", grad_output, None)
    checks.same_dtype(op, grad_output=dy, input=x)
    checks.same_shape(op, "grad_output", dy, x.shape, "the input's shape")
    with np.errstate(all="ignore"):
        negative = np.where(x > 0, 0, dy * x)
        axes = tuple(axis for axis in range(x.ndim) if axis != 1 or slopes.size == 1)
        dweight = np.asarray(negative.sum(axes, np.float64), x.dtype).reshape(np.shape(weight))
        return np.where(x > 0, dy, slopes * dy), dweight


def _checked(op: str, input: Any, weight: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the input, and slopes that broadcast to it."""
    x, slopes = checks.array(op, "input", input, None), checks.array(op, "weight", weight, None)
    checks.same_dtype(op, input=x, weight=slopes)
    if slopes.ndim > 1:
        raise ValueError(f"{op}: prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {slopes.ndim}")
    if slopes.size == 1:
        return x, slopes.reshape(())
    if x.ndim == 0:
        raise ValueError(f"{op}: Not allow zero-dim input tensor.")
    channels = x.shape[1] if x.ndim > 1 else 1
    if slopes.size != channels:
        raise ValueError(
            f"{op}: Mismatch of parameter numbers and input channel size. Found parameter numbers = {slopes.size} "
            f"and channel size = {channels}."
        )
    return x, slopes.reshape(-1, *[1] * (x.ndim - 2))
