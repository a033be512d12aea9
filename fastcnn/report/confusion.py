"""Which classes a network takes for which, and the images that it got wrong with the most confidence."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Return counts (classes, classes): images of the row's class that were taken for the column's."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels.astype(np.int64), predictions), 1)
    return counts


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of each row of logits (N, classes), in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


class Mistake(NamedTuple):
    """An image by its position in the test set; `confidence` is the softmax of the prediction."""

    position: int
    label: int
    prediction: int
    confidence: float


def worst_mistakes(logits: np.ndarray, labels: np.ndarray, count: int) -> list[Mistake]:
    """Return at most `count` mistakes, the most confident first; of equals the earlier image first."""
    shares, predictions = probabilities(logits), logits.argmax(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    confidence = shares[wrong, predictions[wrong]]
    order = np.argsort(-confidence, kind="stable")[:count]
    return [Mistake(int(i), int(labels[i]), int(predictions[i]), float(c)) for i, c in zip(wrong[order], confidence[order], strict=True)]


def examples(logits: np.ndarray, labels: np.ndarray, classes: int) -> list[int]:
    """Return the position of an image of every class that occurs: the first that was recognised, or else the first."""
    right = logits.argmax(axis=1) == labels
    found = []
    for label in range(classes):
        own = np.flatnonzero(labels == label)
        if own.size:
            known = own[right[own]]
            found.append(int(known[0] if known.size else own[0]))
    return found
