"""Products of a few rows: the weight is the image, and the rows are filters.

A copy of the weight, which the tile's own order of things begins with, costs more than the product of a few rows. So the outputs are
pixels of I channels, and the rows filters over them; for the gradient the inputs are pixels, in O planes. What is copied is the rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ... import machine
from ...engine import planar
from ...engine.correlate import correlation, geometry_of, tile_effort
from ...engine.filters import all_taps
from .problem import LinearProblem

WARNS = False
_POINTWISE = (1, 1, 1, 1, 0, 0)
_SLOWER = 1.25  # than the tile's estimate: vectors are of rows, of which there are few


def refuses(problem: LinearProblem) -> str | None:
    """Tiles are machine code, and want something to multiply."""
    return "there is nothing to multiply" if 0 in problem else machine.tiles_available()


def cost(problem: LinearProblem, direction: str) -> float:
    """Tiles, no copy of the weight."""
    N, I, O = problem
    outputs, terms = (O, I) if direction == "forward" else (I, O)
    return _SLOWER * tile_effort(N, outputs) * terms


def forward(problem: LinearProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Y = x W' + b."""
    _forward(problem, x.dtype, machine.get_threads())(x.reshape(-1), weight.reshape(-1), bias, y.reshape(-1))


def backward_input(problem: LinearProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Dx = dy W."""
    _backward_input(problem, dy.dtype, machine.get_threads())(dy.reshape(-1), weight.reshape(-1), dx.reshape(-1))


def plan(problem: LinearProblem, direction: str, channels_last: tuple[()], dtype: np.dtype) -> Callable[..., None]:
    """Return a direction on flat arrays."""
    return (_forward if direction == "forward" else _backward_input)(problem, dtype, machine.get_threads())


@functools.lru_cache(maxsize=1024)
def _forward(p: LinearProblem, dtype: np.dtype, threads: int) -> Callable[..., None]:
    geometry = geometry_of(_POINTWISE, ((1, p.I, p.O, 1), True), ((1, p.N, p.O, 1), False))
    multiply = correlation(geometry, all_taps((p.N, p.I, 1, 1)), dtype)

    def run(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
        multiply(weight, x, None, y)
        rows = y.reshape(p.N, p.O)
        with np.errstate(over="ignore", invalid="ignore"):
            np.add(rows, bias, out=rows)

    return run


@functools.lru_cache(maxsize=1024)
def _backward_input(p: LinearProblem, dtype: np.dtype, threads: int) -> Callable[..., None]:
    geometry = geometry_of(_POINTWISE, ((1, p.O, 1, p.I), False), ((1, p.N, 1, p.I), False))
    if planar.suits(geometry, False, dtype.itemsize):
        multiply, start = planar.correlation(geometry, False, dtype), np.zeros(p.N, dtype)
    else:
        multiply, start = correlation(geometry, all_taps((p.N, p.O, 1, 1)), dtype), None
    return lambda dy, weight, dx: multiply(weight, dy, start, dx)
