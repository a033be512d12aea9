"""Mistakes of the originals in convolution, pooling and activations: each would change a number that is asserted here."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastcnn.functional as F
from fastcnn import conv2d, conv2d_backward, layers, max_pool2d, max_pool2d_backward, relu, relu_backward
from fastcnn.adapters import columns

from .rows import mistake


def image(*rows: list[float]) -> np.ndarray:
    """Return an image (1, 1, H, W)."""
    return np.array(rows, np.float32)[None, None]


ONE = np.ones((1, 1), np.float32)[None, None]


@mistake("000: the output of a 3x3 filter has 3 columns less", "(h - 2, w - 2)")
def test_three_by_three_takes_two() -> None:
    y = conv2d(np.ones((1, 1, 28, 26), np.float32), np.ones((8, 1, 3, 3), np.float32))
    assert y.shape == (1, 8, 26, 24)
    np.testing.assert_allclose(y, 9, rtol=1e-5)


@mistake("000: pooling slices at i * 20", "windows of 2 begin at 2 i")
def test_windows_begin_at_two_i() -> None:
    ramp = np.arange(36, dtype=np.float32).reshape(1, 1, 6, 6)
    np.testing.assert_array_equal(max_pool2d(ramp, 2)[0, 0], [[7, 9, 11], [19, 21, 23], [31, 33, 35]])


@mistake("001: the second and third layer read x", "each layer reads what the one before it has made")
def test_layers_read_their_predecessors() -> None:
    net = layers.Sequential(layers.Linear(2, 3), layers.Sigmoid(), layers.Linear(3, 2), layers.Sigmoid(), layers.Linear(2, 2))
    # The network of the book's section 3.4, whose printed output is [0.31682708, 0.69627909]
    net.params["0.weight"][...] = [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]
    net.params["0.bias"][...] = [0.1, 0.2, 0.3]
    net.params["2.weight"][...] = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
    net.params["2.bias"][...] = [0.1, 0.2]
    net.params["4.weight"][...] = [[0.1, 0.2], [0.3, 0.4]]
    net.params["4.bias"][...] = [0.1, 0.2]
    np.testing.assert_allclose(net(np.array([[1.0, 0.5]], np.float32)), [[0.31682708, 0.69627909]], rtol=1e-6)


@mistake("002: a 1x1 filter sees an empty window", "it scales every pixel")
def test_a_single_weight_scales() -> None:
    x = image([1, 2], [3, 4])
    np.testing.assert_array_equal(conv2d(x, 3 * ONE), 3 * x)
    np.testing.assert_array_equal(conv2d_backward(x, x, 3 * ONE)[1], [[[[30]]]])


@mistake("002: no initial weights", "layers begin with weights of a known scale: torch's, unless told otherwise")
def test_layers_begin_with_weights() -> None:
    layer = layers.Conv2d(4, 50, 5, rng=0)
    bound = 1 / math.sqrt(100)
    w = layer.params["weight"]
    assert 0.99 * bound < np.abs(w).max() <= bound
    assert w.std() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert 0 < np.abs(layer.params["bias"]).max() <= bound


@mistake("003: gradients are averaged over filters", "summed")
def test_gradients_are_summed_over_filters() -> None:
    w = np.array([1, 2, 4], np.float32).reshape(3, 1, 1, 1)
    dx = conv2d_backward(np.ones((1, 3, 2, 2), np.float32), np.zeros((1, 1, 2, 2), np.float32), w)[0]
    np.testing.assert_array_equal(dx, np.full((1, 1, 2, 2), 7))


@mistake("003: dW ignores the stride", "dW sums x where the windows were")
def test_dw_at_the_stride() -> None:
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    dw = conv2d_backward(np.ones((1, 1, 2, 2), np.float32), x, np.zeros((1, 1, 2, 2), np.float32), stride=2)[1]
    np.testing.assert_array_equal(dw[0, 0], [[0 + 2 + 8 + 10, 1 + 3 + 9 + 11], [4 + 6 + 12 + 14, 5 + 7 + 13 + 15]])


@mistake("003: the scratch of VALID is filled with ones", "what no window reaches has gradient 0")
def test_the_rim_gets_nothing() -> None:
    dx = conv2d_backward(image([5]), np.zeros((1, 1, 3, 3), np.float32), image([1, 2], [3, 4]), stride=2)[0]
    np.testing.assert_array_equal(dx[0, 0], [[5, 10, 0], [15, 20, 0], [0, 0, 0]])


@mistake("003: np.max(v, 0) does not clip", "ReLU is max(0, v), value by value")
def test_relu_clips() -> None:
    np.testing.assert_array_equal(relu(image([-1, 2], [3, -4])), image([0, 2], [3, 0]))


@mistake("003: padding of rows and columns is swapped", "the height of a window decides about rows")
def test_padding_of_rows_and_columns() -> None:
    y = conv2d(image([1, 2], [3, 4]), image([1], [10], [100]), padding="same")  # 3 x 1: a row above and one below
    np.testing.assert_array_equal(y[0, 0], [[310, 420], [31, 42]])


@mistake("003: a bias for every position", "one for each filter, whose gradient sums all positions and images")
def test_one_bias_for_each_filter() -> None:
    b = np.array([1, 2], np.float32)
    x, w = np.zeros((3, 1, 2, 2), np.float32), np.zeros((2, 1, 1, 1), np.float32)
    np.testing.assert_array_equal(conv2d(x, w, b), np.broadcast_to(b[:, None, None], (3, 2, 2, 2)))
    np.testing.assert_array_equal(conv2d_backward(np.ones((3, 2, 2, 2), np.float32), x, w)[2], [12, 12])


@mistake("003: the example of 2x2x2", "1 to 8 with 1 to 8 comes to 204")
def test_the_example_of_two_by_two_by_two() -> None:
    ramp = np.arange(1, 9, dtype=np.float32).reshape(1, 2, 2, 2)
    assert conv2d(ramp, ramp).item() == 204


@mistake("dn: sigmoid without its minus", "1 / (1 + exp(-x))")
def test_sigmoid_rises() -> None:
    np.testing.assert_allclose(F.sigmoid(np.array([0, math.log(3), -math.log(3)], np.float32)), [0.5, 0.75, 0.25], rtol=1e-6)


@mistake("dn: the check of the width reads the height", "either axis is checked by itself")
def test_height_and_width_are_checked_apart() -> None:
    for size, good in (((5, 2), False), ((2, 5), False), ((3, 5), True)):
        x, w = np.ones((1, 1, *size), np.float32), np.ones((1, 1, 3, 3), np.float32)
        if good:
            np.testing.assert_allclose(conv2d(x, w), np.full((1, 1, 1, 3), 9), rtol=1e-5)
        else:
            with pytest.raises(ValueError, match="conv2d"):
                conv2d(x, w)


@mistake("dn: dropout and batch normalisation never evaluate", "`eval()` makes both of them plain functions of the input")
def test_evaluation_is_plain() -> None:
    net = layers.Sequential(layers.BatchNorm1d(3), layers.Dropout(0.5, rng=0))
    x = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    trained = net(x)
    assert (trained == 0).any()
    net.eval()
    mean, variance = (0.1 * x.mean(axis=0), 0.9 + 0.1 * x.var(axis=0, ddof=1))
    np.testing.assert_allclose(net(x), (x - mean) / np.sqrt(variance + 1e-5), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(net(x[:1]), net(x)[:1])


@mistake("vz: the gradient of a maximum goes to every tie", "to the first in row-major order alone")
def test_ties() -> None:
    x = image([1, 7], [7, 7])
    _, indices = max_pool2d(x, 2, return_indices=True)
    np.testing.assert_array_equal(max_pool2d_backward(image([5]), indices, x.shape, 2), image([0, 5], [0, 0]))


@mistake("bk: pooling pads with 0", "with minus infinity: the maximum of negative pixels is negative")
def test_padding_of_a_maximum() -> None:
    np.testing.assert_array_equal(max_pool2d(image([-1, -2], [-3, -4]), 2, padding=1), image([-1, -2], [-3, -4]))


@mistake("bk: ReLU's backward writes into its argument", "arguments stay as they are; the gradient at 0 is 0")
def test_relu_backward_leaves_its_arguments() -> None:
    x, dy = image([-1, 0], [2, 3]), image([5, 6], [7, 8])
    before = x.copy(), dy.copy()
    np.testing.assert_array_equal(relu_backward(dy, x), image([0, 0], [7, 8]))
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(dy, before[1])


@mistake("bk: im2col is always float64", "columns have the dtype of the image")
def test_columns_keep_the_dtype() -> None:
    x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    for dtype in (np.float32, np.float64):
        found = columns.im2col(x.astype(dtype), 2, 2)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found[0], [0, 1, 3, 4])
