"""The shape of ReLU: a number of elements."""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple

import numpy as np

from ... import options
from ...registry import Case


class ReluProblem(NamedTuple):
    """y[i] = max(x[i], 0) for i < size."""

    size: int


def from_options(op: str, shape: Annotated[Any, "INT[,INT...]"]) -> ReluProblem:
    """Return a checked problem from options; see `fastcnn.options`."""
    return ReluProblem(math.prod(options.dimensions(op, "shape", shape)))


def work(problem: ReluProblem, direction: str) -> int:
    """One comparison an element."""
    return problem.size


def traffic(problem: ReluProblem, direction: str, dtype: Any) -> int:
    """Bytes of the arrays read and written: two forward, three backward."""
    return (2 if direction == "forward" else 3) * problem.size * np.dtype(dtype).itemsize


def reduction(problem: ReluProblem, direction: str) -> int:
    """Nothing is summed: results are exact."""
    return 0


def arguments(problem: ReluProblem, direction: str, dtype: Any, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return random inputs of `direction`, with zeros of both signs: (x,) or (dy, x)."""
    x = rng.standard_normal(problem.size).astype(dtype)
    x[::5], x[1::7] = 0, -0.0
    return (x,) if direction == "forward" else (rng.standard_normal(problem.size).astype(dtype), x)


def outputs(problem: ReluProblem, direction: str, dtype: Any) -> tuple[np.ndarray, ...]:
    """Return an empty array for y or dx."""
    return (np.empty(problem.size, dtype),)


CASES = [Case(f"size-{size}", ReluProblem(size)) for size in (0, 1, 2, 15, 17, 1000, 70_001)]
BENCH = [Case("mnist-24c5", ReluProblem(64 * 24 * 24 * 24)), Case("resnet-64", ReluProblem(64 * 56 * 56))]
