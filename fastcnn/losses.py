"""Losses as objects: `forward` returns the loss, `backward` the gradient with respect to the predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from . import checks
from .functional import classification, loss
from .ops.softmax_cross_entropy import softmax_cross_entropy, softmax_cross_entropy_backward, softmax_cross_entropy_step


class SoftmaxCrossEntropy:
    """Mean cross-entropy of softmax(logits) against labels; see `fastcnn.softmax_cross_entropy`.

    Parameters
    ----------
    label_smoothing : float in [0, 1]
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing
        self._saved: tuple[Any, Any] | None = None

    def forward(self, logits: np.ndarray, target: np.ndarray) -> float:
        """Return the loss of logits (N, C) against a target of labels (N,) or probabilities (N, C)."""
        self._saved = logits, target
        return float(softmax_cross_entropy(logits, target, label_smoothing=self.label_smoothing))

    __call__ = forward

    def backward(self) -> np.ndarray:
        """Return the gradient (N, C) of the last loss; RuntimeError before any forward."""
        if self._saved is None:
            raise RuntimeError("SoftmaxCrossEntropy: backward needs a forward before it")
        return softmax_cross_entropy_backward(1.0, *self._saved, label_smoothing=self.label_smoothing)

    def step(self, logits: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, int]:
        """Return loss, gradient (N, C) and how many of the largest logits are their labels', in one pass; the target is labels (N,)."""
        return softmax_cross_entropy_step(logits, target, self.label_smoothing)


class Loss:
    """Base of the losses of `fastcnn.functional`; the classes have the names and the parameters of `torch.nn`.

    Parameters
    ----------
    reduction : "mean" or "sum"
        Of all losses to one number.
    options
        What else the function takes besides input and target.

    Raises
    ------
    TypeError, ValueError
        Another `reduction`; the function itself refuses what is wrong with the others, when it is called.
    """

    function: ClassVar[Callable[..., Any]]
    gradient: ClassVar[Callable[..., Any]]
    _reductions: ClassVar[tuple[str, ...]] = ("mean", "sum")

    def __init__(self, reduction: str = "mean", **options: Any) -> None:
        self.options = {"reduction": checks.choice(type(self).__name__, "reduction", reduction, self._reductions), **options}
        self._saved: tuple[Any, Any] | None = None

    def forward(self, input: np.ndarray, target: np.ndarray) -> float:
        """Return the loss of predictions against targets: `input` and `target` of the shapes that the function takes."""
        self._saved = input, target
        return float(type(self).function(input, target, **self.options))

    def __call__(self, input: np.ndarray, target: np.ndarray) -> float:
        """Return `forward`."""
        return self.forward(input, target)

    def backward(self) -> np.ndarray:
        """Return the gradient of the last loss with respect to the predictions; RuntimeError before any forward."""
        if self._saved is None:
            raise RuntimeError(f"{type(self).__name__}: backward needs a forward before it")
        found = type(self).gradient(1.0, *self._saved, **self.options)
        dx: np.ndarray = found[0] if isinstance(found, tuple) else found  # the others' are of the targets
        return dx


class MSELoss(Loss):
    """Mean of (input - target)^2; see `fastcnn.functional.mse_loss`."""

    function, gradient = loss.mse_loss, loss.mse_loss_backward


class L1Loss(Loss):
    """Mean of |input - target|; see `fastcnn.functional.l1_loss`."""

    function, gradient = loss.l1_loss, loss.l1_loss_backward


class SmoothL1Loss(Loss):
    """Quadratic nearer than beta, linear beyond; see `fastcnn.functional.smooth_l1_loss`.

    Parameters
    ----------
    reduction : "mean" or "sum"
    beta : float
    """

    function, gradient = loss.smooth_l1_loss, loss.smooth_l1_loss_backward

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction, beta=beta)


class HuberLoss(Loss):
    """Quadratic up to a distance of delta, linear beyond; see `fastcnn.functional.huber_loss`.

    Parameters
    ----------
    reduction : "mean" or "sum"
    delta : float
    """

    function, gradient = loss.huber_loss, loss.huber_loss_backward

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction, delta=delta)


class KLDivLoss(Loss):
    """Kullback-Leibler divergence of log-probabilities from targets; see `fastcnn.functional.kl_div`.

    Parameters
    ----------
    reduction : "mean", "batchmean" or "sum"
    log_target : bool
        The targets are log-probabilities too.
    """

    function, gradient = loss.kl_div, loss.kl_div_backward
    _reductions = ("mean", "batchmean", "sum")

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction, log_target=log_target)


class BCELoss(Loss):
    """Binary cross-entropy of probabilities; see `fastcnn.functional.binary_cross_entropy`.

    Parameters
    ----------
    weight : ndarray that broadcasts to the predictions, optional
    reduction : "mean" or "sum"
    """

    function, gradient = loss.binary_cross_entropy, loss.binary_cross_entropy_backward

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction, weight=weight)


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of logits; see `fastcnn.functional.binary_cross_entropy_with_logits`.

    Parameters
    ----------
    weight, pos_weight : ndarrays that broadcast to the predictions, optional
    reduction : "mean" or "sum"
    """

    function, gradient = loss.binary_cross_entropy_with_logits, loss.binary_cross_entropy_with_logits_backward

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction, weight=weight, pos_weight=pos_weight)


class NLLLoss(Loss):
    """Negative log-likelihood of classes; see `fastcnn.functional.nll_loss`.

    Parameters
    ----------
    weight : (C,) ndarray, optional
    ignore_index : int
    reduction : "mean" or "sum"
    """

    function, gradient = classification.nll_loss, classification.nll_loss_backward

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction, weight=weight, ignore_index=ignore_index)


class CrossEntropyLoss(Loss):
    """Cross-entropy of softmax(logits) against classes or probabilities, of any shape; see `fastcnn.functional.cross_entropy`.

    For rows of logits and no weights `SoftmaxCrossEntropy` does the same, and has the `step` that training takes.

    Parameters
    ----------
    weight : (C,) ndarray, optional
    ignore_index : int
    reduction : "mean" or "sum"
    label_smoothing : float in [0, 1]
    """

    function, gradient = classification.cross_entropy, classification.cross_entropy_backward

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0) -> None:
        super().__init__(reduction, weight=weight, ignore_index=ignore_index, label_smoothing=label_smoothing)
