"""`im2col` and `col2im` in the column orders of courses: "Deep Learning from Scratch" and deepnet.

The same windows as of `fastcnn.im2col`, (N, C*R*S, P*Q), in the layouts that the code of those courses expects, so that it runs on these
kernels unchanged:

- `im2col`, `col2im` are those of the book: a row for each window, (N*P*Q, C*R*S), and square strides and padding. Its layers compute
  ``im2col(x, R, S, stride, pad) @ weight.reshape(K, -1).T``.
- `im2col_indices`, `col2im_indices` are those of deepnet (and of CS231n, where it has them from): a column for each window,
  (C*R*S, P*Q*N), images fastest. Its layers compute ``weight.reshape(K, -1) @ im2col_indices(x, R, S, padding, stride)``.

Results are of the input's dtype (the book's are always float64), and a window that does not fit is an error instead of a crash later.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks, window
from ..ops.im2col import col2im as _col2im
from ..ops.im2col import im2col as _im2col


def im2col(input_data: Any, filter_h: int, filter_w: int, stride: int = 1, pad: int = 0) -> np.ndarray:
    """Return windows as rows: rows[(n*P + p)*Q + q, (c*R + r)*S + s] = x[n, c, p*stride + r - pad, q*stride + s - pad].

    Parameters
    ----------
    input_data : (N, C, H, W) float32 or float64
    filter_h, filter_w : int
        R and S.
    stride, pad : int

    Returns
    -------
    (N*P*Q, C*R*S) ndarray of the input's dtype

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    References
    ----------
    K. Saitoh, "Deep Learning from Scratch", 2016, section 7.4.3 (``common/util.py``).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.adapters.columns import im2col
    >>> im2col(np.arange(9.0).reshape(1, 1, 3, 3), 2, 2)
    array([[0., 1., 3., 4.],
           [1., 2., 4., 5.],
           [3., 4., 6., 7.],
           [4., 5., 7., 8.]])
    """
    columns = _windows("im2col", input_data, (filter_h, filter_w), stride, pad)
    n, features, places = columns.shape
    return np.ascontiguousarray(columns.transpose(0, 2, 1)).reshape(n * places, features)


def col2im(col: Any, input_shape: Any, filter_h: int, filter_w: int, stride: int = 1, pad: int = 0) -> np.ndarray:
    """Add rows of windows back into images, the adjoint of `im2col`: overlapping windows accumulate.

    Parameters
    ----------
    col : (N*P*Q, C*R*S) float32 or float64
    input_shape : (N, C, H, W)
    filter_h, filter_w, stride, pad
        As given to `im2col`.

    Returns
    -------
    (N, C, H, W) ndarray of the rows' dtype

    Raises
    ------
    TypeError, ValueError
        Also where the rows do not fit the windows that the other arguments describe.
    """
    rows, shape, (n, features, places) = _sizes("col2im", "col", col, input_shape, (filter_h, filter_w), stride, pad)
    checks.same_shape("col2im", "col", rows, (n * places, features), "(N*P*Q, C*R*S) of the other arguments")
    columns = rows.reshape(n, places, features).transpose(0, 2, 1)
    return _col2im(columns, shape[2:], (filter_h, filter_w), 1, pad, stride)


def im2col_indices(X: Any, field_height: int, field_width: int, padding: int = 1, stride: int = 1) -> np.ndarray:
    """Return windows as columns, images fastest: cols[(c*R + r)*S + s, (p*Q + q)*N + n] = x[n, c, p*stride + r - padding, ...].

    Parameters
    ----------
    X : (N, C, H, W) float32 or float64
    field_height, field_width : int
        R and S.
    padding, stride : int

    Returns
    -------
    (C*R*S, P*Q*N) ndarray of the input's dtype

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.adapters.columns import im2col_indices
    >>> im2col_indices(np.arange(8.0).reshape(2, 1, 2, 2), 1, 2, padding=0)
    array([[0., 4., 2., 6.],
           [1., 5., 3., 7.]])
    """
    columns = _windows("im2col_indices", X, (field_height, field_width), stride, padding)
    n, features, places = columns.shape
    return np.ascontiguousarray(columns.transpose(1, 2, 0)).reshape(features, places * n)


def col2im_indices(cols: Any, x_shape: Any, field_height: int, field_width: int, padding: int = 1, stride: int = 1) -> np.ndarray:
    """Add columns of windows back into images, the adjoint of `im2col_indices`: overlapping windows accumulate.

    Parameters
    ----------
    cols : (C*R*S, P*Q*N) float32 or float64
    x_shape : (N, C, H, W)
    field_height, field_width, padding, stride
        As given to `im2col_indices`.

    Returns
    -------
    (N, C, H, W) ndarray of the columns' dtype

    Raises
    ------
    TypeError, ValueError
        Also where the columns do not fit the windows that the other arguments describe.
    """
    op = "col2im_indices"
    given, shape, (n, features, places) = _sizes(op, "cols", cols, x_shape, (field_height, field_width), stride, padding)
    checks.same_shape(op, "cols", given, (features, places * n), "(C*R*S, P*Q*N) of the other arguments")
    columns = given.reshape(features, places, n).transpose(2, 0, 1)
    return _col2im(columns, shape[2:], (field_height, field_width), 1, padding, stride)


def _windows(op: str, images: Any, kernel: tuple[int, int], stride: Any, padding: Any) -> np.ndarray:
    """Return the (N, C*R*S, P*Q) columns of a batch."""
    x = checks.array(op, "input", images, "NCHW")
    return _im2col(x, _kernel(op, kernel), 1, padding, stride)


def _sizes(
    op: str, name: str, columns: Any, image_shape: Any, kernel: tuple[int, int], stride: Any, padding: Any
) -> tuple[np.ndarray, tuple[int, ...], tuple[int, int, int]]:
    """Return the checked columns, the images' shape, and (N, C*R*S, P*Q)."""
    given = checks.array(op, name, columns, "RC")
    n, c, h, w = shape = checks.shape(op, "input_shape", image_shape, "NCHW")
    R, S = _kernel(op, kernel)
    vertical, horizontal = window.axes(op, (h, w), (R, S), stride, padding, 1)
    return given, shape, (n, c * R * S, vertical.output * horizontal.output)


def _kernel(op: str, kernel: tuple[int, int]) -> tuple[int, int]:
    return window.integer(op, "filter height", kernel[0], 1), window.integer(op, "filter width", kernel[1], 1)
