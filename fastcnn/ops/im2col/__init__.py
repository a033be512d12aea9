"""im2col and col2im: `torch.nn.functional.unfold` and `fold` on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import checks, window
from ...registry import Operation
from . import problem as _problem
from .problem import Im2colProblem

__all__ = ["OPERATION", "Im2colProblem", "col2im", "im2col"]

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
    x = checks.array("im2col", "input", input, ("NCHW", "CHW"))
    batch = x if x.ndim == 4 else x[None]
    problem = _window_problem("im2col", batch.shape, kernel_size, dilation, padding, stride)
    columns = checks.empty("im2col", problem.columns_shape, x.dtype)
    run = OPERATION.choose(problem, "forward", algorithm)
    if columns.size:
        run(problem, checks.dense(batch), columns)
    return columns if x.ndim == 4 else columns[0]


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
    batch = columns if columns.ndim == 3 else columns[None]
    height, width = window.pair("col2im", "output_size", output_size, 1)
    R, S = window.pair("col2im", "kernel_size", kernel_size, 1)
    if batch.shape[1] % (R * S) or batch.shape[1] == 0:
        raise ValueError(f"col2im: input must have a multiple of kernel height x width = {R * S} rows; got {batch.shape[1]}")
    shape = (batch.shape[0], batch.shape[1] // (R * S), height, width)
    problem = _window_problem("col2im", shape, (R, S), dilation, padding, stride)
    expected = f"windows {problem.P} x {problem.Q} of output_size {(height, width)}"
    checks.same_shape("col2im", "input", batch, problem.columns_shape, expected)
    x = checks.empty("col2im", shape, columns.dtype)
    run = OPERATION.choose(problem, "backward_input", algorithm, "col2im")
    if x.size:
        run(problem, checks.contiguous(batch), x)
    return x if columns.ndim == 3 else x[0]


def _window_problem(op: str, shape: tuple[int, ...], kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Im2colProblem:
    N, C, H, W = shape
    if C == 0:
        raise ValueError(f"{op}: input must have at least one channel; got shape {shape}")
    v, h = window.axes(op, (H, W), window.pair(op, "kernel_size", kernel_size, 1), stride, padding, dilation)
    return Im2colProblem(
        N, C, H, W, v.kernel, h.kernel, v.stride, h.stride, v.before, v.after, h.before, h.after, v.dilation, h.dilation
    )  # fmt: skip
