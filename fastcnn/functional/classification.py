"""Losses of classes: `nll_loss`, `cross_entropy`, and `one_hot`.

Classes are axis 1 of (N, C, ...) predictions, axis 0 of (C,) ones. Inside everything is (N, C, D), D being the product of the other axes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import checks, window
from ..ops.softmax import log_softmax, softmax
from ..ops.softmax_cross_entropy import softmax_cross_entropy, softmax_cross_entropy_backward
from . import _losses
from ._losses import reduced


def nll_loss(input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """Return the negative log-likelihood: loss[n,...] = - weight[t] input[n,t,...] with t = target[n,...].

    Parameters
    ----------
    input : (C,), (N, C) or (N, C, ...) float32 or float64
        Logarithms of probabilities.
    target : the input's shape without its classes, integers from 0 to C - 1
    weight : (C,), the input's dtype, optional
        Of every class; 1 where not given.
    ignore_index : int
        Where the target is this, loss and weight are 0.
    reduction : "mean", "sum" or "none"
        "mean" divides by the sum of the weights weight[t].

    Returns
    -------
    scalar of the input's dtype, or an ndarray of the target's shape for "none"
        The mean over nothing is NaN.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived; also for a target outside 0..C-1.
    """
    labels = _labels("nll_loss", input, target, weight, ignore_index, reduction)
    return _nll(labels, labels.x)


def nll_loss_backward(
    grad_output: Any, input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"
) -> np.ndarray:
    """Return the gradient of `nll_loss` with respect to its input.

    Parameters
    ----------
    grad_output : scalar, or ndarray of the target's shape for ``reduction="none"``
    input, target, weight, ignore_index, reduction
        As given to `nll_loss`.

    Returns
    -------
    ndarray of the input's shape and dtype
        0 but at the targets.

    Raises
    ------
    TypeError, ValueError
        As `nll_loss`.
    """
    labels = _labels("nll_loss_backward", input, target, weight, ignore_index, reduction)
    dx = np.zeros(labels.x.shape, labels.x.dtype)  # not in the memory order of a broadcast view
    with np.errstate(all="ignore"):  # 0 times infinity is NaN
        labels.put(dx, -labels.weights * labels.output_gradient(grad_output))
    return dx.reshape(labels.shape)


def cross_entropy(
    input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
) -> Any:
    """Return the cross-entropy of softmax(input) against classes: loss[n] = - sum over c of weight[c] t[n,c] log softmax(input[n])[c].

    Parameters
    ----------
    input : (C,), (N, C) or (N, C, ...) float32 or float64
        Logits.
    target : integers from 0 to C - 1, or probabilities
        Integers: of the input's shape without its classes; they stand for t = one-hot. Probabilities t: the input's shape and dtype.
    weight : (C,), the input's dtype, optional
        Of every class; 1 where not given.
    ignore_index : int
        Where an integer target is this, loss and weight are 0; below 0 for probabilities, which ignore none.
    reduction : "mean", "sum" or "none"
        "mean" divides by the sum of the weights of integer targets, and by the number of losses for probabilities.
    label_smoothing : float in [0, 1]
        Mixes t with the uniform distribution: t (1 - label_smoothing) + label_smoothing / C.

    Returns
    -------
    scalar of the input's dtype, or an ndarray of the input's shape without its classes for "none"
        The mean over nothing is NaN.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived; also for a target outside 0..C-1.

    References
    ----------
    C. Szegedy et al., "Rethinking the Inception Architecture", 2016, section 7 (label smoothing).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.functional import cross_entropy
    >>> float(cross_entropy(np.zeros((1, 4)), np.array([2])))  # log 4
    1.3862943611198906
    """
    op = "cross_entropy"
    smoothing = _smoothing(op, label_smoothing)
    if _is_floating(target):
        soft = _probabilities(op, input, target, weight, ignore_index, reduction, smoothing)
        return reduced(soft.losses(log_softmax(soft.x, 1)), soft.reduction, soft.x.dtype, soft.divisor)
    labels = _labels(op, input, target, weight, ignore_index, reduction)
    if labels.are_plain():
        return softmax_cross_entropy(input, target, reduction, smoothing)
    logs = log_softmax(labels.x, 1)
    if not smoothing:
        return _nll(labels, logs)
    with np.errstate(all="ignore"):
        uniform = -(logs if labels.weight is None else logs * labels.weight[:, None]).sum(1)
        rest = np.where(labels.ignored, 0, uniform).reshape(labels.losses_shape)
        rest = reduced(rest, labels.reduction, logs.dtype, labels.divisor)
        return (_nll(labels, logs) * (1 - smoothing) + rest * (smoothing / logs.shape[1])).astype(logs.dtype, copy=False)


def cross_entropy_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the gradients of `cross_entropy` with respect to its input and, where they are probabilities, its targets.

    Parameters
    ----------
    grad_output : scalar, or ndarray of the losses' shape for ``reduction="none"``
    input, target, weight, ignore_index, reduction, label_smoothing
        As given to `cross_entropy`.

    Returns
    -------
    grad_input : ndarray of the input's shape and dtype
    grad_target : likewise, None for integer targets

    Raises
    ------
    TypeError, ValueError
        As `cross_entropy`.
    """
    op = "cross_entropy_backward"
    smoothing = _smoothing(op, label_smoothing)
    if _is_floating(target):
        soft = _probabilities(op, input, target, weight, ignore_index, reduction, smoothing)
        dloss = soft.output_gradient(grad_output)
        with np.errstate(all="ignore"):
            dt = log_softmax(soft.x, 1) * dloss * (smoothing - 1)
            dt = dt if soft.weight is None else dt * soft.weight[:, None]
        return _pulled(soft.x, soft.mass, dloss).reshape(soft.shape), dt.astype(soft.x.dtype, copy=False).reshape(soft.shape)
    labels = _labels(op, input, target, weight, ignore_index, reduction)
    if labels.are_plain():
        return softmax_cross_entropy_backward(grad_output, input, target, reduction, smoothing), None
    if not smoothing:
        with np.errstate(all="ignore"):
            share = labels.weights * labels.output_gradient(grad_output)
            dx = softmax(labels.x, 1)
            dx *= share[:, None]
            labels.put(dx, np.take_along_axis(dx, labels.target[:, None], 1)[:, 0] - share)
        return dx.reshape(labels.shape), None
    C, mass = labels.x.shape[1], np.zeros(labels.x.shape, labels.x.dtype)
    mass[...] = (np.ones(C, mass.dtype) if labels.weight is None else labels.weight)[:, None] * (smoothing / C)
    mass *= ~labels.ignored[:, None]
    at_target = np.take_along_axis(mass, labels.target[:, None], 1)[:, 0]
    labels.put(mass, at_target + labels.weights * (1 - smoothing))
    return _pulled(labels.x, mass, labels.output_gradient(grad_output)[:, None]).reshape(labels.shape), None


