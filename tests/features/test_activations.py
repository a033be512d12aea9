"""Activations and their gradients, at values worked by hand."""

from __future__ import annotations

import math

import numpy as np

from fastcnn import layers

from .rows import row

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543773


@row(
    "activations",
    "step, identity, sigmoid, tanh, ReLU (gradient 0 at 0) and SELU with Klambauer's two constants",
    module="fastcnn.layers.activation",
    example="fastcnn.functional.selu",
)
def test_activations() -> None:
    x = np.array([-math.log(3), -0.0, 0.0, math.log(3)], np.float32)
    third = ALPHA * (1 / 3 - 1)  # exp(-log 3) = 1/3
    expected = {
        layers.Identity: (x, [1, 1, 1, 1]),
        layers.Step: ([0, 0, 0, 1], [0, 0, 0, 0]),
        layers.Sigmoid: ([0.25, 0.5, 0.5, 0.75], [3 / 16, 1 / 4, 1 / 4, 3 / 16]),
        layers.Tanh: ([-0.8, 0, 0, 0.8], [0.36, 1, 1, 0.36]),
        layers.ReLU: ([0, 0, 0, math.log(3)], [0, 0, 0, 1]),
        layers.SELU: ([SCALE * third, 0, 0, SCALE * math.log(3)], [SCALE * ALPHA / 3, SCALE * ALPHA, SCALE * ALPHA, SCALE]),
    }
    for make, (values, slopes) in expected.items():
        layer = make()
        np.testing.assert_allclose(layer(x), values, rtol=1e-6, atol=1e-7, err_msg=make.__name__)
        np.testing.assert_allclose(layer.backward(np.full(4, 2, np.float32)), 2 * np.array(slopes), rtol=1e-5, err_msg=make.__name__)
