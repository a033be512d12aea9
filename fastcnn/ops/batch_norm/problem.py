"""The shape of batch normalisation, and the cases on which variants are tested and timed."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np

from ... import checks, window
from ...registry import Case


class BatchNormProblem(NamedTuple):
    """y[n,c,h,w] = (x[n,c,h,w] - mean[c]) / sqrt(variance[c] + eps) * weight[c] + bias[c], and max(0, y) with `relu`.

    In training mean and variance are the batch's, over n, h and w; else they are given.
    """

    N: int
    C: int
    H: int = 1
    W: int = 1
    training: bool = True
    relu: bool = False
    eps: float = 1e-5

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return self.N, self.C, self.H, self.W

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """That of the input."""
        return self.input_shape

    @property
    def pixels(self) -> int:
        """Values of a channel."""
        return self.N * self.H * self.W


def from_options(
    op: str,
    shape: Annotated[Any, "N,C[,H,W]"],
    training: bool = True,
    relu: bool = False,
    eps: Annotated[Any, "FLOAT"] = 1e-5,
) -> BatchNormProblem:
    """Return a checked problem from options; see `fastcnn.options`."""
    N, C, H, W = (*shape, 1, 1)[:4]
    problem = BatchNormProblem(N, C, H, W, training, relu, checks.number(op, "eps", eps))
    window.integer(op, "shape's C", problem.C, 1)
    if training and problem.pixels < 2:
        raise ValueError(f"{op}: in training shape must hold more than one value of each channel; got {problem.input_shape}")
    return problem


def work(problem: BatchNormProblem, direction: str) -> int:
    """FLOPs: three an element to normalise, four for its moments; backward eight."""
    size = problem.pixels * problem.C
    if direction == "forward":
        return (7 if problem.training else 3) * size
    return 8 * size


def traffic(problem: BatchNormProblem, direction: str, dtype: Any) -> int:
    """Bytes of passes over images, as nothing larger than a cache lies in one between them: 2 or 3 forward, up to 5 backward."""
    size = problem.pixels * problem.C * np.dtype(dtype).itemsize
    if direction == "forward":
        return (3 if problem.training else 2) * size
    return (5 if problem.training else 4) * size


def reduction(problem: BatchNormProblem, direction: str) -> int:
    """Return how many roundings may add up: long sums are trees of short ones."""
    return 32


def magnitude(problem: BatchNormProblem, direction: str, arguments: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Sizes of what is added up for each output, on which the rounding errors depend."""
    if direction == "forward":
        x, weight, bias, mean, variance = arguments
        if problem.training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
        inverse = 1 / np.sqrt(variance + problem.eps)
        y = (np.abs(x - _each(mean)) * _each(inverse) + 1) * _each(np.abs(weight)) + _each(np.abs(bias))
        return y, np.sqrt(variance) + np.abs(mean), variance
    dy, x, weight, _, mean, inverse = arguments
    errors, normal = np.abs(dy), np.abs(x - _each(mean)) * _each(inverse)
    dx = errors
    if problem.training and problem.pixels:
        dx = errors + _each(errors.mean((0, 2, 3))) + normal * _each((errors * normal).mean((0, 2, 3)))
    return dx * _each(np.abs(weight) * inverse), (errors * (normal + 1)).sum((0, 2, 3)), errors.sum((0, 2, 3))


def _each(channel: np.ndarray) -> np.ndarray:
    return channel[:, None, None]


def arguments(problem: BatchNormProblem, direction: str, dtype: Any, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return random inputs of `direction`: (x, weight, bias, running mean, running variance) or (dy, x, weight, bias, mean, inverse)."""
    C = problem.C
    x = (3 * rng.standard_normal(problem.input_shape) + rng.uniform(-2, 2, (C, 1, 1))).astype(dtype)
    weight, bias = rng.uniform(0.5, 2, C) * rng.choice([-1, 1], C), rng.standard_normal(C)
    parameters = weight.astype(dtype), bias.astype(dtype)
    if direction == "forward":
        return x, *parameters, rng.uniform(-2, 2, C).astype(dtype), rng.uniform(0.1, 9, C).astype(dtype)
    mean, variance = x.mean((0, 2, 3), np.float64), x.var((0, 2, 3), np.float64)
    return rng.standard_normal(problem.output_shape).astype(dtype), x, *parameters, mean, 1 / np.sqrt(variance + problem.eps)


def outputs(problem: BatchNormProblem, direction: str, dtype: Any) -> tuple[np.ndarray, ...]:
    """Return empty arrays for (y, mean, variance) or (dx, dweight, dbias); the statistics are float64."""
    image = np.empty(problem.input_shape, dtype)
    return image, *(np.empty(problem.C, np.float64 if direction == "forward" else dtype) for _ in range(2))


_P = BatchNormProblem
CASES = [
    Case("pair", _P(2, 1)),
    Case("vectors", _P(5, 3)),
    Case("vectors-257", _P(9, 257)),
    Case("planes", _P(2, 5, 7, 7)),
    Case("one-channel", _P(3, 1, 19, 21)),
    Case("three-channels", _P(2, 3, 13, 11)),
    Case("channels-24", _P(4, 24, 12, 12)),
    Case("channels-32-many-parts", _P(5, 32, 28, 28)),
    Case("channels-17-odd", _P(3, 17, 37, 31)),
    Case("long-planes", _P(2, 2, 70, 61)),
    Case("relu", _P(3, 24, 9, 10, relu=True)),
    Case("relu-planes", _P(2, 3, 70, 61, relu=True)),
    Case("evaluation", _P(3, 5, 9, 8, training=False)),
    Case("evaluation-one", _P(1, 4, training=False)),
    Case("evaluation-relu", _P(3, 33, 8, 9, training=False, relu=True)),
    Case("wide-eps", _P(4, 6, 3, 3, eps=0.5)),
]
BENCH = [
    Case("mnist-32x14", _P(128, 32, 14, 14)),
    Case("mnist-64x7", _P(128, 64, 7, 7)),
    Case("mnist-24x28", _P(128, 24, 28, 28)),
    Case("mnist-32x14-relu", _P(128, 32, 14, 14, relu=True)),
    Case("dense-256", _P(128, 256)),
    Case("evaluation-32x14", _P(128, 32, 14, 14, training=False)),
]
