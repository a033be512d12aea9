"""Softmax with cross-entropy, the loss of classification; `torch.nn.functional.cross_entropy` on (N, C) logits."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from ... import checks
from ...registry import Operation
from . import problem as _problem
from ._step import softmax_cross_entropy_step
from .problem import SoftmaxCrossEntropyProblem

__all__ = [
    "OPERATION",
    "SoftmaxCrossEntropyProblem",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_step",
]

OPERATION = Operation(__name__, ("direct", "reference"), _problem)


def softmax_cross_entropy(
    input: Any, target: Any, reduction: str = "mean", label_smoothing: float = 0.0, *, algorithm: str = "auto"
) -> Any:
    """Return the cross-entropy of softmax(input) against labels: loss[n] = - sum over c of t[n,c] log softmax(input[n])[c].

    Parameters
    ----------
    input : (N, C) float32 or float64
        Logits.
    target : (N,) integers from 0 to C - 1, or (N, C) probabilities of the input's dtype
        Labels stand for t = one-hot.
    reduction : "mean", "sum" or "none"
    label_smoothing : float in [0, 1]
        Mixes t with the uniform distribution: t (1 - label_smoothing) + label_smoothing / C.
    algorithm : str
        "auto", or a variant of this operation.

    Returns
    -------
    scalar of the input's dtype, or (N,) ndarray for "none"
        The mean over an empty batch is NaN, as in torch.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived; also for a label outside 0..C-1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import softmax_cross_entropy
    >>> float(softmax_cross_entropy(np.zeros((1, 4)), np.array([2])))  # log 4
    1.3862943611198906
    """
    op = "softmax_cross_entropy"
    x, probabilities = _check(op, input, target, reduction, label_smoothing)
    losses = np.empty(len(x), x.dtype)
    problem = SoftmaxCrossEntropyProblem(*x.shape)
    OPERATION.choose(problem, "forward", algorithm)(problem, x, probabilities, losses)
    if reduction == "none":
        return losses
    with np.errstate(over="ignore", invalid="ignore"):
        total = losses.sum()
        return total if reduction == "sum" else x.dtype.type(total / len(x) if len(x) else np.nan)


def softmax_cross_entropy_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """Return the gradient of `softmax_cross_entropy` with respect to its logits.

    Parameters
    ----------
    grad_output : scalar, or (N,) ndarray for ``reduction="none"``
        Gradient with respect to the loss; 1 for the loss itself.
    input, target, reduction, label_smoothing, algorithm
        As given to `softmax_cross_entropy`.

    Returns
    -------
    (N, C) ndarray of the input's dtype
        For "mean" and labels: (softmax(input) - one-hot) / N.

    Raises
    ------
    TypeError, ValueError
        As `softmax_cross_entropy`.
    """
    op = "softmax_cross_entropy_backward"
    x, probabilities = _check(op, input, target, reduction, label_smoothing)
    dloss = _output_gradient(op, grad_output, x, reduction)
    dx = np.empty_like(x)
    problem = SoftmaxCrossEntropyProblem(*x.shape)
    OPERATION.choose(problem, "backward_input", algorithm, op)(problem, dloss, x, probabilities, dx)
    return dx


def _check(op: str, input: Any, target: Any, reduction: Any, label_smoothing: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return (logits, target probabilities), both (N, C) and of one dtype."""
    x = checks.array(op, "input", input, "NC")
    if x.shape[1] == 0:
        raise ValueError(f"{op}: input must have at least one class; got shape {x.shape}")
    checks.choice(op, "reduction", reduction, ("mean", "sum", "none"))
    label_smoothing = checks.number(op, "label_smoothing", label_smoothing, finite=False)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{op}: label_smoothing must be between 0 and 1; got {label_smoothing}")
    t = checks.array(op, "target", target, ("N", "NC"), None)
    if t.ndim == 1:
        t = _one_hot(op, t, x)
    else:
        checks.same_dtype(op, input=x, target=t)
        checks.same_shape(op, "target", t, x.shape, "probabilities for every logit")
    if label_smoothing:
        t = (t * (1 - label_smoothing) + label_smoothing / x.shape[1]).astype(x.dtype)
    return checks.contiguous(x), checks.contiguous(t)


def _output_gradient(op: str, value: Any, x: np.ndarray, reduction: str) -> np.ndarray:
    """Return the gradient with respect to every row's loss, (N,), from one number or, for "none", an array."""
    if reduction == "none":
        dloss = checks.array(op, "grad_output", value, "N")
        checks.same_dtype(op, input=x, grad_output=dloss)
        checks.same_shape(op, "grad_output", dloss, (len(x),), "reduction is 'none'")
        return checks.contiguous(dloss)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and not isinstance(value, np.ma.MaskedArray):
        checks.same_shape(op, "grad_output", value, (), f"reduction is {reduction!r}")
    elif isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{op}: grad_output must be a number or a float array; got {type(value).__name__}")
    number = float(value) if isinstance(value, np.ndarray) else checks.number(op, "grad_output", value, finite=False)
    share = number / max(len(x), 1) if reduction == "mean" else number
    with np.errstate(over="ignore"):
        return np.full(len(x), share, x.dtype)


def _one_hot(op: str, labels: np.ndarray, x: np.ndarray) -> np.ndarray:
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{op}: target must hold integer labels (N,) or probabilities (N, C); got dtype {labels.dtype}")
    checks.same_shape(op, "target", labels, (len(x),), "one label per row of the input")
    if labels.size and (labels.min() < 0 or labels.max() >= x.shape[1]):
        wrong = labels[(labels < 0) | (labels >= x.shape[1])][0]
        raise ValueError(f"{op}: target labels must be between 0 and {x.shape[1] - 1}; got {wrong}")
    one_hot = np.zeros(x.shape, x.dtype)
    one_hot[np.arange(len(x)), labels] = 1
    return one_hot
