"""Dense layers, activations, losses, normalisation and dropout, with numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastcnn.functional as F
from fastcnn import batch_norm, layers, linear, linear_backward, softmax_cross_entropy, softmax_cross_entropy_backward

from .rows import row

RNG = np.random.default_rng(0)


def array(*values: object) -> np.ndarray:
    return np.array(values, np.float32)


@row(
    "dense layer",
    "y = x W + b; dW = x' d, db = sum d, dx = d W' (W is kept as torch keeps it, outputs first)",
    module="fastcnn.ops.linear",
    example="fastcnn.linear",
)
def test_dense_layer() -> None:
    x, w, b = array([1, 2], [3, 4], [5, 6]), array([1, 0], [2, -1], [0, 3], [1, 1]), array(10, 20, 30, 40)
    np.testing.assert_array_equal(linear(x, w, b), [[11, 20, 36, 43], [13, 22, 42, 47], [15, 24, 48, 51]])
    d = array([1, 0, 0, 1], [0, 1, 0, 0], [2, 0, 1, 0])
    dx, dw, db = linear_backward(d, x, w)
    np.testing.assert_array_equal(dx, [[2, 1], [2, -1], [2, 3]])
    np.testing.assert_array_equal(dw, [[11, 14], [3, 4], [5, 6], [1, 2]])
    np.testing.assert_array_equal(db, [3, 1, 1, 1])


@row(
    "flatten",
    "(N, C, H, W) to (N, C H W), channels slowest, and the gradient back",
    module="fastcnn.layers.linear",
    example="README.md#use-it",
)
def test_flatten() -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    for memory in (x, np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)):
        layer = layers.Flatten()
        y = layer(memory)
        np.testing.assert_array_equal(y, [list(range(12)), list(range(12, 24))])
        np.testing.assert_array_equal(layer.backward(y * 2), x * 2)


@row(
    "softmax",
    "exp(x - max) / sum, the maximum of the row taken off first",
    module="fastcnn.ops.softmax",
    example="fastcnn.functional.softmax",
)
def test_softmax() -> None:
    x = array([0, math.log(3), 0], [1000, 1000, -1000], [-1e30, 0, -1e30])
    np.testing.assert_allclose(F.softmax(x, 1), [[0.2, 0.6, 0.2], [0.5, 0.5, 0], [0, 1, 0]], rtol=1e-6)
    wide = RNG.standard_normal((5, 7)).astype(np.float32)
    np.testing.assert_allclose(F.softmax(wide, 1), np.exp(wide) / np.exp(wide).sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(F.softmax(wide + 50, 1), F.softmax(wide, 1), rtol=1e-4)


@row(
    "softmax with cross-entropy",
    "mean of -log of the label's share, labels or one-hot rows; dx = (y - t) / N",
    module="fastcnn.ops.softmax_cross_entropy",
    example="fastcnn.softmax_cross_entropy",
)
def test_softmax_with_cross_entropy() -> None:
    x, labels = array([0, math.log(3)], [math.log(7), 0]), np.array([1, 1])  # shares 1/4, 3/4 and 7/8, 1/8
    one_hot = array([0, 1], [0, 1])
    for target in (labels, one_hot):
        assert softmax_cross_entropy(x, target) == pytest.approx(-(math.log(3 / 4) + math.log(1 / 8)) / 2, rel=1e-6)
        np.testing.assert_allclose(softmax_cross_entropy_backward(1.0, x, target), [[1 / 8, -1 / 8], [7 / 16, -7 / 16]], rtol=1e-6)
    assert softmax_cross_entropy(array([500, 0]), np.array([1])) == 500, "finite, where a share is 0 in float32"


@row(
    "binary log loss",
    "-(t log p + (1 - t) log(1 - p)), bounded at p = 0 and 1 by the logarithm: 1 - 1e-16 would be 1 in float32",
    module="fastcnn.functional.loss",
    example="fastcnn.functional.binary_cross_entropy",
)
def test_binary_log_loss() -> None:
    p, t = array(0.25, 0.5, 0.8), array(0, 1, 1)
    expected = [-math.log(0.75), -math.log(0.5), -math.log(0.8)]
    np.testing.assert_allclose(F.binary_cross_entropy(p, t, reduction="none"), expected, rtol=1e-6)
    dx = F.binary_cross_entropy_backward(1.0, p, t, reduction="sum")[0]
    np.testing.assert_allclose(dx, [1 / 0.75, -1 / 0.5, -1 / 0.8], rtol=1e-6)
    certain = F.binary_cross_entropy(array(0, 1), array(1, 0), reduction="none")
    np.testing.assert_array_equal(certain, [100, 100])
    assert np.isfinite(F.binary_cross_entropy_backward(1.0, array(0, 1), array(1, 0))[0]).all()


@row(
    "mean squared error",
    'half of the sum of squares, as the book has it: `reduction="sum"` over 2; its gradient is y - t',
    module="fastcnn.functional.loss",
    example="fastcnn.functional.mse_loss",
)
def test_mean_squared_error() -> None:
    y, t = array(0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0), array(0, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    assert F.mse_loss(y, t, reduction="sum") / 2 == pytest.approx(0.0975, rel=1e-5), "the book's own example"
    np.testing.assert_allclose(F.mse_loss_backward(0.5, y, t, reduction="sum")[0], y - t, atol=1e-7)
    assert F.mse_loss(y, t) == pytest.approx(0.195 / 10, rel=1e-5)


@row(
    "batch normalisation",
    "in training the batch's mean and variance, and running ones kept; in evaluation the running ones",
    module="fastcnn.ops.batch_norm",
    example="fastcnn.batch_norm",
)
def test_batch_normalisation() -> None:
    x, mean, variance = array([1, 10], [3, 20]), np.zeros(2, np.float32), np.ones(2, np.float32)
    y = batch_norm(x, mean, variance, array(2, 1), array(0, 5), training=True, momentum=0.1, eps=1e-9)
    np.testing.assert_allclose(y, [[-2, 4], [2, 6]], rtol=1e-5)
    np.testing.assert_allclose(mean, [0.2, 1.5], rtol=1e-6)  # 0.9 * 0 + 0.1 * (2, 15)
    np.testing.assert_allclose(variance, [0.9 + 0.1 * 2, 0.9 + 0.1 * 50], rtol=1e-6)  # of 2 values, with 1 in the denominator
    evaluated = batch_norm(array([0.2, 1.5], [1.2, 1.5]), mean, variance, eps=0.0)
    np.testing.assert_allclose(evaluated, [[0, 0], [1 / math.sqrt(1.1), 0]], rtol=1e-5, atol=1e-6)
    layer = layers.BatchNorm1d(2)
    layer(x)
    kept = {name: value.copy() for name, value in layer.buffers.items()}
    layer.eval()(x * 100)
    for name, value in layer.buffers.items():
        np.testing.assert_array_equal(value, kept[name])


@row(
    "dropout",
    "inverted: what stays is divided by 1 - p in training, and nothing happens in evaluation; the gradient passes where the value did",
    module="fastcnn.functional.dropout",
    example="fastcnn.functional.dropout",
)
def test_dropout() -> None:
    x = np.full((100, 1000), 3, np.float32)
    layer = layers.Dropout(0.25, rng=0)
    y = layer(x)
    assert set(np.unique(y)) == {0, 4}
    assert abs((y == 0).mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 1e5)
    assert abs(y.mean() - 3) < 0.05, "the mean stays"
    np.testing.assert_array_equal(layer.backward(np.ones_like(x)), np.where(y == 0, 0, np.float32(4 / 3)))
    np.testing.assert_array_equal(layer.eval()(x), x)