def one_hot(tensor: Any, num_classes: int = -1) -> np.ndarray:
    """Return y[..., c] = 1 where c = tensor[...], else 0.

    Parameters
    ----------
    tensor : ndarray of integers of any shape, at least 0
    num_classes : int
        -1 takes the largest class + 1.

    Returns
    -------
    int64 ndarray of shape (*tensor.shape, num_classes)

    Raises
    ------
    TypeError, ValueError
        Classes are no integers, negative or too large, or none are given and their number neither.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.functional import one_hot
    >>> one_hot(np.array([1, 0]), 3)
    array([[0, 1, 0],
           [1, 0, 0]])
    """
    op = "one_hot"
    classes = checks.array(op, "tensor", tensor, None, None)
    if classes.dtype.kind not in "iu":
        raise TypeError(f"{op}: one_hot is only applicable to index tensor; got dtype {classes.dtype}")
    count = window.integer(op, "num_classes", num_classes, -1)
    if classes.size == 0 and count < 1:
        raise ValueError(f"{op}: Can not infer total number of classes from empty tensor.")
    if classes.size and classes.min() < 0:
        raise ValueError(f"{op}: Class values must be non-negative; got {classes.min()}")
    largest = int(classes.max()) if classes.size else -1
    if count == -1:
        count = largest + 1
    if largest >= count:
        raise ValueError(f"{op}: Class values must be smaller than num_classes, {count}; got {largest}")
    y = checks.empty(op, (*classes.shape, count), np.int64)
    y[...] = 0
    np.put_along_axis(y, classes[..., None].astype(np.int64), 1, -1)
    return y


