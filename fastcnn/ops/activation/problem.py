"""The shape of an activation: which formula, with which numbers, on how many elements."""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple

import numpy as np

from ... import checks, options
from ...registry import Case
from ._formulas import FORMULAS


class ActivationProblem(NamedTuple):
    """y[i] = f(x[i]) for i < size, with f by its name in `_formulas` and its numbers a and b."""

    formula: str
    size: int
    a: float = 0.0
    b: float = 0.0


def work(problem: ActivationProblem, direction: str) -> int:
    """FLOPs, counted as 20 an element, most of them in an exponential."""
    return 20 * problem.size


def traffic(problem: ActivationProblem, direction: str, dtype: Any) -> int:
    """Bytes of the arrays read and written: two forward, three backward."""
    return (2 if direction == "forward" else 3) * problem.size * np.dtype(dtype).itemsize


def reduction(problem: ActivationProblem, direction: str) -> int:
    """Nothing is summed, but formulas round a few times."""
    return 16


def magnitude(problem: ActivationProblem, direction: str, arguments: tuple[np.ndarray, ...]) -> np.ndarray:
    """Size of what errors are relative to: what is added up may be larger than the sum, as x and tanh(x) are than their difference."""
    from . import reference

    value, slope = reference.DEFINITIONS[problem.formula]
    x = arguments[-1]
    steep = np.abs(slope(x, problem.a, problem.b))
    if direction == "forward":
        return np.abs(value(x, problem.a, problem.b)) + np.abs(x) * (steep + (problem.formula in ("gelu", "gelu_tanh", "tanhshrink")))
    return np.abs(arguments[0]) * (1 + steep)


def arguments(problem: ActivationProblem, direction: str, dtype: Any, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return random inputs of `direction`, with zeros of both signs: (x,) or (dy, x)."""
    x = 4 * rng.standard_normal(problem.size).astype(dtype)
    x[::5], x[1::7] = 0, -0.0
    return (x,) if direction == "forward" else (rng.standard_normal(problem.size).astype(dtype), x)


def outputs(problem: ActivationProblem, direction: str, dtype: Any) -> tuple[np.ndarray, ...]:
    """Return an empty array for y or dx."""
    return (np.empty(problem.size, dtype),)


_NUMBERS = {  # of the formulas that have some
    "celu": (1.5, 0.0),
    "elu": (0.75, 0.0),
    "hardshrink": (0.5, 0.0),
    "hardtanh": (-1.0, 2.0),
    "leaky_relu": (0.25, 0.0),
    "softplus": (2.0, 3.0),
    "softshrink": (0.5, 0.0),
    "threshold": (0.5, -2.0),
}


def _case(formula: str, size: int) -> ActivationProblem:
    return ActivationProblem(formula, size, *_NUMBERS.get(formula, (0.0, 0.0)))


def from_options(
    op: str,
    shape: Annotated[Any, "INT[,INT...]"],
    formula: Annotated[Any, "NAME"],
    a: Annotated[Any, "FLOAT"] = None,
    b: Annotated[Any, "FLOAT"] = None,
) -> ActivationProblem:
    """Return a checked problem from options; see `fastcnn.options`. Numbers that a formula has are those of the cases where not given."""
    size = math.prod(options.dimensions(op, "shape", shape))
    problem = _case(checks.choice(op, "formula", formula, tuple(FORMULAS)), size)
    first = problem.a if a is None else checks.number(op, "a", a)
    return problem._replace(a=first, b=problem.b if b is None else checks.number(op, "b", b))


CASES = [Case(f"{formula}-1037", _case(formula, 1037)) for formula in FORMULAS]
CASES += [Case(f"sigmoid-{size}", _case("sigmoid", size)) for size in (0, 1, 17, 70_001)]
BENCH = [Case(f"{formula}-1e6", _case(formula, 1_000_000)) for formula in ("gelu", "sigmoid", "silu", "tanh", "leaky_relu")]
