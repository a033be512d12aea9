"""The shape of layer normalisation, and of what else normalises rows: groups and instances."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np

from ... import checks, window
from ...registry import Case


class LayerNormProblem(NamedTuple):
    """y[n,d] = (x[n,d] - mean[n]) / sqrt(variance[n] + eps) * weight[n mod period, d] + bias[n mod period, d], moments over d."""

    rows: int
    D: int
    period: int = 1
    eps: float = 1e-5


def from_options(
    op: str, shape: Annotated[Any, "N,D"], period: Annotated[Any, "INT"] = 1, eps: Annotated[Any, "FLOAT"] = 1e-5
) -> LayerNormProblem:
    """Return a checked problem from options; see `fastcnn.options`. Row n has the weights of n mod `period`."""
    rows, D = shape
    period = window.integer(op, "period", period, 1)
    if rows % period:
        raise ValueError(f"{op}: period must divide the {rows} rows of shape; got {period}")
    return LayerNormProblem(rows, window.integer(op, "shape's D", D, 1), period, checks.number(op, "eps", eps))


def work(problem: LayerNormProblem, direction: str) -> int:
    """FLOPs: four an element for the moments, three to normalise; backward about twice that."""
    return (7 if direction == "forward" else 15) * problem.rows * problem.D


def traffic(problem: LayerNormProblem, direction: str, dtype: Any) -> int:
    """Bytes read and written by passes over the rows: two forward, five backward."""
    return (2 if direction == "forward" else 5) * problem.rows * problem.D * np.dtype(dtype).itemsize


def reduction(problem: LayerNormProblem, direction: str) -> int:
    """Return how many roundings may add up: long sums are trees of short ones."""
    return 32


def magnitude(problem: LayerNormProblem, direction: str, arguments: tuple[np.ndarray, ...]) -> Any:
    """Sizes of what is added up for each output, on which the rounding errors depend."""
    x, weight = arguments[-3:-1] if direction == "forward" else arguments[-2:]
    mean, inverse = x.mean(1, keepdims=True), 1 / np.sqrt(x.var(1, keepdims=True) + problem.eps)
    normal, each = np.abs(x - mean) * inverse + 1e-3 * np.abs(mean) * inverse, np.abs(_each(problem, weight))
    if direction == "forward":
        return (normal + 1) * each + np.abs(_each(problem, arguments[-1]))
    errors = np.abs(arguments[0]) * each
    dx = inverse * (errors + errors.mean(1, keepdims=True) + (normal + 1) * (errors * normal).mean(1, keepdims=True))
    sums = np.zeros((2, problem.period, problem.D))
    for n in range(problem.rows):
        sums[:, n % problem.period] += np.abs(arguments[0][n]) * (normal[n] + 1), np.abs(arguments[0][n])
    return dx, *sums


def _each(problem: LayerNormProblem, parameter: np.ndarray) -> np.ndarray:
    return parameter[np.arange(problem.rows) % problem.period]


def arguments(problem: LayerNormProblem, direction: str, dtype: Any, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return random inputs of `direction`: (x, weight, bias) or (dy, x, weight)."""
    x = (3 * rng.standard_normal((problem.rows, problem.D)) + rng.uniform(-5, 5, (problem.rows, 1))).astype(dtype)
    weight, bias = (rng.uniform(-2, 2, (problem.period, problem.D)).astype(dtype) for _ in range(2))
    return (x, weight, bias) if direction == "forward" else (rng.standard_normal(x.shape).astype(dtype), x, weight)


def outputs(problem: LayerNormProblem, direction: str, dtype: Any) -> tuple[np.ndarray, ...]:
    """Return empty arrays for y, or for dx, dweight and dbias."""
    y, parameter = np.empty((problem.rows, problem.D), dtype), np.empty((problem.period, problem.D), dtype)
    return (y,) if direction == "forward" else (y, parameter, parameter.copy())


_P = LayerNormProblem
CASES = [
    Case(f"{rows}x{D}-of-{period}", _P(rows, D, period, eps))
    for rows, D, period, eps in (
        (1, 2, 1, 1e-5),
        (7, 10, 1, 0.5),
        (3, 33, 3, 1e-5),
        (6, 1000, 2, 1e-5),
        (40, 768, 1, 1e-12),
        (8, 4097, 4, 0.1),
    )
]
BENCH = [Case("transformer-512x768", _P(512, 768)), Case("groups-256x12544", _P(256, 12_544, 32))]
