"""The shape of im2col and col2im: the windows of an image as columns, and the cases for tests and benchmarks."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np

from ... import options
from ...registry import Case
from ...window import Axis


class Im2colProblem(NamedTuple):
    """All integers of cols[n, (c*R + r)*S + s, p*Q + q] = x[n, c, p*stride + r*dilation - top, ...]."""

    N: int
    C: int
    H: int
    W: int
    R: int
    S: int
    stride_h: int = 1
    stride_w: int = 1
    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0
    dilation_h: int = 1
    dilation_w: int = 1

    @property
    def P(self) -> int:
        """Window rows."""
        return Axis(self.H, self.R, self.stride_h, self.top, self.bottom, self.dilation_h).output

    @property
    def Q(self) -> int:
        """Window columns."""
        return Axis(self.W, self.S, self.stride_w, self.left, self.right, self.dilation_w).output

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return self.N, self.C, self.H, self.W

    @property
    def columns_shape(self) -> tuple[int, int, int]:
        """(N, C*R*S, P*Q)."""
        return self.N, self.C * self.R * self.S, self.P * self.Q


def from_options(
    op: str,
    shape: Annotated[Any, "N,C,H,W"],
    kernel: Annotated[Any, "R,S"],
    stride: Annotated[Any, "INT[,INT]"] = 1,
    padding: Annotated[Any, "INT[,INT]|T,B,L,R|same|valid"] = 0,
    dilation: Annotated[Any, "INT[,INT]"] = 1,
) -> Im2colProblem:
    """Return a checked problem from options; see `fastcnn.options`."""
    from . import window_problem

    return window_problem(op, shape, kernel, dilation, options.sides(op, padding), stride)


def work(problem: Im2colProblem, direction: str) -> int:
    """Additions of col2im; im2col only moves, and counts the same."""
    return int(np.prod(problem.columns_shape))


def traffic(problem: Im2colProblem, direction: str, dtype: Any) -> int:
    """Bytes of the image and its columns."""
    return int(np.prod(problem.input_shape) + np.prod(problem.columns_shape)) * np.dtype(dtype).itemsize


def reduction(problem: Im2colProblem, direction: str) -> int:
    """Terms in one sum: col2im adds at most R*S windows per pixel; im2col adds nothing."""
    return 0 if direction == "forward" else problem.R * problem.S


def arguments(problem: Im2colProblem, direction: str, dtype: Any, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return a random image, or random columns."""
    shape = problem.input_shape if direction == "forward" else problem.columns_shape
    return (rng.standard_normal(shape).astype(dtype),)


def outputs(problem: Im2colProblem, direction: str, dtype: Any) -> tuple[np.ndarray, ...]:
    """Return an empty array of columns, or an empty image."""
    return (np.empty(problem.columns_shape if direction == "forward" else problem.input_shape, dtype),)


CASES = [
    Case("ones", Im2colProblem(1, 1, 1, 1, 1, 1)),
    Case("empty-batch", Im2colProblem(0, 2, 4, 4, 3, 3)),
    Case("square", Im2colProblem(2, 3, 7, 7, 3, 3, 1, 1, 1, 1, 1, 1)),
    Case("strided", Im2colProblem(2, 2, 9, 8, 3, 2, 2, 3, 1, 0, 0, 2)),
    Case("stride-beyond-kernel", Im2colProblem(1, 3, 17, 13, 2, 2, 5, 4)),
    Case("dilated", Im2colProblem(1, 2, 12, 13, 3, 3, 2, 1, 2, 2, 2, 2, 2, 3)),
    Case("padding-beyond-kernel", Im2colProblem(1, 2, 3, 4, 2, 3, 1, 1, 5, 1, 0, 6)),
    Case("kernel-is-input", Im2colProblem(2, 2, 5, 7, 5, 7)),
    Case("row", Im2colProblem(1, 2, 1, 31, 1, 7, 1, 2, 0, 0, 3, 3)),
]
BENCH = [
    Case("mnist-5x5", Im2colProblem(64, 1, 28, 28, 5, 5)),
    Case("mnist-3x3", Im2colProblem(64, 24, 12, 12, 3, 3)),
    Case("resnet-64", Im2colProblem(1, 64, 56, 56, 3, 3, 1, 1, 1, 1, 1, 1)),
]
