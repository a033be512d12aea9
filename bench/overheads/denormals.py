"""What weights too small for a normal float cost: products of them take a core up to a hundred times as long where nobody minds."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from fastcnn import machine
from fastcnn.ops.conv2d import OPERATION, Conv2dProblem
from fastcnn.timing import measure

from .figure import DENORMAL, Figure

_PROBLEMS = {
    "64x56-64k3": Conv2dProblem(1, 64, 56, 56, 64, 3, 3, 1, 1, 1, 1, 1, 1),
    "64x56-dw3": Conv2dProblem(1, 64, 56, 56, 64, 3, 3, 1, 1, 1, 1, 1, 1, groups=64),
}
_TINY = np.float32(1e-42)


def figures(quick: bool) -> Iterator[Figure]:
    """Yield, for every variant that takes weights, its seconds with weights of 1e-42 over those with weights of order 1, on one thread."""
    for shape, problem in _PROBLEMS.items():
        for direction in ("forward",) if quick else ("forward", "backward_input"):
            for variant in OPERATION.preference[:-1]:
                if OPERATION.variants[variant].refuses(problem, direction) is None:
                    yield Figure("denormal weights", f"{variant} {direction} {shape}", _ratio(problem, direction, variant), "x", DENORMAL)


def _ratio(problem: Conv2dProblem, direction: str, variant: str) -> float:
    image, weight, *rest = OPERATION.problem.arguments(problem, direction, np.float32, np.random.default_rng(0))
    (out,) = OPERATION.problem.outputs(problem, direction, np.float32)
    run = functools.partial(OPERATION.variants[variant].directions[direction], problem, image)
    calls = {"normal": functools.partial(run, weight, *rest, out), "tiny": functools.partial(run, weight * _TINY, *rest, out)}
    with machine.threads(1):
        times = measure(calls, budget_seconds=0.5)
    return times["tiny"].median / times["normal"].median
