"""Pooling against its definition, with the ties and overlaps that decide who gets the gradient."""

from __future__ import annotations

import numpy as np
import pytest

from fastcnn import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward

from .rows import row

RNG = np.random.default_rng(0)


@row(
    "max pooling",
    "window and stride independent (dn: 2 and 1), sizes rounded down; the first maximum in row-major order gets the gradient, overlaps add",
    module="fastcnn.ops.max_pool2d",
    example="fastcnn.max_pool2d",
)
@pytest.mark.parametrize(("k", "s"), [(2, 2), (2, 1), (3, 2), (2, 3)])
def test_max_pooling(k: int, s: int) -> None:
    x = RNG.integers(0, 3, (2, 3, 7, 6)).astype(np.float32)  # three values: ties in nearly every window
    y, indices = max_pool2d(x, k, s, return_indices=True)
    P, Q = (7 - k) // s + 1, (6 - k) // s + 1
    assert y.shape == (2, 3, P, Q)
    dy, expected = RNG.integers(1, 9, y.shape).astype(np.float32), np.zeros(x.shape)
    for n, c, p, q in np.ndindex(*y.shape):
        best = None
        for h in range(s * p, s * p + k):
            for w in range(s * q, s * q + k):
                if best is None or x[n, c, h, w] > x[(n, c, *best)]:
                    best = h, w
        assert best is not None
        assert y[n, c, p, q] == x[(n, c, *best)]
        expected[(n, c, *best)] += dy[n, c, p, q]
    np.testing.assert_array_equal(max_pool2d_backward(dy, indices, x.shape, k, s), expected)


@row(
    "average pooling",
    "the mean of a window; its gradient, over the window's size, goes to every pixel",
    module="fastcnn.ops.avg_pool2d",
    example="fastcnn.avg_pool2d",
)
@pytest.mark.parametrize(("k", "s"), [(2, 2), (3, 1)])
def test_average_pooling(k: int, s: int) -> None:
    x = RNG.integers(-9, 9, (2, 2, 6, 5)).astype(np.float32)
    y = avg_pool2d(x, k, s)
    dy, expected = RNG.integers(-9, 9, y.shape).astype(np.float32), np.zeros(x.shape)
    assert y.shape == (2, 2, (6 - k) // s + 1, (5 - k) // s + 1)
    for n, c, p, q in np.ndindex(*y.shape):
        part = np.s_[n, c, s * p : s * p + k, s * q : s * q + k]
        assert y[n, c, p, q] == pytest.approx(x[part].sum() / k**2, abs=1e-5)
        expected[part] += dy[n, c, p, q] / k**2
    np.testing.assert_allclose(avg_pool2d_backward(dy, x.shape, k, s), expected, atol=1e-5)
