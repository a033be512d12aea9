"""The column orders of courses, against the loops that define them."""

from __future__ import annotations

import numpy as np
import pytest

from fastcnn.adapters import columns

WINDOWS = [(2, 2, 1, 0), (3, 3, 1, 1), (3, 2, 2, 1), (1, 1, 1, 0), (5, 4, 3, 2), (2, 3, 1, 0)]  # R, S, stride, padding
SHAPES = [(2, 3, 6, 5), (1, 1, 5, 5), (3, 2, 7, 6)]


def _padded(x: np.ndarray, pad: int) -> np.ndarray:
    return np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])


def _places(shape: tuple[int, ...], R: int, S: int, stride: int, pad: int) -> tuple[int, int]:
    return (shape[2] + 2 * pad - R) // stride + 1, (shape[3] + 2 * pad - S) // stride + 1


def book_im2col(x: np.ndarray, R: int, S: int, stride: int, pad: int) -> np.ndarray:
    """Return a row for each window, images slowest."""
    P, Q = _places(x.shape, R, S, stride, pad)
    padded = _padded(x, pad)
    return np.array(
        [
            padded[n, :, p * stride : p * stride + R, q * stride : q * stride + S].ravel()
            for n in range(len(x))
            for p in range(P)
            for q in range(Q)
        ]
    )


def deepnet_im2col(x: np.ndarray, R: int, S: int, stride: int, pad: int) -> np.ndarray:
    """Return a column for each window, images fastest."""
    P, Q = _places(x.shape, R, S, stride, pad)
    padded = _padded(x, pad)
    found = [
        padded[n, :, p * stride : p * stride + R, q * stride : q * stride + S].ravel()
        for p in range(P)
        for q in range(Q)
        for n in range(len(x))
    ]
    return np.array(found).T


def book_col2im(rows: np.ndarray, shape: tuple[int, ...], R: int, S: int, stride: int, pad: int) -> np.ndarray:
    P, Q = _places(shape, R, S, stride, pad)
    n, c, h, w = shape
    image = np.zeros((n, c, h + 2 * pad, w + 2 * pad))
    parts = rows.reshape(n, P, Q, c, R, S)
    for p in range(P):
        for q in range(Q):
            image[:, :, p * stride : p * stride + R, q * stride : q * stride + S] += parts[:, p, q]
    return image[:, :, pad : pad + h, pad : pad + w]


def deepnet_col2im(cols: np.ndarray, shape: tuple[int, ...], R: int, S: int, stride: int, pad: int) -> np.ndarray:
    P, Q = _places(shape, R, S, stride, pad)
    rows = cols.reshape(len(cols), P * Q, shape[0]).transpose(2, 1, 0).reshape(-1, len(cols))
    return book_col2im(rows, shape, R, S, stride, pad)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("R", "S", "stride", "pad"), WINDOWS)
def test_orders_are_those_of_the_loops(R: int, S: int, stride: int, pad: int, shape: tuple[int, ...], dtype: type) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 10, shape).astype(dtype)
    rows = columns.im2col(x, R, S, stride, pad)
    cols = columns.im2col_indices(x, R, S, pad, stride)
    np.testing.assert_array_equal(rows, book_im2col(x, R, S, stride, pad))
    np.testing.assert_array_equal(cols, deepnet_im2col(x, R, S, stride, pad))
    values = rng.integers(-9, 10, rows.shape).astype(dtype)
    image = columns.col2im(values, shape, R, S, stride, pad)
    np.testing.assert_array_equal(image, book_col2im(values, shape, R, S, stride, pad))
    values = rng.integers(-9, 10, cols.shape).astype(dtype)
    image_of_columns = columns.col2im_indices(values, shape, R, S, pad, stride)
    np.testing.assert_array_equal(image_of_columns, deepnet_col2im(values, shape, R, S, stride, pad))
    assert {a.dtype for a in (rows, cols, image, image_of_columns)} == {np.dtype(dtype)}


def test_a_layer_of_the_book_computes_a_convolution() -> None:
    from fastcnn import conv2d

    rng = np.random.default_rng(1)
    x, weight, bias = rng.standard_normal((2, 3, 7, 7)), rng.standard_normal((4, 3, 3, 3)), rng.standard_normal(4)
    out = columns.im2col(x, 3, 3, 2, 1) @ weight.reshape(4, -1).T + bias
    np.testing.assert_allclose(out.reshape(2, 4, 4, -1).transpose(0, 3, 1, 2), conv2d(x, weight, bias, 2, 1), atol=1e-12)
    out = weight.reshape(4, -1) @ columns.im2col_indices(x, 3, 3, stride=2) + bias[:, None]
    np.testing.assert_allclose(out.reshape(4, 4, 4, 2).transpose(3, 0, 1, 2), conv2d(x, weight, bias, 2, 1), atol=1e-12)


def test_default_arguments_are_the_courses() -> None:
    x = np.arange(32.0).reshape(1, 2, 4, 4)
    assert columns.im2col(x, 3, 3).shape == (4, 18)  # the book pads by 0
    assert columns.im2col_indices(x, 3, 3).shape == (18, 16)  # deepnet by 1
    assert (
        columns.col2im(np.ones((4, 18)), x.shape, 3, 3).shape == columns.col2im_indices(np.ones((18, 16)), x.shape, 3, 3).shape == x.shape
    )


def test_non_contiguous_and_empty() -> None:
    x = np.arange(96, dtype=np.float32).reshape(2, 4, 4, 3).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(columns.im2col(x, 2, 2), columns.im2col(x.copy(), 2, 2))
    np.testing.assert_array_equal(columns.im2col_indices(x, 2, 2), columns.im2col_indices(x.copy(), 2, 2))
    assert columns.im2col(x[:0], 2, 2).shape == (0, 12)
    assert columns.im2col_indices(x[:0], 2, 2, 0).shape == (12, 0)
    assert columns.col2im(np.zeros((0, 12)), (0, 3, 4, 4), 2, 2).shape == (0, 3, 4, 4)
    assert columns.col2im_indices(np.zeros((12, 0)), (0, 3, 4, 4), 2, 2, 0).shape == (0, 3, 4, 4)


def test_what_does_not_fit_is_refused() -> None:
    x = np.zeros((1, 2, 4, 4))
    with pytest.raises(ValueError, match=r"im2col: input must be \(N, C, H, W\)"):
        columns.im2col(x[0], 2, 2)
    with pytest.raises(ValueError, match="Kernel size can't be greater"):
        columns.im2col(x, 5, 5)
    with pytest.raises(TypeError, match="stride must be an int"):
        columns.im2col(x, 2, 2, 1.5)
    with pytest.raises(ValueError, match=r"col2im: col must have shape \(9, 8\)"):
        columns.col2im(np.zeros((8, 9)), x.shape, 2, 2)
    with pytest.raises(ValueError, match=r"col2im_indices: cols must have shape \(8, 9\)"):
        columns.col2im_indices(np.zeros((9, 8)), x.shape, 2, 2, 0)
    with pytest.raises(ValueError, match="input_shape must be a shape"):
        columns.col2im(np.zeros((9, 8)), (2, 4, 4), 2, 2)
    with pytest.raises(TypeError, match="dtype"):
        columns.im2col(x.astype(int), 2, 2)
