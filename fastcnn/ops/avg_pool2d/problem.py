"""The shape of two-dimensional average-pooling, and the cases on which variants are tested and timed."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np

from ... import window
from ...registry import Case
from ...window import largest_share


class AvgPool2dProblem(NamedTuple):
    """All numbers of y[n,c,p,q] = sum over r,s of x[n, c, p*stride + r - pad, ...] / divisor; the padding counts as 0.

    P and Q are given, as `ceil_mode` may add a window that reaches beyond the padding. The divisor is the window's number of pixels, with
    those of the padding where `count_include_pad` (not those beyond it); or `divisor`, unless that is 0. `adaptive` windows share the
    image instead: rows from floor(p H / P) to ceil((p + 1) H / P), at most R of them, and columns likewise.
    """

    N: int
    C: int
    H: int
    W: int
    R: int
    S: int
    P: int
    Q: int
    stride_h: int
    stride_w: int
    pad_h: int = 0
    pad_w: int = 0
    count_include_pad: bool = True
    divisor: int = 0
    adaptive: bool = False

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return self.N, self.C, self.H, self.W

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """(N, C, P, Q)."""
        return self.N, self.C, self.P, self.Q


def adaptive(N: int, C: int, H: int, W: int, P: int, Q: int) -> AvgPool2dProblem:
    """Return the problem of P x Q windows that share an image evenly."""
    R, S = largest_share(H, P), largest_share(W, Q)
    return AvgPool2dProblem(N, C, H, W, R, S, P, Q, 1, 1, adaptive=True)


def from_options(
    op: str,
    shape: Annotated[Any, "N,C,H,W"],
    kernel: Annotated[Any, "R,S"] = None,
    stride: Annotated[Any, "INT[,INT]"] = None,
    padding: Annotated[Any, "INT[,INT]"] = 0,
    output_size: Annotated[Any, "P,Q"] = None,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Annotated[Any, "INT"] = None,
) -> AvgPool2dProblem:
    """Return a checked problem from options, see `fastcnn.options`: of windows that slide, or of `output_size` adaptive ones."""
    from . import sliding_problem

    if (kernel is None) == (output_size is None):
        raise ValueError(f"{op}: give --kernel R,S for windows that slide, or --output-size P,Q for adaptive ones, and not both")
    if kernel is not None:
        return sliding_problem(op, shape, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override)
    N, C, H, W = shape
    window.pair(op, "shape's H and W", (H, W), 1)
    return adaptive(N, C, H, W, *window.pair(op, "output_size", output_size, 1))


def work(problem: AvgPool2dProblem, direction: str) -> int:
    """Additions: one for every pixel of every window."""
    return int(np.prod(problem.output_shape)) * problem.R * problem.S


def traffic(problem: AvgPool2dProblem, direction: str, dtype: Any) -> int:
    """Bytes of both images."""
    return int(np.prod(problem.input_shape) + np.prod(problem.output_shape)) * np.dtype(dtype).itemsize


def reduction(problem: AvgPool2dProblem, direction: str) -> int:
    """Pixels of a window forward, windows that hold a pixel backward, at most."""
    p = problem
    if direction == "forward":
        return p.R * p.S
    if p.adaptive:
        return (-(-p.P // p.H) + 1) * (-(-p.Q // p.W) + 1)
    return -(-p.R // p.stride_h) * -(-p.S // p.stride_w)


def arguments(problem: AvgPool2dProblem, direction: str, dtype: Any, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return a random input of `direction`: (x,) or (dy,)."""
    return (rng.standard_normal(problem.input_shape if direction == "forward" else problem.output_shape).astype(dtype),)


def outputs(problem: AvgPool2dProblem, direction: str, dtype: Any) -> tuple[np.ndarray, ...]:
    """Return an empty array for y or dx."""
    return (np.empty(problem.output_shape if direction == "forward" else problem.input_shape, dtype),)


_P = AvgPool2dProblem
CASES = [
    Case("ones", _P(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)),
    Case("empty-batch", _P(0, 2, 4, 4, 2, 2, 2, 2, 2, 2)),
    Case("halving", _P(2, 17, 8, 10, 2, 2, 4, 5, 2, 2)),
    Case("overlapping", _P(2, 3, 9, 8, 3, 3, 7, 6, 1, 1)),
    Case("gapped", _P(1, 9, 11, 13, 2, 2, 3, 3, 4, 5)),
    Case("padded", _P(2, 33, 7, 7, 3, 3, 4, 4, 2, 2, 1, 1)),
    Case("padding-left-out", _P(2, 100, 7, 6, 3, 2, 4, 4, 2, 2, 1, 1, count_include_pad=False)),
    Case("padding-left-out-few", _P(1, 3, 7, 6, 3, 3, 4, 4, 2, 2, 1, 1, count_include_pad=False)),
    Case("ceil", _P(1, 8, 7, 6, 3, 3, 4, 3, 2, 2)),
    Case("ceil-padded", _P(1, 16, 8, 9, 3, 4, 5, 4, 2, 3, 1, 2)),
    Case("divisor", _P(1, 24, 5, 5, 2, 2, 4, 4, 1, 1, divisor=3)),
    Case("divisor-negative", _P(1, 2, 5, 5, 3, 3, 3, 3, 2, 2, 1, 1, divisor=-2)),
    Case("row", _P(1, 2, 1, 31, 1, 4, 1, 14, 1, 2)),
    Case("global", adaptive(2, 37, 7, 7, 1, 1)),
    Case("global-wide", adaptive(1, 3, 9, 11, 1, 1)),
    Case("bands", adaptive(2, 3, 8, 7, 3, 1)),
    Case("adaptive", adaptive(2, 19, 7, 8, 3, 5)),
    Case("adaptive-few", adaptive(3, 2, 7, 8, 3, 5)),
    Case("adaptive-more-than-pixels", adaptive(1, 9, 4, 3, 7, 5)),
]
BENCH = [
    Case("inception-pool", _P(1, 192, 28, 28, 3, 3, 28, 28, 1, 1, 1, 1)),
    Case("densenet-transition", _P(8, 128, 28, 28, 2, 2, 14, 14, 2, 2)),
    Case("overlapping-64x56", _P(64, 64, 56, 56, 3, 3, 28, 28, 2, 2, 1, 1)),
    Case("global-7x7x2048", adaptive(8, 2048, 7, 7, 1, 1)),
]
