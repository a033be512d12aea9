"""The shape of a convolution with ReLU is the convolution's; here are the cases on which variants are tested and timed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...registry import Case
from ..conv2d import OPERATION, Conv2dProblem

work = OPERATION.problem.work
from_options = OPERATION.problem.from_options


def traffic(problem: Conv2dProblem, direction: str, dtype: Any) -> int:
    """Bytes of the arrays read and written; backward also reads the output."""
    images = 0 if direction == "forward" else int(np.prod(problem.output_shape)) * np.dtype(dtype).itemsize
    return int(OPERATION.problem.traffic(problem, direction, dtype)) + images


def reduction(problem: Conv2dProblem, direction: str) -> int:
    """Terms in one sum: ReLU adds none."""
    return int(OPERATION.problem.reduction(problem, direction))


def arguments(problem: Conv2dProblem, direction: str, dtype: Any, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return random inputs of `direction`: (x, weight, bias), (dy, y, weight) or (x, dy, y)."""
    given: tuple[np.ndarray, ...] = OPERATION.problem.arguments(problem, direction, dtype, rng)
    if direction == "forward":
        return given
    y = np.maximum(rng.standard_normal(problem.output_shape), 0).astype(dtype)
    return (given[0], y, given[1]) if direction == "backward_input" else (*given, y)


def outputs(problem: Conv2dProblem, direction: str, dtype: Any) -> tuple[np.ndarray, ...]:
    """Return empty arrays for the results of `direction`: (y,), (dx,) or (dweight, dbias)."""
    bias = (np.empty(problem.K, dtype),) if direction == "backward_weight" else ()
    return (*OPERATION.problem.outputs(problem, direction, dtype), *bias)


def _square(N: int, C: int, H: int, K: int, R: int, stride: int = 1, pad: int = 0) -> Conv2dProblem:
    return Conv2dProblem(N, C, H, H, K, R, R, stride, stride, pad, pad, pad, pad)


CASES = [
    Case("first", _square(3, 1, 28, 24, 5)),
    Case("second", _square(2, 24, 12, 32, 3)),
    Case("channels-31-33", _square(2, 31, 9, 33, 3, 1, 1)),
    Case("channels-3-5", _square(2, 3, 8, 5, 3, 1, 1)),
    Case("pointwise", _square(2, 17, 6, 31, 1)),
    Case("strided", _square(2, 4, 13, 8, 3, 2, 1)),
    Case("padding-asymmetric", Conv2dProblem(2, 2, 5, 6, 3, 3, 2, 2, 1, 0, 4, 3, 1)),
    Case("dilated", Conv2dProblem(2, 3, 12, 13, 5, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2)),
    Case("groups", Conv2dProblem(2, 6, 8, 8, 10, 3, 3, 1, 1, 1, 1, 1, 1, groups=2)),
    Case("depthwise", Conv2dProblem(2, 17, 9, 9, 17, 3, 3, 2, 2, 1, 1, 1, 1, groups=17)),
]
BENCH = [
    Case("mnist-24c5", _square(64, 1, 28, 24, 5)),
    Case("mnist-32c3", _square(64, 24, 12, 32, 3)),
    Case("resnet-stem", _square(1, 3, 224, 64, 7, 2, 3)),
    Case("resnet-64", _square(1, 64, 56, 64, 3, 1, 1)),
]
