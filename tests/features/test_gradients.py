"""Gradients beside central differences."""

from __future__ import annotations

import numpy as np
import pytest

from fastcnn import gradient_check, layers, losses, numerical_gradient

from .rows import row


@row(
    "numerical gradient",
    "(f(x + h) - f(x - h)) / 2 h for every element, beside the gradient of any layer, loss or model; the error relative to both",
    module="fastcnn.gradients",
    example="fastcnn.gradient_check",
)
def test_numerical_gradient() -> None:
    x = np.array([[1.0, -2.0], [0.5, 3.0]])
    found = numerical_gradient(lambda v: float(v[0, 0] ** 2 * v[1, 1] + np.exp(v[1, 0])), x)
    np.testing.assert_allclose(found, [[6, 0], [np.exp(0.5), 1]], rtol=1e-8, atol=1e-8)
    net = layers.Sequential(layers.Conv2d(2, 3, 3, rng=0), layers.Tanh(), layers.Flatten(), layers.Linear(12, 3, rng=0))
    images, labels = np.random.default_rng(0).standard_normal((2, 2, 4, 4)), np.array([0, 2])
    checked = gradient_check(net, images, labels, losses.SoftmaxCrossEntropy())
    assert checked.passed
    assert "0.weight" in str(checked)

    class Wrong(layers.Tanh):
        """Passes on twice what it should."""

        def pull_back(self, *arguments: object, **options: object):  # type: ignore[no-untyped-def]
            dx, grads = super().pull_back(*arguments, **options)  # type: ignore[arg-type]
            return 2 * dx, grads

    wrong = gradient_check(layers.Sequential(layers.Linear(4, 3, rng=0), Wrong()), np.ones((2, 4)))
    assert not wrong.passed


@pytest.mark.parametrize("loss", [losses.MSELoss(), losses.BCELoss()])
def test_gradients_of_losses(loss: losses.Loss) -> None:
    rng = np.random.default_rng(0)
    assert gradient_check(loss, rng.uniform(0.1, 0.9, (3, 2)), rng.uniform(0, 1, (3, 2))).passed
