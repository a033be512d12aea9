"""Activations in one pass of vector code, in chunks that threads share."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ... import machine
from ...engine.elementary import elementary
from ...jit import kernel
from ._formulas import FORMULAS
from .problem import ActivationProblem, work

WARNS = False
_CHUNK = 32_768  # elements of a job: 128 KiB of float32


def refuses(problem: ActivationProblem) -> str | None:
    """Intrinsics need the compiler."""
    return "NUMBA_DISABLE_JIT is set" if machine.jit_is_disabled() else None


def forward(problem: ActivationProblem, x: np.ndarray, y: np.ndarray) -> None:
    """Value of every element."""
    run, _ = _kernels(problem.formula, x.dtype.name)
    run.launch(-(-x.size // _CHUNK), x, _numbers(problem, x.dtype), y, work=work(problem, "forward"))


def backward_input(problem: ActivationProblem, dy: np.ndarray, x: np.ndarray, dx: np.ndarray) -> None:
    """Gradient of every element."""
    _, run = _kernels(problem.formula, x.dtype.name)
    run.launch(-(-x.size // _CHUNK), dy, x, _numbers(problem, x.dtype), dx, work=work(problem, "backward_input"))


def _numbers(problem: ActivationProblem, dtype: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.array([problem.a, problem.b]).astype(dtype)


@functools.cache
def _kernels(formula: str, dtype: str) -> tuple[Any, Any]:
    """Return the loops over a chunk: forward and backward."""
    pair = FORMULAS[formula](np.dtype(dtype).type, elementary(dtype))
    value, pull = (kernel(part, specialisation=(formula, dtype), inline="always") for part in pair)

    @kernel(specialisation=(formula, dtype))
    def activate(job, x, numbers, y):
        a, b = numbers[0], numbers[1]
        first, last = job * _CHUNK, min(x.size, (job + 1) * _CHUNK)
        source, target = x[first:last], y[first:last]
        for i in range(source.size):
            target[i] = value(source[i], a, b)

    @kernel(specialisation=(formula, dtype))
    def pull_back(job, dy, x, numbers, dx):
        a, b = numbers[0], numbers[1]
        first, last = job * _CHUNK, min(x.size, (job + 1) * _CHUNK)
        source, errors, target = x[first:last], dy[first:last], dx[first:last]
        for i in range(source.size):
            target[i] = pull(errors[i], source[i], a, b)

    return activate, pull_back
