"""The three products on matrix tiles, in bfloat16: factors rounded to 8 bits, sums in float32. float64 arrays are left to `tile`.

References: `fastcnn.amx`; Kalamkar et al., arXiv 1905.12322.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ... import amx, machine
from ...engine import matrix
from . import tile
from .problem import LinearProblem

WARNS = False
PRECISION = "medium"
ERROR_GROWTH = 2.0**15  # over float32: a sum of one product, which is allowed 5 roundings of 2**-24, has two of 2**-8


def refuses(problem: LinearProblem) -> str | None:
    """Say whether the tiles are there."""
    return amx.unavailable()


def cost(problem: LinearProblem, direction: str) -> float:
    """Return the estimate of the engine."""
    return matrix.effort(*_sizes(problem, direction))


def forward(problem: LinearProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Y = x W' + b."""
    if x.dtype == np.float64:
        return tile.forward(problem, x, weight, bias, y)
    return _multiply(problem, "forward", x, weight, bias, y)


def backward_input(problem: LinearProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Dx = dy W."""
    if dy.dtype == np.float64:
        return tile.backward_input(problem, dy, weight, dx)
    return _multiply(problem, "backward_input", dy, weight, None, dx)


def backward_weight(problem: LinearProblem, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """DW = dy' x."""
    if x.dtype == np.float64:
        return tile.backward_weight(problem, x, dy, dweight)
    return _multiply(problem, "backward_weight", dy, x, None, dweight)


def _sizes(problem: LinearProblem, direction: str) -> tuple[int, int, int, bool, bool]:
    """Return M, N, K of the product, and whether the terms of a sum lie together in the left and in the right factor."""
    N, I, O = problem
    return {
        "forward": (N, O, I, True, True),
        "backward_input": (N, I, O, True, False),
        "backward_weight": (O, I, N, False, False),
    }[direction]


def _multiply(problem: LinearProblem, direction: str, a: np.ndarray, b: np.ndarray, start: np.ndarray | None, y: np.ndarray) -> None:
    if 0 in problem:
        y[...] = 0 if start is None else start
    else:
        _product(problem, direction, machine.get_threads())(a.reshape(-1), b.reshape(-1), start, y.reshape(-1))


@functools.lru_cache(maxsize=1024)
def _product(problem: LinearProblem, direction: str, threads: int) -> Callable[..., None]:
    return matrix.multiply(*_sizes(problem, direction))
