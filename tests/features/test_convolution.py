"""Convolution and its gradients, against the definitions in plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import convolve2d, correlate2d

from fastcnn import conv2d, conv2d_backward
from fastcnn.adapters import columns

from .rows import row

RNG = np.random.default_rng(0)


def whole(*shape: int) -> np.ndarray:
    """Return small integers in float32, whose sums of products are exact."""
    return RNG.integers(-4, 5, shape).astype(np.float32)


def definition(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: tuple[int, int], sides: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Return y[n,k,p,q] = b[k] + sum x[n,c,s p+r,t q+s] w[k,c,r,s] of an image with a margin of zeros."""
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), *sides))
    (N, C, H, W), (K, _, R, S) = x.shape, w.shape
    y = np.empty((N, K, (H - R) // stride[0] + 1, (W - S) // stride[1] + 1))
    for n, k, p, q in np.ndindex(*y.shape):
        total = float(b[k])
        for c in range(C):
            for r in range(R):
                for s in range(S):
                    total += x[n, c, stride[0] * p + r, stride[1] * q + s] * w[k, c, r, s]
        y[n, k, p, q] = total
    return y


@row(
    "direct convolution",
    "y[n,k,p,q] = b[k] + sum over c, r, t of x[n, c, s p + r, s q + t] w[k,c,r,t]: no flip; NCHW and OIHW, or channels-last",
    module="fastcnn.ops.conv2d",
    example="README.md#use-it",
)
@pytest.mark.parametrize(("kernel", "stride", "padding"), [((3, 3), 1, 0), ((5, 5), 1, 2), ((2, 3), 2, 1), ((1, 1), 1, 0)])
def test_direct_convolution(kernel: tuple[int, int], stride: int, padding: int) -> None:
    x, w, b = whole(2, 3, 8, 7), whole(4, 3, *kernel), whole(4)
    expected = definition(x, w, b, (stride, stride), ((padding, padding),) * 2)
    np.testing.assert_allclose(conv2d(x, w, b, stride, padding), expected, atol=1e-3)
    last = conv2d(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), w, b, stride, padding, layout="NHWC")
    np.testing.assert_allclose(last.transpose(0, 3, 1, 2), expected, atol=1e-3)
    # By hand, in an order that a flip would change: 1*1 + 2*2 + 4*3 + 5*4
    ramp = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
    assert conv2d(ramp, np.array([[[[1, 2], [3, 4]]]], np.float32))[0, 0, 0, 0] == 37


@row(
    "output size, VALID",
    "floor((H + 2 P - R) / S) + 1; VALID is ceil((I - k + 1) / s), and the rim that no window reaches has gradient 0",
    module="fastcnn.ops.conv2d.problem",
    example="fastcnn.conv2d",
)
def test_output_size_valid() -> None:
    for size in range(3, 9):
        for k in range(1, 4):
            for s in (1, 2, 3):
                for p in (0, 1):
                    y = conv2d(np.ones((1, 1, size, size), np.float32), np.ones((1, 1, k, k), np.float32), stride=s, padding=p)
                    assert y.shape[2:] == ((size + 2 * p - k) // s + 1,) * 2
                valid = conv2d(np.ones((1, 1, size, 3), np.float32), np.ones((1, 1, k, 1), np.float32), stride=s, padding="valid")
                assert valid.shape[2] == math.ceil((size - k + 1) / s)
    # 6 pixels, windows of 3 at 0 and 2: pixel 5 is left out
    x, w = whole(1, 1, 6, 6), np.ones((1, 1, 3, 3), np.float32)
    dx = conv2d_backward(np.ones((1, 1, 2, 2), np.float32), x, w, stride=2)[0][0, 0]
    np.testing.assert_array_equal(dx[:, 0], [1, 1, 2, 1, 1, 0])
    assert not dx[5].any()
    assert not dx[:, 5].any()


@row(
    "SAME",
    "O = ceil(I / s), P = max((O - 1) s + k - I, 0), floor(P / 2) of it before and the rest behind; a stride for each axis",
    module="fastcnn.window",
    example="fastcnn.conv2d",
)
@pytest.mark.parametrize("stride", [(1, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize("kernel", [(2, 2), (3, 4), (1, 5)])
@pytest.mark.parametrize("size", [(7, 8), (6, 9)])
def test_same(stride: tuple[int, int], kernel: tuple[int, int], size: tuple[int, int]) -> None:
    x, w, b = whole(1, 2, *size), whole(3, 2, *kernel), whole(3)
    sides = []
    for i, k, s in zip(size, kernel, stride, strict=True):
        total = max((math.ceil(i / s) - 1) * s + k - i, 0)
        sides.append((total // 2, total - total // 2))
    y = conv2d(x, w, b, stride, "same")
    assert y.shape[2:] == tuple(math.ceil(i / s) for i, s in zip(size, stride, strict=True))
    np.testing.assert_allclose(y, definition(x, w, b, stride, tuple(sides)), atol=1e-3)


@row(
    'scipy\'s "same"',
    '`convolve(x, w[::-1, ::-1], "same")` pads floor(K / 2) before, `correlate2d(x, w, "same")` floor((K - 1) / 2): two answers for even K',
    module="fastcnn.ops.conv2d",
    example="fastcnn.conv2d",
)
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_scipy_same(k: int) -> None:
    x, w = whole(9, 8), whole(k, k)

    def padded(before: int) -> np.ndarray:
        return conv2d(x[None, None], w[None, None], padding=((before, k - 1 - before),) * 2)[0, 0]

    convolved, correlated = convolve2d(x, w[::-1, ::-1], "same"), correlate2d(x, w, "same")
    np.testing.assert_allclose(padded(k // 2), convolved, atol=1e-3)
    np.testing.assert_allclose(padded((k - 1) // 2), correlated, atol=1e-3)
    assert np.array_equal(convolved, correlated) == (k % 2 == 1)


@row(
    "convolution backward",
    "db = sum dy; dW = sum of dy x at the stride; dx = full correlation of dy, s - 1 zeros between, with w turned by 180 degrees, cropped",
    module="fastcnn.ops.conv2d",
    example="README.md#use-it",
)
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 0), (2, 1), (3, 1)])
def test_convolution_backward(stride: int, padding: int) -> None:
    x, w = whole(2, 2, 8, 7), whole(3, 2, 3, 3)
    y = conv2d(x, w, stride=stride, padding=padding)
    dy = whole(*y.shape)
    dx, dw, db = conv2d_backward(dy, x, w, stride=stride, padding=padding)
    np.testing.assert_allclose(db, dy.sum(axis=(0, 2, 3)))
    around, expected = np.pad(x, ((0, 0), (0, 0), *((padding, padding),) * 2)), np.zeros(w.shape)
    for n, k, p, q in np.ndindex(*dy.shape):
        expected[k] += dy[n, k, p, q] * around[n, :, stride * p : stride * p + 3, stride * q : stride * q + 3]
    np.testing.assert_allclose(dw, expected, atol=1e-3)
    # The form of 003: dilate, correlate fully at stride 1 with the turned filter, crop the padding; what is left out gets 0
    dilated = np.zeros((2, 3, (y.shape[2] - 1) * stride + 1, (y.shape[3] - 1) * stride + 1))
    dilated[:, :, ::stride, ::stride] = dy
    full = np.zeros(around.shape)
    for n, k, c in np.ndindex(2, 3, 2):
        part = correlate2d(dilated[n, k], w[k, c, ::-1, ::-1], "full")
        full[n, c, : part.shape[0], : part.shape[1]] += part
    np.testing.assert_allclose(dx, full[:, :, padding : padding + 8, padding : padding + 7], atol=1e-3)


@row(
    "im2col and col2im",
    "bk: rows (N P Q, C R S), images slowest; dn: columns (C R S, P Q N), images fastest; col2im adds up what overlaps",
    module="fastcnn.adapters.columns",
    example="README.md#in-other-frameworks",
)
def test_im2col_col2im() -> None:
    x, P, Q = whole(2, 3, 5, 6), 4, 4
    rows, cols = columns.im2col(x, 2, 3), columns.im2col_indices(x, 2, 3, padding=0)
    assert (rows.shape, cols.shape) == ((2 * P * Q, 18), (18, P * Q * 2))
    for n, p, q, c, r, s in np.ndindex(2, P, Q, 3, 2, 3):
        value = x[n, c, p + r, q + s]
        assert rows[(n * P + p) * Q + q, (c * 2 + r) * 3 + s] == value
        assert cols[(c * 2 + r) * 3 + s, (p * Q + q) * 2 + n] == value
    # How many 2x2 windows hold each pixel of 3x3
    ones = np.ones((1, 1, 3, 3), np.float32)
    for back in (
        columns.col2im(columns.im2col(ones, 2, 2), ones.shape, 2, 2),
        columns.col2im_indices(columns.im2col_indices(ones, 2, 2, 0), ones.shape, 2, 2, 0),
    ):
        np.testing.assert_array_equal(back[0, 0], [[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    w = whole(4, 3, 2, 3)
    product = columns.im2col(x, 2, 3) @ w.reshape(4, -1).T  # as the book's layer computes
    np.testing.assert_allclose(product.reshape(2, P, Q, 4).transpose(0, 3, 1, 2), conv2d(x, w), atol=1e-3)
