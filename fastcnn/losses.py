"""Losses as objects: `forward` returns the loss, `backward` the gradient with respect to the predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

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
        """Return the loss of logits (N, C) against labels (N,) or probabilities (N, C)."""
        self._saved = logits, target
        return float(softmax_cross_entropy(logits, target, label_smoothing=self.label_smoothing))

    __call__ = forward

    def backward(self) -> np.ndarray:
        """Return the gradient (N, C) of the last loss; RuntimeError before any forward."""
        if self._saved is None:
            raise RuntimeError("SoftmaxCrossEntropy: backward needs a forward before it")
        return softmax_cross_entropy_backward(1.0, *self._saved, label_smoothing=self.label_smoothing)

    def step(self, logits: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, int]:
        """Return loss, gradient (N, C) and how many of the largest logits are their labels', in one pass; labels (N,) only."""
        return softmax_cross_entropy_step(logits, target, self.label_smoothing)
