"""The shape of a fully connected layer: sizes, costs, and the cases for tests and benchmarks."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np

from ... import window
from ...registry import Case


class LinearProblem(NamedTuple):
    """y[n,o] = b[o] + sum over i of x[n,i] * w[o,i]; N counts all leading axes of the input."""

    N: int
    I: int
    O: int


def from_options(op: str, shape: Annotated[Any, "N,I"], out_features: Annotated[Any, "O"]) -> LinearProblem:
    """Return a checked problem from options; see `fastcnn.options`."""
    N, features = shape
    return LinearProblem(N, window.integer(op, "shape's I", features, 1), window.integer(op, "out_features", out_features[0], 1))


def work(problem: LinearProblem, direction: str) -> int:
    """FLOPs of the matrix product; the same in all three directions."""
    return 2 * problem.N * problem.I * problem.O


def traffic(problem: LinearProblem, direction: str, dtype: Any) -> int:
    """Bytes of the two matrices read and the one written."""
    N, I, O = problem
    return (N * I + I * O + N * O) * np.dtype(dtype).itemsize


def reduction(problem: LinearProblem, direction: str) -> int:
    """Terms in one sum."""
    return {"forward": problem.I + 1, "backward_input": problem.O, "backward_weight": problem.N}[direction]


def arguments(problem: LinearProblem, direction: str, dtype: Any, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return random inputs of `direction`: (x, weight, bias), (dy, weight) or (x, dy)."""
    N, I, O = problem
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {
        "forward": ((N, I), (O, I), (O,)),
        "backward_input": ((N, O), (O, I)),
        "backward_weight": ((N, I), (N, O)),
    }
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes[direction])


def outputs(problem: LinearProblem, direction: str, dtype: Any) -> tuple[np.ndarray, ...]:
    """Return empty arrays for the results of `direction`: (y,), (dx,) or (dweight,)."""
    N, I, O = problem
    return (np.empty({"forward": (N, O), "backward_input": (N, I), "backward_weight": (O, I)}[direction], dtype),)


CASES = [
    Case("ones", LinearProblem(1, 1, 1)),
    Case("empty-batch", LinearProblem(0, 3, 2)),
    Case("primes", LinearProblem(7, 31, 13)),
    Case("one-row", LinearProblem(1, 257, 10)),
    Case("whole-vectors", LinearProblem(3, 128, 21)),
    Case("few-rows", LinearProblem(2, 301, 37)),
    Case("one-output", LinearProblem(33, 17, 1)),
    Case("mnist", LinearProblem(64, 800, 256)),
]
BENCH = [
    Case("mnist-800-256", LinearProblem(256, 800, 256)),
    Case("mnist-256-10", LinearProblem(256, 256, 10)),
    Case("mnist-row-800-256", LinearProblem(1, 800, 256)),
    Case("vgg-4096-1000", LinearProblem(1, 4096, 1000)),
]
