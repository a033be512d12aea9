"""Losses of one prediction and one target each: distances, and cross-entropies of probabilities.

Those of classes stand in `classification`. Each gradient is a pair: with respect to the predictions and to the targets.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..ops.activation import logsigmoid, sigmoid
from . import _losses
from ._losses import REDUCTIONS, Operands, factor, reduced

_SIZES = (
    "Using a target size ({target}) that is different to the input size ({input}) is deprecated. Please ensure they have the same size."
)
_LOGIT_SIZES = "Target size ({target}) must be the same as input size ({input})"


def mse_loss(input: Any, target: Any, *, reduction: str = "mean", weight: Any = None) -> Any:
    """Return the squared error: loss[i] = weight[i] (input[i] - target[i])^2.

    Parameters
    ----------
    input, target : ndarray of any shape, float32 or float64
        Unequal shapes broadcast, with a warning, as in torch.
    reduction : "mean", "sum" or "none"
        With a weight "mean" divides by the sum of the weights.
    weight : ndarray of the input's shape, optional

    Returns
    -------
    scalar of the input's dtype, or the losses for "none"
        The mean over nothing is NaN.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.functional import mse_loss
    >>> float(mse_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    2.0
    """
    return _distance("mse_loss", _squared, input, target, reduction, weight)


def mse_loss_backward(grad_output: Any, input: Any, target: Any, *, reduction: str = "mean", weight: Any = None) -> tuple[np.ndarray, ...]:
    """Return the gradients of `mse_loss` with respect to input and target.

    Parameters
    ----------
    grad_output : scalar, or ndarray of the losses' shape for ``reduction="none"``
    input, target, reduction, weight
        As given to `mse_loss`.

    Returns
    -------
    grad_input, grad_target : ndarrays of the shapes of input and target

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`.
    """
    return _distance_backward("mse_loss_backward", _squared_slope, grad_output, input, target, reduction, weight)


def l1_loss(input: Any, target: Any, *, reduction: str = "mean", weight: Any = None) -> Any:
    """Return the absolute error: loss[i] = weight[i] |input[i] - target[i]|.

    Parameters
    ----------
    input, target, reduction, weight
        As of `mse_loss`.

    Returns
    -------
    scalar of the input's dtype, or the losses for "none"

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`.
    """
    return _distance("l1_loss", _absolute, input, target, reduction, weight)


def l1_loss_backward(grad_output: Any, input: Any, target: Any, *, reduction: str = "mean", weight: Any = None) -> tuple[np.ndarray, ...]:
    """Return the gradients of `l1_loss` with respect to input and target; 0 where they are equal.

    Parameters
    ----------
    grad_output, input, target, reduction, weight
        As of `mse_loss_backward`.

    Returns
    -------
    grad_input, grad_target : ndarrays of the shapes of input and target

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`.
    """
    return _distance_backward("l1_loss_backward", np.sign, grad_output, input, target, reduction, weight)


def smooth_l1_loss(input: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Any:
    """Return, of the distance d = |input[i] - target[i]|, d^2 / (2 beta) where d < beta and d - beta / 2 beyond.

    Parameters
    ----------
    input, target, reduction
        As of `mse_loss`.
    beta : float
        At least 0, which is `l1_loss`.

    Returns
    -------
    scalar of the input's dtype, or the losses for "none"

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`.

    References
    ----------
    R. Girshick, "Fast R-CNN", 2015, section 2.3.
    """
    return _distance("smooth_l1_loss", _smooth(_beta("smooth_l1_loss", beta)), input, target, reduction)


def smooth_l1_loss_backward(
    grad_output: Any, input: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0
) -> tuple[np.ndarray, ...]:
    """Return the gradients of `smooth_l1_loss` with respect to input and target.

    Parameters
    ----------
    grad_output, input, target, reduction
        As of `mse_loss_backward`.
    beta : float
        As given to `smooth_l1_loss`.

    Returns
    -------
    grad_input, grad_target : ndarrays of the shapes of input and target

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`.
    """
    op = "smooth_l1_loss_backward"
    return _distance_backward(op, _smooth_slope(_beta(op, beta)), grad_output, input, target, reduction)


def huber_loss(input: Any, target: Any, *, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    """Return, of the distance d = |input[i] - target[i]|, d^2 / 2 where d <= delta and delta (d - delta / 2) beyond.

    Parameters
    ----------
    input, target : ndarray of any shape, float32 or float64
    reduction : "mean", "sum" or "none"
        "mean" divides by the number of losses, with a weight too.
    delta : float
        Above 0.
    weight : ndarray of the input's shape, optional

    Returns
    -------
    scalar of the input's dtype, or the losses for "none"

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`.

    References
    ----------
    P. Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35 (1964).
    """
    return _distance("huber_loss", _huber(_delta("huber_loss", delta)), input, target, reduction, weight, share=False)


def huber_loss_backward(
    grad_output: Any, input: Any, target: Any, *, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> tuple[np.ndarray, ...]:
    """Return the gradients of `huber_loss` with respect to input and target.

    Parameters
    ----------
    grad_output : scalar, or ndarray of the losses' shape for ``reduction="none"``
    input, target, reduction, delta, weight
        As given to `huber_loss`.

    Returns
    -------
    grad_input, grad_target : ndarrays of the shapes of input and target

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`.
    """
    delta = _delta("huber_loss_backward", delta)
    slope = lambda d: np.clip(d, -delta, delta)  # noqa: E731
    return _distance_backward("huber_loss_backward", slope, grad_output, input, target, reduction, weight, share=False)


def kl_div(input: Any, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Any:
    """Return the Kullback-Leibler divergence: loss[i] = target[i] (log target[i] - input[i]), with 0 log 0 = 0.

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
        Logarithms of probabilities.
    target : ndarray
        Probabilities; their logarithms with `log_target`.
    reduction : "mean", "batchmean", "sum" or "none"
        "batchmean", which divides by the first axis' length, is the divergence; "mean" divides by the number of elements.
    log_target : bool

    Returns
    -------
    scalar of the input's dtype, or the losses for "none"

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`.
    """
    op = "kl_div"
    pair, how, log_target = _divergence(op, input, target, reduction, log_target)
    x, t = pair.input, pair.target
    with np.errstate(all="ignore"):
        losses = np.exp(t) * (t - x) if log_target else np.where(t == 0, 0, t * np.log(t)) - t * x
    return reduced(losses, "mean" if how == "batchmean" else how, x.dtype, _batch(pair, how))


def kl_div_backward(
    grad_output: Any, input: Any, target: Any, *, reduction: str = "mean", log_target: bool = False
) -> tuple[np.ndarray, ...]:
    """Return the gradients of `kl_div` with respect to input and target.

    Parameters
    ----------
    grad_output : scalar, or ndarray of the losses' shape for ``reduction="none"``
    input, target, reduction, log_target
        As given to `kl_div`.

    Returns
    -------
    grad_input, grad_target : ndarrays of the shapes of input and target

    Raises
    ------
    TypeError, ValueError
        As `kl_div`.
    """
    op = "kl_div_backward"
    pair, how, log_target = _divergence(op, input, target, reduction, log_target)
    x, t = pair.input, pair.target
    dloss = _losses.output_gradient(op, grad_output, x.shape, x.dtype, "mean" if how == "batchmean" else how, _batch(pair, how))
    with np.errstate(all="ignore"):
        mass = np.exp(t) if log_target else t
        slope = mass * (t - x + 1) if log_target else np.log(t) + 1 - x
        return pair.gradients(-mass * dloss, slope * dloss)


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Any:
    """Return loss[i] = - weight[i] (target[i] log input[i] + (1 - target[i]) log(1 - input[i])), logarithms at least -100.

    Parameters
    ----------
    input, target : ndarray of any, the same, shape, float32 or float64
        Probabilities.
    weight : ndarray that broadcasts to that shape, optional
    reduction : "mean", "sum" or "none"

    Returns
    -------
    scalar of the input's dtype, or the losses for "none"

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`; also for an input below 0 or above 1.
    """
    op = "binary_cross_entropy"
    how = _losses.reduction(op, reduction)
    x, t = _probabilities(op, input, target)
    w = factor(op, "weight", weight, x)
    with np.errstate(all="ignore"):
        losses = (t - 1) * np.maximum(np.log1p(-x), -100) - t * np.maximum(np.log(x), -100)
        return reduced(losses if w is None else losses * w, how, x.dtype)


def binary_cross_entropy_backward(
    grad_output: Any, input: Any, target: Any, weight: Any = None, *, reduction: str = "mean"
) -> tuple[np.ndarray, ...]:
    """Return the gradients of `binary_cross_entropy` with respect to input and target.

    Parameters
    ----------
    grad_output : scalar, or ndarray of the losses' shape for ``reduction="none"``
    input, target, weight, reduction
        As given to `binary_cross_entropy`.

    Returns
    -------
    grad_input, grad_target : ndarrays of the input's shape
        Of (input - target) / (input (1 - input)) the denominator is at least 1e-12.

    Raises
    ------
    TypeError, ValueError
        As `binary_cross_entropy`.
    """
    op = "binary_cross_entropy_backward"
    how = _losses.reduction(op, reduction)
    x, t = _probabilities(op, input, target)
    dloss = _losses.output_gradient(op, grad_output, x.shape, x.dtype, how)
    w = factor(op, "weight", weight, x)
    with np.errstate(all="ignore"):
        dloss = dloss if w is None else dloss * w
        dx = (x - t) / np.maximum((1 - x) * x, x.dtype.type(1e-12)) * dloss
        return np.asarray(dx, x.dtype, order="C"), np.asarray((np.log1p(-x) - np.log(x)) * dloss, x.dtype, order="C")


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """Return loss[i] = - weight[i] (pos_weight[i] target[i] log p + (1 - target[i]) log(1 - p)) of p = 1 / (1 + exp(-input[i])).

    Parameters
    ----------
    input, target : ndarray of any, the same, shape, float32 or float64
        Logits, and probabilities.
    weight, pos_weight : ndarrays that broadcast to that shape, optional
    reduction : "mean", "sum" or "none"

    Returns
    -------
    scalar of the input's dtype, or the losses for "none"
        Without overflow for any finite logit.

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`.
    """
    op = "binary_cross_entropy_with_logits"
    how = _losses.reduction(op, reduction)
    x, t = _losses.equal_operands(op, input, target, _LOGIT_SIZES)
    w, positive = factor(op, "weight", weight, x), factor(op, "pos_weight", pos_weight, x)
    with np.errstate(all="ignore"):
        losses = (1 - t) * x - logsigmoid(x) * (1 if positive is None else 1 + (positive - 1) * t)
        return reduced(losses if w is None else losses * w, how, x.dtype)


def binary_cross_entropy_with_logits_backward(
    grad_output: Any, input: Any, target: Any, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
) -> tuple[np.ndarray, ...]:
    """Return the gradients of `binary_cross_entropy_with_logits` with respect to input and target.

    Parameters
    ----------
    grad_output : scalar, or ndarray of the losses' shape for ``reduction="none"``
    input, target, weight, reduction, pos_weight
        As given to `binary_cross_entropy_with_logits`.

    Returns
    -------
    grad_input, grad_target : ndarrays of the input's shape

    Raises
    ------
    TypeError, ValueError
        As `binary_cross_entropy_with_logits`.
    """
    op = "binary_cross_entropy_with_logits_backward"
    how = _losses.reduction(op, reduction)
    x, t = _losses.equal_operands(op, input, target, _LOGIT_SIZES)
    dloss = _losses.output_gradient(op, grad_output, x.shape, x.dtype, how)
    w, positive = factor(op, "weight", weight, x), factor(op, "pos_weight", pos_weight, x)
    with np.errstate(all="ignore"):
        dloss = dloss if w is None else dloss * w
        if positive is None:
            dx, dt = sigmoid(x) - t, -x
        else:
            dx, dt = (1 - t) - sigmoid(-x) * (1 + (positive - 1) * t), -x - (positive - 1) * logsigmoid(x)
        return np.asarray(dx * dloss, x.dtype, order="C"), np.asarray(dt * dloss, x.dtype, order="C")


# --- Distances -----------------------------------------------------------------------------------------------------------


def _distance(op: str, value: Any, input: Any, target: Any, reduction: str, weight: Any = None, share: bool = True) -> Any:
    """Return a loss of input - target, which `value` may overwrite; with `share` a weighted mean is over the sum of the weights."""
    how = _losses.reduction(op, reduction)
    pair = _losses.operands(op, input, target)
    w = _weights(op, weight, pair)
    x, t = pair.input.reshape(-1), pair.target.reshape(-1)
    losses = np.empty(pair.input.shape, x.dtype) if how == "none" else None
    total = 0.0
    with np.errstate(all="ignore"):
        for block in _losses.blocks(x.size):
            part = value(x[block] - t[block])
            if w is not None:
                part *= w.reshape(-1)[block]
            if losses is None:
                total += float(part.sum())
            else:
                losses.reshape(-1)[block] = part
        if losses is not None:
            return losses
        return _losses.averaged(total, w.sum() if w is not None and share else x.size, how, x.dtype)


def _distance_backward(
    op: str, slope: Any, grad_output: Any, input: Any, target: Any, reduction: str, weight: Any = None, share: bool = True
) -> tuple[np.ndarray, ...]:
    """Return the gradients of such a loss, whose derivative is `slope`."""
    how = _losses.reduction(op, reduction)
    pair = _losses.operands(op, input, target)
    w = _weights(op, weight, pair)
    with np.errstate(over="ignore", invalid="ignore"):
        count = w.sum() if w is not None and share else None
    dloss = _losses.output_gradient(op, grad_output, pair.input.shape, pair.input.dtype, how, count)
    x, t = pair.input.reshape(-1), pair.target.reshape(-1)
    each = np.broadcast_to(dloss, pair.input.shape).reshape(-1) if how == "none" else None
    dx, dt = np.empty(pair.input.shape, x.dtype), np.empty(pair.input.shape, x.dtype)
    with np.errstate(all="ignore"):
        for block in _losses.blocks(x.size):
            part = slope(x[block] - t[block])
            part *= dloss if each is None else each[block]
            if w is not None:
                part *= w.reshape(-1)[block]
            dx.reshape(-1)[block] = part
            np.negative(part, out=dt.reshape(-1)[block])
        return pair.gradients(dx, dt)


def _weights(op: str, weight: Any, pair: Operands) -> np.ndarray | None:
    """Return a checked weight for every loss; the input must have the losses' shape, as in torch."""
    w = factor(op, "weight", weight, pair.input, same=True)
    if w is not None and pair.shapes[0] != w.shape:
        raise ValueError(f"{op}: Weights and input must have the same size; got {w.shape} and {pair.shapes[0]}")
    return w


def _squared(d: np.ndarray) -> np.ndarray:
    return np.square(d, out=d)


def _absolute(d: np.ndarray) -> np.ndarray:
    return np.abs(d, out=d)


def _squared_slope(d: np.ndarray) -> np.ndarray:
    return d * 2


def _beta(op: str, value: Any) -> float:
    beta = checks.number(op, "beta", value)
    if beta < 0:
        raise ValueError(f"{op}: smooth_l1_loss does not support negative values for beta; got {beta}")
    return beta


_LEAST_BETA = 1e-30  # below it 1 / beta may be infinite in float32, and no distance that counts lies in the parabola


def _smooth(beta: float) -> Any:
    return _absolute if beta < _LEAST_BETA else lambda d: _quadratic(d, beta) * (1 / beta)


def _smooth_slope(beta: float) -> Any:
    return np.sign if beta < _LEAST_BETA else lambda d: np.clip(d, -beta, beta) * (1 / beta)


def _quadratic(d: np.ndarray, limit: float) -> np.ndarray:
    """Return d^2 / 2 where |d| <= limit, and limit (|d| - limit / 2) beyond."""
    size = np.abs(d, out=d)
    near = np.minimum(size, limit)
    return near * (size - 0.5 * near)


def _delta(op: str, value: Any) -> float:
    delta = checks.number(op, "delta", value)
    if delta <= 0:
        raise ValueError(f"{op}: huber_loss does not support non-positive values for delta. Got {delta}")
    return delta


def _huber(delta: float) -> Any:
    return lambda d: _quadratic(d, delta)


# --- The others' arguments -----------------------------------------------------------------------------------------------


def _divergence(op: str, input: Any, target: Any, reduction: Any, log_target: Any) -> tuple[Operands, str, bool]:
    how = _losses.reduction(op, reduction, (*REDUCTIONS, "batchmean"))
    log_target = checks.flag(op, "log_target", log_target)
    # one distribution for a whole batch is nothing to warn of
    return _losses.operands(op, input, target, warn=False), how, log_target


def _batch(pair: Operands, how: str) -> int | None:
    """Return what "batchmean" divides by."""
    return (pair.shapes[0] or (1,))[0] if how == "batchmean" else None


def _probabilities(op: str, input: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
    x, t = _losses.equal_operands(op, input, target, _SIZES)
    for name, values in (("input", x), ("target", t)):
        with np.errstate(all="ignore"):
            low, high = values.min(initial=1), values.max(initial=0)  # NaN where there is one, which torch refuses, too
        if not (low >= 0 and high <= 1):
            raise ValueError(f"{op}: all elements of {name} should be between 0 and 1; got {low} to {high}")
    return x, t
