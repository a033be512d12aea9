"""The shape of two-dimensional max-pooling, and the cases on which variants are tested and timed."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np

from ... import window
from ...registry import Case
from ...window import largest_share


class MaxPool2dProblem(NamedTuple):
    """All integers of y[n,c,p,q] = max over r,s of x[n, c, p*stride + r*dilation - pad, ...]; the padding counts as -inf.

    P and Q are given, as `ceil_mode` may add a window that reaches beyond the padding. `adaptive` windows share the image instead: rows
    from floor(p H / P) to ceil((p + 1) H / P), at most R of them, and columns likewise. Forward leaves `indices` out where it is to be
    without: they are an empty array then.
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
    dilation_h: int = 1
    dilation_w: int = 1
    adaptive: bool = False
    with_indices: bool = True

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return self.N, self.C, self.H, self.W

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """(N, C, P, Q)."""
        return self.N, self.C, self.P, self.Q


def from_options(
    op: str,
    shape: Annotated[Any, "N,C,H,W"],
    kernel: Annotated[Any, "R,S"] = None,
    stride: Annotated[Any, "INT[,INT]"] = None,
    padding: Annotated[Any, "INT[,INT]"] = 0,
    dilation: Annotated[Any, "INT[,INT]"] = 1,
    output_size: Annotated[Any, "P,Q"] = None,
    ceil_mode: bool = False,
    with_indices: bool = True,
) -> MaxPool2dProblem:
    """Return a checked problem from options, see `fastcnn.options`: of windows that slide, or of `output_size` adaptive ones."""
    from . import sliding_problem

    if (kernel is None) == (output_size is None):
        raise ValueError(f"{op}: give --kernel R,S for windows that slide, or --output-size P,Q for adaptive ones, and not both")
    if kernel is not None:
        return sliding_problem(op, shape, kernel, stride, padding, dilation, ceil_mode, with_indices)
    N, C, H, W = shape
    window.pair(op, "shape's H and W", (H, W), 1)
    return adaptive(N, C, H, W, *window.pair(op, "output_size", output_size, 1), with_indices)


def work(problem: MaxPool2dProblem, direction: str) -> int:
    """Comparisons forward; additions backward."""
    outputs = int(np.prod(problem.output_shape))
    return outputs * problem.R * problem.S if direction == "forward" else outputs


def traffic(problem: MaxPool2dProblem, direction: str, dtype: Any) -> int:
    """Bytes of both images and of the indices."""
    images = int(np.prod(problem.input_shape) + np.prod(problem.output_shape))
    indices = int(np.prod(problem.output_shape)) * 8 if problem.with_indices else 0
    return images * np.dtype(dtype).itemsize + indices


def reduction(problem: MaxPool2dProblem, direction: str) -> int:
    """Forward is exact; backward adds at most one gradient per window that holds the pixel."""
    return 0 if direction == "forward" else problem.R * problem.S


def arguments(problem: MaxPool2dProblem, direction: str, dtype: Any, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return random inputs of `direction`, with many ties: (x,) or (dy, indices)."""
    x = rng.integers(-3, 4, problem.input_shape).astype(dtype)
    if direction == "forward":
        return (x,)
    from . import reference

    both = problem._replace(with_indices=True)
    y, indices = outputs(both, "forward", dtype)
    reference.forward(both, x, y, indices)
    return rng.standard_normal(problem.output_shape).astype(dtype), indices


def outputs(problem: MaxPool2dProblem, direction: str, dtype: Any) -> tuple[np.ndarray, ...]:
    """Return empty arrays for (y, indices) or (dx,)."""
    if direction == "forward":
        return np.empty(problem.output_shape, dtype), np.empty(problem.output_shape if problem.with_indices else 0, np.int64)
    return (np.empty(problem.input_shape, dtype),)


def adaptive(N: int, C: int, H: int, W: int, P: int, Q: int, with_indices: bool = True) -> MaxPool2dProblem:
    """Return the problem of P x Q windows that share an image evenly."""
    R, S = largest_share(H, P), largest_share(W, Q)
    return MaxPool2dProblem(N, C, H, W, R, S, P, Q, 1, 1, adaptive=True, with_indices=with_indices)


_P = MaxPool2dProblem
CASES = [
    Case("ones", _P(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)),
    Case("empty-batch", _P(0, 2, 4, 4, 2, 2, 2, 2, 2, 2)),
    Case("halving", _P(2, 17, 8, 10, 2, 2, 4, 5, 2, 2)),
    Case("overlapping", _P(2, 3, 9, 8, 3, 3, 7, 6, 1, 1)),
    Case("gapped", _P(1, 5, 11, 13, 2, 2, 3, 3, 4, 5)),
    Case("padded", _P(2, 4, 7, 7, 3, 3, 4, 4, 2, 2, 1, 1)),
    Case("uneven", _P(1, 3, 7, 9, 2, 3, 3, 4, 2, 2, 0, 0)),
    Case("ceil", _P(1, 2, 7, 6, 2, 2, 4, 3, 2, 2)),
    Case("dilated", _P(1, 2, 12, 11, 3, 2, 4, 5, 2, 2, 0, 0, 2, 3)),
    Case("dilated-padded", _P(1, 33, 10, 9, 3, 3, 8, 7, 1, 1, 1, 1, 2, 2)),
    Case("window-in-padding", _P(1, 2, 1, 1, 2, 2, 1, 1, 1, 1, 1, 1, 2, 2)),
    Case("whole-image", _P(3, 2, 5, 4, 5, 4, 1, 1, 5, 4)),
    Case("row", _P(1, 2, 1, 31, 1, 4, 1, 14, 1, 2)),
    Case("channels-100", _P(2, 100, 6, 5, 3, 3, 3, 3, 2, 2, 1, 1)),
    Case("adaptive", adaptive(2, 19, 7, 8, 3, 5)),
    Case("adaptive-more-than-pixels", adaptive(1, 3, 4, 3, 7, 5)),
    Case("values-alone", _P(2, 83, 7, 6, 3, 3, 4, 3, 2, 2, 1, 1, with_indices=False)),
    Case("values-alone-few", _P(2, 3, 9, 8, 3, 2, 4, 4, 2, 2, 1, 0, with_indices=False)),
    Case("values-alone-dilated-padding", _P(1, 9, 1, 1, 2, 2, 1, 1, 1, 1, 1, 1, 2, 2, with_indices=False)),
    Case("values-alone-adaptive", adaptive(1, 40, 5, 7, 2, 3, with_indices=False)),
]
BENCH = [
    Case("mnist-24x24x24", _P(64, 24, 24, 24, 2, 2, 12, 12, 2, 2)),
    Case("mnist-32x10x10", _P(64, 32, 10, 10, 2, 2, 5, 5, 2, 2)),
    Case("resnet-stem", _P(1, 64, 112, 112, 3, 3, 56, 56, 2, 2, 1, 1)),
    Case("resnet-stem-values", _P(1, 64, 112, 112, 3, 3, 56, 56, 2, 2, 1, 1, with_indices=False)),
]
