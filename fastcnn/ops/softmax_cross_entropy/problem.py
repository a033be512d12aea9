"""The shape of softmax with cross-entropy: rows of logits against rows of target probabilities."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np

from ... import window
from ...registry import Case


class SoftmaxCrossEntropyProblem(NamedTuple):
    """loss[n] = - sum over c of target[n,c] * log softmax(x[n])[c]."""

    N: int
    C: int


def from_options(op: str, shape: Annotated[Any, "N,C"]) -> SoftmaxCrossEntropyProblem:
    """Return a checked problem from options; see `fastcnn.options`."""
    return SoftmaxCrossEntropyProblem(shape[0], window.integer(op, "shape's C", shape[1], 1))


def work(problem: SoftmaxCrossEntropyProblem, direction: str) -> int:
    """FLOPs, counted as 20 an element, most of them in the exponential."""
    return 20 * problem.N * problem.C


def traffic(problem: SoftmaxCrossEntropyProblem, direction: str, dtype: Any) -> int:
    """Bytes of logits, targets and results."""
    arrays = 2 if direction == "forward" else 3
    return (arrays * problem.N * problem.C + problem.N) * np.dtype(dtype).itemsize


def reduction(problem: SoftmaxCrossEntropyProblem, direction: str) -> int:
    """Terms in one sum, and a few for the rounding of exp and log."""
    return problem.C + 8


def magnitude(problem: SoftmaxCrossEntropyProblem, direction: str, arguments: tuple[np.ndarray, ...]) -> np.ndarray:
    """Size of what is added up, on which the rounding error depends: a gradient near 0 is a difference of larger numbers."""
    from . import reference

    if direction == "backward_input":
        dloss, x, target = arguments
        return np.abs(dloss)[:, None] * (np.exp(reference._log_softmax(x)) * target.sum(axis=1, keepdims=True) + target)
    x, target = arguments
    spread = x.max(axis=1, keepdims=True) - x
    return (target * (spread + np.log(problem.C) + 1)).sum(axis=1)


def arguments(problem: SoftmaxCrossEntropyProblem, direction: str, dtype: Any, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return random inputs of `direction`: (x, target) or (dloss, x, target)."""
    x = 4 * rng.standard_normal(problem).astype(dtype)
    target = rng.random(problem).astype(dtype)
    target /= target.sum(axis=1, keepdims=True)
    return (x, target) if direction == "forward" else (rng.standard_normal(problem.N).astype(dtype), x, target)


def outputs(problem: SoftmaxCrossEntropyProblem, direction: str, dtype: Any) -> tuple[np.ndarray, ...]:
    """Return an empty array for the losses (N,) or dx (N, C)."""
    return (np.empty(problem.N if direction == "forward" else problem, dtype),)


_P = SoftmaxCrossEntropyProblem
CASES = [Case(f"{n}x{c}", _P(n, c)) for n, c in ((1, 1), (0, 3), (1, 2), (7, 10), (3, 1000), (257, 5))]
BENCH = [Case("mnist-256x10", _P(256, 10)), Case("imagenet-64x1000", _P(64, 1000))]
