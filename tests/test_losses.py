"""Losses as objects: the values of the functions that they are made of, and gradients by differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from _differences import assert_gradients

import fastcnn.functional as F
from fastcnn import losses
from fastcnn.layers import Linear
from fastcnn.losses import SoftmaxCrossEntropy
from fastcnn.optim import SGD

RNG = np.random.default_rng(0)
X, T, P = RNG.standard_normal((4, 3)), RNG.standard_normal((4, 3)), RNG.uniform(0.1, 0.9, (4, 3))
LABELS, WEIGHT = np.array([0, 2, 1, 1]), np.array([0.5, 1.0, 2.0])
CASES: dict[str, tuple[losses.Loss, np.ndarray, np.ndarray, float]] = {
    "mse": (losses.MSELoss(), X, T, F.mse_loss(X, T)),
    "mse-sum": (losses.MSELoss("sum"), X, T, F.mse_loss(X, T, reduction="sum")),
    "l1": (losses.L1Loss(), X, T, F.l1_loss(X, T)),
    "smooth-l1": (losses.SmoothL1Loss(beta=0.5), X, T, F.smooth_l1_loss(X, T, beta=0.5)),
    "huber": (losses.HuberLoss("sum", 0.5), X, T, F.huber_loss(X, T, reduction="sum", delta=0.5)),
    "kl-div": (losses.KLDivLoss("batchmean"), X, P, F.kl_div(X, P, reduction="batchmean")),
    "bce": (losses.BCELoss(WEIGHT), P, 1 - P, F.binary_cross_entropy(P, 1 - P, WEIGHT)),
    "bce-logits": (
        losses.BCEWithLogitsLoss(pos_weight=WEIGHT), X, P, F.binary_cross_entropy_with_logits(X, P, pos_weight=WEIGHT)
    ),
    "nll": (losses.NLLLoss(WEIGHT, 1), X, LABELS, F.nll_loss(X, LABELS, WEIGHT, ignore_index=1)),
    "cross-entropy": (losses.CrossEntropyLoss(label_smoothing=0.1), X, LABELS, F.cross_entropy(X, LABELS, label_smoothing=0.1)),
    "cross-entropy-soft": (losses.CrossEntropyLoss(), X, P, F.cross_entropy(X, P)),
}  # fmt: skip


@pytest.mark.parametrize(("loss", "x", "target", "want"), CASES.values(), ids=CASES)
def test_value_and_gradient(loss: losses.Loss, x: np.ndarray, target: np.ndarray, want: Any) -> None:
    x = x.copy()
    assert loss(x, target) == float(want)
    assert isinstance(loss.forward(x, target), float)
    assert_gradients(lambda: loss(x, target), [x], loss.backward(), 1.0)


def test_cross_entropy_is_softmax_cross_entropy() -> None:
    ours, fused = losses.CrossEntropyLoss(), SoftmaxCrossEntropy()
    assert ours(X, LABELS) == fused(X, LABELS)
    np.testing.assert_array_equal(ours.backward(), fused.backward())


@pytest.mark.parametrize("kind", losses.Loss.__subclasses__())
def test_what_is_refused(kind: type[losses.Loss]) -> None:
    with pytest.raises(RuntimeError, match=f"{kind.__name__}: backward needs a forward"):
        kind().backward()
    with pytest.raises(ValueError, match=f"{kind.__name__}: reduction must be one of"):
        kind(reduction="none")


def test_a_regression_learns() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((64, 3))
    y = x @ np.array([[1.0], [-2.0], [0.5]]) + 0.3
    layer, loss = Linear(3, 1, dtype=np.float64, rng=0), losses.MSELoss()
    optimizer = SGD(layer.params, 0.1)
    for _ in range(200):
        loss(layer(x), y)
        layer.backward(loss.backward())
        optimizer.step(layer.grads)
    np.testing.assert_allclose(layer.params["weight"], [[1, -2, 0.5]], atol=1e-3)
