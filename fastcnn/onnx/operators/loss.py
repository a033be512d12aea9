"""Losses of class indices: negative log likelihood and softmax cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Node
from .activation import log_softmax
from .registry import Inputs, Run, operator


def _likelihood(node: Node) -> Run:
    """Return the negative log likelihood of targets (N, ...) under log probabilities (N, C, ...), reduced as the node says."""
    reduction, ignored = node.get("reduction", "mean"), node.get("ignore_index")

    def run(scores: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
        counts = np.ones(target.shape, bool) if ignored is None else target != ignored
        classes = np.where(counts, target, 0)
        picked = np.take_along_axis(scores, np.expand_dims(classes, 1), 1).squeeze(1)
        weights = counts.astype(scores.dtype) if weight is None else np.where(counts, np.take(weight, classes), 0)
        loss = np.where(counts, -picked * weights, 0).astype(scores.dtype, copy=False)
        if reduction == "none":
            return loss
        total = loss.sum(dtype=scores.dtype)
        return np.asarray(total if reduction == "sum" else total / weights.sum(dtype=scores.dtype), scores.dtype)

    return run


@operator("NegativeLogLikelihoodLoss")
def negative_log_likelihood(node: Node, inputs: Inputs) -> Run:
    """Bind the loss of log probabilities."""
    return _likelihood(node)


@operator("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(node: Node, inputs: Inputs) -> Run:
    """Bind the loss of scores, with their log probabilities as a second output."""
    loss = _likelihood(node)

    def run(scores: np.ndarray, *target_and_weight: Any) -> tuple[np.ndarray, np.ndarray]:
        log_probabilities = log_softmax(scores, 1)
        return loss(log_probabilities, *target_and_weight), log_probabilities

    return run
