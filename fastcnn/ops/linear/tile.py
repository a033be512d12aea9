"""The three products on the register tile: a fully connected layer is a 1 x 1 convolution of N pixels."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ... import machine
from ...engine.correlate import Geometry, correlation, geometry_of, tile_effort
from ...engine.filters import Taps, all_taps, filter_effort, flipped
from ...engine.weight_gradient import weight_gradient
from .problem import LinearProblem

WARNS = False
_ONE = Taps(0, 1, 1)


def refuses(problem: LinearProblem) -> str | None:
    """Tiles are machine code, and want something to multiply."""
    return "there is nothing to multiply" if 0 in problem else machine.tiles_available()


def cost(problem: LinearProblem, direction: str) -> float:
    """Tiles times the length of their sums, and the copies of the weights."""
    N, I, O = problem
    if direction == "forward":
        return tile_effort(O, N) * I + filter_effort(I * O)
    if direction == "backward_input":
        return tile_effort(I, N) * O + (1.0 if N >= 32 else 3.0) * I * O
    thrashes = max(I, O) % 1024 == 0  # 4 KiB from row to row: all in one set of the L1 cache
    return tile_effort(I, O) * N * (1.4 if thrashes else 1.0) + 0.5 * I * O


def forward(problem: LinearProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Y = x W' + b."""
    _forward(problem, x.dtype, machine.get_threads())(x.reshape(-1), weight.reshape(-1), bias, y.reshape(-1))


def backward_input(problem: LinearProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Dx = dy W."""
    _backward_input(problem, dy.dtype, machine.get_threads())(dy.reshape(-1), weight.reshape(-1), None, dx.reshape(-1))


def backward_weight(problem: LinearProblem, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """DW = dy' x."""
    weight = dweight.reshape(*dweight.shape, 1, 1)
    _backward_weight(problem, x.dtype, machine.get_threads())(x.reshape(-1), dy.reshape(-1), weight)


def plan(problem: LinearProblem, direction: str, channels_last: tuple[()], dtype: np.dtype) -> Callable[..., None]:
    """Return a direction on flat arrays."""
    key = problem, dtype, machine.get_threads()
    if direction == "forward":
        return _forward(*key)
    if direction == "backward_weight":
        return _backward_weight(*key)
    run = _backward_input(*key)
    return lambda dy, weight, dx: run(dy, weight, None, dx)


def _pixels(N: int, inputs: int, outputs: int) -> Geometry:
    return geometry_of((1, 1, 1, 1, 0, 0), ((N, inputs, 1, 1), True), ((N, outputs, 1, 1), True))


@functools.lru_cache(maxsize=1024)
def _forward(p: LinearProblem, dtype: np.dtype, threads: int) -> Callable[..., None]:
    return correlation(_pixels(p.N, p.I, p.O), all_taps((p.O, p.I, 1, 1)), dtype)


@functools.lru_cache(maxsize=1024)
def _backward_input(p: LinearProblem, dtype: np.dtype, threads: int) -> Callable[..., None]:
    return correlation(_pixels(p.N, p.O, p.I), flipped((p.O, p.I, 1, 1), _ONE, _ONE), dtype)


@functools.lru_cache(maxsize=1024)
def _backward_weight(p: LinearProblem, dtype: np.dtype, threads: int) -> Callable[..., None]:
    return weight_gradient(_pixels(p.N, p.I, p.O), dtype)