# --- Integer targets -----------------------------------------------------------------------------------------------------


_FEW = 64  # classes; of more, log_softmax and what it lacks take less time than the fused loop, whose exponentials are scalar


class _Labels(NamedTuple):
    """Checked arguments of a loss with integer targets."""

    op: str
    x: np.ndarray  # (N, C, D)
    shape: tuple[int, ...]  # of the input
    losses_shape: tuple[int, ...]
    target: np.ndarray  # (N, D), 0 where ignored
    ignored: np.ndarray
    weight: np.ndarray | None
    reduction: str

    @property
    def weights(self) -> np.ndarray:
        """The weight of every target, (N, D)."""
        each = np.ones(self.target.shape, self.x.dtype) if self.weight is None else self.weight[self.target]
        return np.where(self.ignored, 0, each).astype(self.x.dtype)

    @property
    def divisor(self) -> Any:
        """What "mean" divides by."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.weights.sum()

    def are_plain(self) -> bool:
        """Whether the fused loss computes this: rows of a few logits, no weights, nothing ignored."""
        return len(self.shape) == 2 and self.shape[1] <= _FEW and self.weight is None and not self.ignored.any()

    def put(self, array: np.ndarray, values: np.ndarray) -> None:
        """Write (N, D) values at the targets of an (N, C, D) array, where they are not ignored."""
        kept = np.take_along_axis(array, self.target[:, None], 1)[:, 0]
        np.put_along_axis(array, self.target[:, None], np.where(self.ignored, kept, values)[:, None], 1)

    def output_gradient(self, value: Any) -> np.ndarray:
        """Return the gradient with respect to every loss, (N, D)."""
        count = self.divisor if self.reduction == "mean" else None
        dloss = _losses.output_gradient(self.op, value, self.losses_shape, self.x.dtype, self.reduction, count)
        return np.broadcast_to(dloss, self.losses_shape).reshape(self.target.shape)


def _labels(op: str, input: Any, target: Any, weight: Any, ignore_index: Any, reduction: Any) -> _Labels:
    how = _losses.reduction(op, reduction)
    given = checks.array(op, "input", input, None)
    x, losses_shape = _rows(op, given)
    ignore = window.integer(op, "ignore_index", ignore_index, -window.LARGEST)
    t = checks.array(op, "target", target, None, None)
    if t.dtype.kind not in "iu":
        raise TypeError(f"{op}: target must hold integer labels; got dtype {t.dtype}")
    if t.shape != losses_shape:
        raise ValueError(f"{op}: Expected target size {losses_shape}, got {t.shape}")
    t = t.reshape(x.shape[0], x.shape[2])
    ignored = t == ignore
    wrong = ~ignored & ((t < 0) | (t >= x.shape[1]))
    if wrong.any():
        raise ValueError(f"{op}: Target {t[wrong][0]} is out of bounds; target labels must be between 0 and {x.shape[1] - 1}")
    plain = np.where(ignored, 0, t).astype(np.int64)
    return _Labels(op, x, given.shape, losses_shape, plain, ignored, _class_weight(op, weight, x), how)


def _rows(op: str, given: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return predictions as (N, C, D), and the shape of their losses."""
    if given.ndim == 0:
        raise ValueError(f"{op}: input must be (C,), (N, C) or (N, C, ...); got shape ()")
    shape = (1, *given.shape) if given.ndim == 1 else given.shape
    if shape[1] == 0:
        raise ValueError(f"{op}: input must have at least one class; got shape {given.shape}")
    losses = () if given.ndim == 1 else (shape[0], *shape[2:])
    return given.reshape(shape[0], shape[1], int(np.prod(shape[2:], dtype=np.int64))), losses


