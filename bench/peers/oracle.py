"""What must come out, in float64: by im2col and BLAS, which is affordable on every suite, and spot-checked against the reference.

`fastcnn/ops/conv2d/reference.py` takes up to a minute on the larger problems. One image and one channel of it take milliseconds, and are a
convolution by themselves; a few of them, drawn at random, are computed by the reference and compared with the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastcnn.agreement import error_share, tolerance
from fastcnn.peers.truth import Truth
from fastcnn.registry import Case, operations

from ..suites import WEIGHT_SCALE

CONV2D = operations()["conv2d"]
_SPOTS = 3


def truth(case: Case, direction: str) -> Truth:
    """Return the inputs of a case and what must come out.

    Raises
    ------
    ArithmeticError
        The quick computation does not agree with the reference on the spots that were drawn.
    """
    p, rng = case.problem, np.random.default_rng(0)
    arguments = _scaled(CONV2D.problem.arguments(p, direction, np.float32, rng), direction, WEIGHT_SCALE.get(case.name, 1.0))
    exact = [argument.astype(np.float64) for argument in arguments]
    want = _compute("im2col", direction, p, exact)
    for _ in range(_SPOTS):
        _spot_check(case, direction, exact, want, rng)
    magnitude = _compute("im2col", direction, p, [np.abs(argument) for argument in exact])
    return Truth(arguments, want, tolerance(CONV2D.problem.reduction(p, direction), magnitude, np.float32))


def _scaled(arguments: tuple[np.ndarray, ...], direction: str, scale: float) -> tuple[np.ndarray, ...]:
    if scale == 1 or direction == "backward_weight":
        return arguments
    return arguments[0], *((argument.astype(np.float64) * scale).astype(np.float32) for argument in arguments[1:])


def _compute(variant: str, direction: str, problem: Any, arguments: Sequence[np.ndarray]) -> np.ndarray:
    (result,) = CONV2D.problem.outputs(problem, direction, np.float64)
    CONV2D.run(variant, direction, problem, arguments, [result])
    return result


def _spot_check(case: Case, direction: str, exact: Sequence[np.ndarray], want: np.ndarray, rng: np.random.Generator) -> None:
    """Compare one image and one channel (a filter and a channel for the weights) with the reference."""
    p = case.problem
    n, group = int(rng.integers(p.N)), int(rng.integers(p.groups))
    c, k = int(rng.integers(p.C // p.groups)), int(rng.integers(p.K // p.groups))
    channels = slice(group * (p.C // p.groups), (group + 1) * (p.C // p.groups))
    filters = slice(group * (p.K // p.groups), (group + 1) * (p.K // p.groups))
    one_c, one_k, one_n = channels.start + c, filters.start + k, slice(n, n + 1)
    if direction == "forward":
        x, weight, bias = exact
        part = p._replace(N=1, C=p.C // p.groups, K=1, groups=1)
        inputs = [x[one_n, channels], weight[one_k : one_k + 1], bias[one_k : one_k + 1]]
        found = want[one_n, one_k : one_k + 1]
    elif direction == "backward_input":
        dy, weight = exact
        part = p._replace(N=1, C=1, K=p.K // p.groups, groups=1)
        inputs = [dy[one_n, filters], weight[filters, c : c + 1]]
        found = want[one_n, one_c : one_c + 1]
    else:
        x, dy = exact
        part = p._replace(C=1, K=1, groups=1)
        inputs = [x[:, one_c : one_c + 1], dy[:, one_k : one_k + 1]]
        found = want[one_k : one_k + 1, c : c + 1]
    expected = _compute("reference", direction, part, inputs)
    magnitude = _compute("reference", direction, part, [np.abs(array) for array in inputs])
    allowed = tolerance(CONV2D.problem.reduction(part, direction), magnitude, np.float64)
    if not error_share(found, expected, allowed) <= 1:
        raise ArithmeticError(
            f"{case.name}: {direction} by im2col in float64 does not agree with the reference; nothing can be checked by it"
        )
