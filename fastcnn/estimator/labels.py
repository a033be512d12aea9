"""Labels of any kind as positions among the classes, and the loss that weighs classes."""

from __future__ import annotations

import numpy as np

from ..functional.classification import cross_entropy
from ..losses import SoftmaxCrossEntropy


def positions(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the position of every label among the sorted classes; ValueError for a label that is none of them."""
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(f"CNNClassifier: y must be of the classes {classes} of the first call; got {unknown}")
    return np.searchsorted(classes, y)


def weighted(weight: np.ndarray, label_smoothing: float) -> SoftmaxCrossEntropy:
    """Return the loss for a weight of every class, scaled to a mean of 1; ValueError where they are no weights."""
    if not (np.isfinite(weight).all() and weight.min() >= 0 and weight.any()):
        raise ValueError(f"CNNClassifier: class_weight must be finite, not negative, and not 0 for all classes; got {weight}")
    return WeightedCrossEntropy((weight / weight.mean()).astype(np.float32), label_smoothing)


class WeightedCrossEntropy(SoftmaxCrossEntropy):
    """sum over n of weight[target[n]] loss(n) / N: samples count by their classes, and a batch of light ones moves little.

    (Torch divides by the sum of the batch's weights instead, so that such a batch moves as much as any other, and smooths labels by the
    weights of all classes.)

    Parameters
    ----------
    weight : (classes,) float32
    label_smoothing : float in [0, 1]
    """

    def __init__(self, weight: np.ndarray, label_smoothing: float = 0.0) -> None:
        super().__init__(label_smoothing)
        self.weight = weight

    def forward(self, logits: np.ndarray, target: np.ndarray) -> float:
        """Return the loss of logits (N, C) against labels (N,)."""
        self._saved = logits, target
        losses = cross_entropy(logits, target, reduction="none", label_smoothing=self.label_smoothing)
        return float(np.mean(self.weight[target] * losses))

    __call__ = forward

    def backward(self) -> np.ndarray:
        """Return the gradient (N, C) of the last loss; RuntimeError before any forward."""
        gradient = super().backward()
        assert self._saved is not None  # or the line before had raised
        return gradient * self.weight[self._saved[1]][:, None]

    def step(self, logits: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, int]:
        """Return loss, gradient (N, C) and how many of the largest logits are their labels'."""
        _, gradient, right = super().step(logits, target)
        return self.forward(logits, target), gradient * self.weight[target][:, None], right
