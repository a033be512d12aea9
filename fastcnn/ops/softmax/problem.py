"""The shape of softmax: an axis of C values, with `outer` arrays of them before it and `inner` after."""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple

import numpy as np

from ... import options, window
from ...registry import Case


class SoftmaxProblem(NamedTuple):
    """y[o,c,i] = exp(x[o,c,i]) / sum over k of exp(x[o,k,i]), or with `log` its logarithm."""

    outer: int
    C: int
    inner: int = 1
    log: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(outer, C, inner)."""
        return self.outer, self.C, self.inner


def from_options(op: str, shape: Annotated[Any, "INT[,INT...]"], dim: Annotated[Any, "INT"] = -1, log: bool = False) -> SoftmaxProblem:
    """Return a checked problem from options; see `fastcnn.options`."""
    sizes, axis = options.dimensions(op, "shape", shape), window.whole(op, "dim", dim)
    if not -len(sizes) <= axis < len(sizes):
        raise ValueError(f"{op}: dim must be between {-len(sizes)} and {len(sizes) - 1} for this shape; got {axis}")
    axis %= len(sizes)
    return SoftmaxProblem(math.prod(sizes[:axis]), sizes[axis], math.prod(sizes[axis + 1 :]), log)


def work(problem: SoftmaxProblem, direction: str) -> int:
    """FLOPs, counted as 20 an element, most of them in the exponential."""
    return 20 * problem.outer * problem.C * problem.inner


def traffic(problem: SoftmaxProblem, direction: str, dtype: Any) -> int:
    """Bytes of the arrays read and written: two forward, three backward."""
    return (2 if direction == "forward" else 3) * problem.outer * problem.C * problem.inner * np.dtype(dtype).itemsize


def reduction(problem: SoftmaxProblem, direction: str) -> int:
    """Terms in one sum, and a few for the rounding of exp and log."""
    return problem.C + 16


def magnitude(problem: SoftmaxProblem, direction: str, arguments: tuple[np.ndarray, ...]) -> np.ndarray:
    """Size of what is added up, on which the rounding errors depend."""
    if direction == "forward":
        x = arguments[0]
        spread = x.max(axis=1, keepdims=True) - x if problem.C else x
        if problem.log:
            return spread + np.log(problem.C + 1)
        return np.exp(-spread) * (1 + spread)
    dy, y = arguments
    if problem.log:
        return np.abs(dy) + np.exp(y) * (1 + np.abs(y)) * np.abs(dy).sum(axis=1, keepdims=True)
    return np.abs(y) * (np.abs(dy) + np.abs(dy * y).sum(axis=1, keepdims=True))


def arguments(problem: SoftmaxProblem, direction: str, dtype: Any, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return random inputs of `direction`: (x,) or (dy, y)."""
    x = 4 * rng.standard_normal(problem.shape)
    if direction == "forward":
        return (x.astype(dtype),)
    y = np.exp(x - x.max(axis=1, keepdims=True)) if problem.C else x
    y /= y.sum(axis=1, keepdims=True)
    return rng.standard_normal(problem.shape).astype(dtype), (np.log(y) if problem.log else y).astype(dtype)


def outputs(problem: SoftmaxProblem, direction: str, dtype: Any) -> tuple[np.ndarray, ...]:
    """Return an empty array for y or dx."""
    return (np.empty(problem.shape, dtype),)


_SHAPES = ((1, 1, 1), (0, 3, 1), (7, 10, 1), (3, 33, 1), (3, 1000, 1), (2, 4097, 1), (2, 3, 5), (3, 10, 300), (1, 40, 1000))
CASES = [Case("log-" * log + "x".join(map(str, shape)), SoftmaxProblem(*shape, log=log)) for shape in _SHAPES for log in (False, True)]
BENCH = [Case("imagenet-64x1000", SoftmaxProblem(64, 1000)), Case("segmentation-21x65536", SoftmaxProblem(1, 21, 65_536))]
