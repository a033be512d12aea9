"""im2col and col2im: `torch.nn.functional.unfold` and `fold` on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import checks, window
from ...registry import Operation
from . import problem as _problem
from .problem import Im2colProblem

__all__ = ["OPERATION", "Im2colProblem", "col2im", "col2im_backward", "im2col", "im2col_backward"]

OPERATION = Operation(__name__, ("direct", "reference"), _problem)


def im2col(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1, *, algorithm: str = "auto") -> np.ndarray:
    """Lay out every window of an image as a column: cols[n, (c*R + r)*S + s, p*Q + q] = x[n, c, p*stride + r*dilation, ...].

    Parameters
    ----------
    input : (N, C, H, W) or (C, H, W) float32 or float64
    kernel_size : int or (R, S)
    dilation, stride : int or (vertical, horizontal)
    padding : int, pair, ((top, bottom), (left, right)), "valid" or "same"
    algorithm : str
        "auto", or a variant of this operation.

    Returns
    -------
    (N, C*R*S, P*Q) ndarray of the input's dtype
        Or (C*R*S, P*Q) for an unbatched input.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    References
    ----------
    K. Chellapilla, S. Puri & P. Simard, "High Performance Convolutional Neural Networks for Document Processing", 2006, section 3.
    """
    return _columns("im2col", "input", input, kernel_size, dilation, padding, stride, algorithm)


def im2col_backward(
    grad_output: Any,
    input_shape: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """Return the gradient of `im2col` with respect to its input: `col2im`, as each is the other's adjoint.

    Parameters
    ----------
    grad_output : (N, C*R*S, P*Q) or (C*R*S, P*Q) float32 or float64
    input_shape : (N, C, H, W) or (C, H, W)
        Shape of the forward's input.
    kernel_size, dilation, padding, stride, algorithm
        As given to `im2col`.

    Returns
    -------
    ndarray of shape `input_shape`

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    op = "im2col_backward"
    dy = checks.array(op, "grad_output", grad_output, ("NLP", "LP"))
    shape = checks.shape(op, "input_shape", input_shape, "NCHW" if dy.ndim == 3 else "CHW")
    problem = window_problem(op, shape if dy.ndim == 3 else (1, *shape), kernel_size, dilation, padding, stride)
    return _image(op, "grad_output", dy, problem, algorithm)


def col2im(
    input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1, *, algorithm: str = "auto"
) -> np.ndarray:
    """Add columns back into an image, the adjoint of `im2col`: overlapping windows accumulate.

    Parameters
    ----------
    input : (N, C*R*S, P*Q) or (C*R*S, P*Q) float32 or float64
    output_size : int or (H, W)
        Size of the image.
    kernel_size, dilation, padding, stride, algorithm
        As in `im2col`.

    Returns
    -------
    (N, C, H, W) ndarray of the input's dtype
        Or (C, H, W) for unbatched columns.

    Raises
    ------
    TypeError, ValueError
        Also where the columns do not fit the windows that the other arguments describe.
    """
    columns = checks.array("col2im", "input", input, ("NLP", "LP"))
    N, rows, _ = columns.shape if columns.ndim == 3 else (1, *columns.shape)
    height, width = window.pair("col2im", "output_size", _require_pair("col2im", "output_size", output_size), 1)
    R, S = window.pair("col2im", "kernel_size", _require_pair("col2im", "kernel_size", kernel_size), 1)
    if rows % (R * S) or rows == 0:
        raise ValueError(f"col2im: input must have a multiple of kernel height x width = {R * S} rows; got {rows}")
    problem = window_problem("col2im", (N, rows // (R * S), height, width), (R, S), dilation, padding, stride)
    return _image("col2im", "input", columns, problem, algorithm)


def col2im_backward(
    grad_output: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """Return the gradient of `col2im` with respect to its input: `im2col`, as each is the other's adjoint.

    Parameters
    ----------
    grad_output : (N, C, H, W) or (C, H, W) float32 or float64
    output_size, kernel_size, dilation, padding, stride, algorithm
        As given to `col2im`.

    Returns
    -------
    (N, C*R*S, P*Q) ndarray of the same dtype
        Or (C*R*S, P*Q) for an unbatched gradient.

    Raises
    ------
    TypeError, ValueError
        Also where the gradient does not have the output's size.
    """
    op = "col2im_backward"
    dy = checks.array(op, "grad_output", grad_output, ("NCHW", "CHW"))
    size = window.pair(op, "output_size", _require_pair(op, "output_size", output_size), 1)
    checks.same_shape(op, "grad_output", dy, (*dy.shape[:-2], *size), "the size of the forward's output")
    return _columns(op, "grad_output", dy, kernel_size, dilation, padding, stride, algorithm)


def _columns(op: str, name: str, image: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any, algorithm: Any) -> np.ndarray:
    """Return the windows of an image, or of a batch, as columns."""
    x = checks.array(op, name, image, ("NCHW", "CHW"))
    batch = x if x.ndim == 4 else x[None]
    problem = window_problem(op, batch.shape, kernel_size, dilation, padding, stride)
    columns = checks.empty(op, problem.columns_shape, x.dtype)
    run = OPERATION.choose(problem, "forward", algorithm, op)
    if columns.size:
        run(problem, checks.dense(batch), columns)
    return columns if x.ndim == 4 else columns[0]


def _image(op: str, name: str, columns: np.ndarray, problem: Im2colProblem, algorithm: Any) -> np.ndarray:
    """Return the image, or the batch, to which columns add up."""
    batch = columns if columns.ndim == 3 else columns[None]
    expected = f"windows {problem.P} x {problem.Q} of output_size {(problem.H, problem.W)}"
    checks.same_shape(op, name, batch, problem.columns_shape, expected)
    x = checks.empty(op, problem.input_shape, columns.dtype)
    run = OPERATION.choose(problem, "backward_input", algorithm, op)
    if x.size:
        run(problem, checks.contiguous(batch), x)
    return x if columns.ndim == 3 else x[0]


def window_problem(op: str, shape: tuple[int, ...], kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Im2colProblem:
    """Return the checked problem of windows on images of `shape` (N, C, H, W)."""
    N, C, H, W = shape
    if C == 0:
        raise ValueError(f"{op}: input must have at least one channel; got shape {shape}")
    for name, value in (("kernel_size", kernel_size), ("dilation", dilation), ("padding", padding), ("stride", stride)):
        _require_pair(op, name, value)
    v, h = window.axes(op, (H, W), window.pair(op, "kernel_size", kernel_size, 1), stride, padding, dilation)
    return Im2colProblem(
        N, C, H, W, v.kernel, h.kernel, v.stride, h.stride, v.before, v.after, h.before, h.after, v.dilation, h.dilation
    )  # fmt: skip


def _require_pair(op: str, name: str, value: Any) -> Any:
    """Return a size as it is; ValueError for one alone in a tuple, which torch takes of convolutions, but not here."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        raise ValueError(f"{op}: It is expected {name} equals to 2, but got size 1: an int or (height, width); got {window.shown(value)}")
    return value