def _class_weight(op: str, weight: Any, x: np.ndarray) -> np.ndarray | None:
    if weight is None:
        return None
    w = checks.array(op, "weight", weight, "C")
    checks.same_dtype(op, input=x, weight=w)
    if w.shape != (x.shape[1],):
        raise ValueError(f"{op}: weight tensor should be defined either for all {x.shape[1]} classes or no classes; got shape {w.shape}")
    return w


def _nll(labels: _Labels, logs: np.ndarray) -> Any:
    """Return the reduced loss of (N, C, D) log-probabilities."""
    picked = np.take_along_axis(logs, labels.target[:, None], 1)[:, 0]
    with np.errstate(all="ignore"):
        losses = np.where(labels.ignored, 0, -labels.weights * picked)
    return reduced(losses.reshape(labels.losses_shape), labels.reduction, logs.dtype, labels.divisor)


# --- Probabilities as targets --------------------------------------------------------------------------------------------


class _Soft(NamedTuple):
    """Checked arguments of a loss whose targets are probabilities."""

    op: str
    x: np.ndarray  # (N, C, D)
    shape: tuple[int, ...]
    losses_shape: tuple[int, ...]
    mass: np.ndarray  # weight times smoothed probability, (N, C, D)
    weight: np.ndarray | None
    reduction: str

    @property
    def divisor(self) -> int:
        """What "mean" divides by."""
        return self.x.shape[0] * self.x.shape[2]

    def losses(self, logs: np.ndarray) -> np.ndarray:
        """Return the loss of (N, C, D) log-probabilities; 0 log 0 = 0."""
        with np.errstate(all="ignore"):
            return -np.where(self.mass == 0, 0, logs * self.mass).sum(1).astype(logs.dtype, copy=False).reshape(self.losses_shape)

    def output_gradient(self, value: Any) -> np.ndarray:
        """Return the gradient with respect to every loss, (N, 1, D)."""
        dloss = _losses.output_gradient(self.op, value, self.losses_shape, self.x.dtype, self.reduction, self.divisor)
        return np.broadcast_to(dloss, self.losses_shape).reshape(self.x.shape[0], 1, self.x.shape[2])


def _probabilities(op: str, input: Any, target: Any, weight: Any, ignore_index: Any, reduction: Any, smoothing: float) -> _Soft:
    how = _losses.reduction(op, reduction)
    if window.integer(op, "ignore_index", ignore_index, -window.LARGEST) >= 0:
        raise ValueError(f"{op}: ignore_index is not supported for floating point target; got {ignore_index}")
    given, t = checks.array(op, "input", input, None), checks.array(op, "target", target, None)
    x, losses_shape = _rows(op, given)
    checks.same_dtype(op, input=given, target=t)
    checks.same_shape(op, "target", t, given.shape, "probabilities for every logit")
    w = _class_weight(op, weight, x)
    mass = t.reshape(x.shape)
    with np.errstate(all="ignore"):
        if smoothing:
            mass = mass * (1 - smoothing) + smoothing / x.shape[1]
        mass = mass if w is None else mass * w[:, None]
    return _Soft(op, x, given.shape, losses_shape, mass, w, how)


def _pulled(x: np.ndarray, mass: np.ndarray, dloss: np.ndarray) -> np.ndarray:
    """Return the gradient of - sum of mass log softmax(x): dloss (softmax(x) sum of mass - mass)."""
    with np.errstate(all="ignore"):
        return ((softmax(x, 1) * mass.sum(1, keepdims=True) - mass) * dloss).astype(x.dtype, copy=False)


def _is_floating(target: Any) -> bool:
    dtype = getattr(target, "dtype", None)
    return np.dtype(dtype).kind == "f" if isinstance(dtype, np.dtype) else "float" in str(dtype)


def _smoothing(op: str, value: Any) -> float:
    smoothing = checks.number(op, "label_smoothing", value, finite=False)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"{op}: label_smoothing must be between 0.0 and 1.0. Got: {smoothing}")
    return smoothing
