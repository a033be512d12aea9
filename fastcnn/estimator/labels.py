"""Labels of any kind as positions among the classes, and the loss that weighs classes."""

from __future__ import annotations

import numpy as np

from ..losses import CrossEntropyLoss, SoftmaxCrossEntropy


def positions(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the position of every label among the sorted classes; ValueError for a label that is none of them."""
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(f"CNNClassifier: y must be of the classes {classes} of the first call; got {unknown}")
    return np.searchsorted(classes, y)


def weighted(weight: np.ndarray) -> SoftmaxCrossEntropy:
    """Return the loss for a weight of every class, scaled to a mean of 1; ValueError where they are no weights."""
    if not (np.isfinite(weight).all() and weight.min() >= 0 and weight.any()):
        raise ValueError(f"CNNClassifier: class_weight must be finite, not negative, and not 0 for all classes; got {weight}")
    return WeightedCrossEntropy((weight / weight.mean()).astype(np.float32))


class WeightedCrossEntropy(SoftmaxCrossEntropy):
    """sum over n of weight[target[n]] cross-entropy(n) / N: classes count by their weights, and a batch of light ones moves little.

    (Torch divides by the sum of the batch's weights instead, so that such a batch moves as much as any other.)

    Parameters
    ----------
    weight : (classes,) float32
    """

    def __init__(self, weight: np.ndarray) -> None:
        super().__init__()
        self._loss = CrossEntropyLoss(weight, reduction="sum")
        self._count = 0

    def forward(self, logits: np.ndarray, target: np.ndarray) -> float:
        """Return the loss of logits (N, C) against labels (N,)."""
        self._count = len(target)
        return self._loss(logits, target) / self._count

    def backward(self) -> np.ndarray:
        """Return the gradient (N, C) of the last loss."""
        gradient = self._loss.backward()
        gradient /= self._count
        return gradient

    def step(self, logits: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, int]:
        """Return loss, gradient (N, C) and how many of the largest logits are their labels'."""
        loss = self.forward(logits, target)
        return loss, self.backward(), int((logits.argmax(axis=1) == target).sum())
