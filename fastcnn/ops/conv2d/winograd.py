"""Winograd's minimal filtering for 3 x 3 kernels of stride 1: a quarter of the multiplications (F(4 x 4)), or four ninths (F(2 x 2)).

A convolution of small tiles becomes one product per element of their transforms, so that tiles and channels form matrix products; see
`_winograd` for the loops and `_winograd_matrices` for the algebra. Backward-input is a correlation with flipped taps, hence the same code;
backward-weight is the transposed algorithm, see `_winograd_gradient`.

Products of transforms are larger than what they cancel to: the relative error (Frobenius) is 1-2e-6 in float32 where direct convolution
has 3-6e-7, and an infinity or NaN spreads over its tile of outputs, or all taps of its channel. ``precision="highest"`` never chooses it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable

import numpy as np

from ... import checks, machine
from ...engine.correlate import geometry_of, limit
from ...engine.filters import Taps, all_taps, flipped
from ...machine import tiles_available
from . import _winograd, _winograd_gradient
from ._winograd_matrices import TAPS
from .problem import Conv2dProblem

# F(4 x 4) computes on 36 numbers what its matrices cancel to 16: its rounding errors are this many times a direct convolution's.
ERROR_GROWTH = 100
PRECISION = "high"
WARNS = False


def refuses(problem: Conv2dProblem) -> str | None:
    """Other kernels, strides and dilations have no such transform here."""
    p = problem
    if (p.R, p.S) != (TAPS, TAPS):
        return f"the kernel is {p.R} x {p.S}, not 3 x 3"
    if (p.stride_h, p.stride_w, p.dilation_h, p.dilation_w) != (1, 1, 1, 1):
        return "stride or dilation is not 1"
    if p.groups != 1:
        return "groups is not 1"
    return tiles_available()


def cost(problem: Conv2dProblem, direction: str, packed: bool = False) -> float:
    """Take the cheaper of F(2 x 2) and F(4 x 4)."""
    p = problem
    if direction == "backward_weight":
        pixels = p.N, p.P, p.Q
        return _winograd_gradient.effort(p.K, p.C, pixels, 4, _winograd_gradient.output_tile(p.K, p.C, pixels, 4))
    sizes = (p.K, p.C, (p.N, p.P, p.Q)) if direction == "forward" else (p.C, p.K, (p.N, p.H, p.W))
    return _winograd.effort(*sizes, 4, _winograd.output_tile(*sizes, 4, packed), packed)


def forward(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Correlate x with the weights."""
    run = plan(problem, "forward", (checks.is_channels_last(x), checks.is_channels_last(y)), x.dtype)
    run(checks.flat(x), weight.reshape(-1), bias, checks.flat(y))


def backward_input(problem: Conv2dProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Correlate dy with the flipped weights."""
    run = plan(problem, "backward_input", (checks.is_channels_last(dy), checks.is_channels_last(dx)), dy.dtype)
    run(checks.flat(dy), weight.reshape(-1), checks.flat(dx))


def plan(problem: Conv2dProblem, direction: str, channels_last: tuple[bool, bool], dtype: np.dtype) -> Callable[..., None]:
    """Return a direction for arrays of known memory."""
    key = problem, *channels_last, dtype, machine.get_threads()
    if direction == "forward":
        return _forward(*key)
    if direction == "backward_weight":
        gradient = _backward_weight(*key)
        return lambda x, dy, dweight: gradient(x, dy, dweight.reshape(problem.weight_shape))
    run = _backward_input(*key)
    return lambda dy, weight, dx: run(dy, weight, None, dx)


def backward_weight(problem: Conv2dProblem, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """Sum the products of transformed tiles of x and dy."""
    run = _backward_weight(problem, checks.is_channels_last(x), checks.is_channels_last(dy), x.dtype, machine.get_threads())
    run(checks.flat(x), checks.flat(dy), dweight)


def packing(problem: Conv2dProblem, dtype: np.dtype) -> tuple[Hashable, Callable[[np.ndarray], np.ndarray]]:
    """Transform the filters."""
    m = _winograd.output_tile(problem.K, problem.C, (problem.N, problem.P, problem.Q), dtype.itemsize, True)
    return m, _winograd.filter_packer(all_taps(problem.weight_shape), m, dtype)


def forward_packed(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, relu: int = 0) -> None:
    """Correlate x with transformed filters."""
    run = _forward(problem, checks.is_channels_last(x), checks.is_channels_last(y), x.dtype, machine.get_threads(), True, relu > 0)
    run(checks.flat(x), weight, bias, checks.flat(y))
    if relu == 2:
        limit(checks.flat(y), relu)


def packed_plan(
    problem: Conv2dProblem, channels_last: tuple[bool, bool], dtype: np.dtype, relu: int, residual: bool
) -> Callable[..., None] | None:
    """Return `forward_packed` for arrays of known memory."""
    if residual or relu == 2:
        return None
    return _forward(problem, *channels_last, dtype, machine.get_threads(), True, relu > 0)


@functools.lru_cache(maxsize=1024)
def _forward(
    p: Conv2dProblem, x_last: bool, y_last: bool, dtype: np.dtype, threads: int, packed: bool = False, relu: bool = False
) -> Callable[..., None]:
    geometry = geometry_of((TAPS, TAPS, 1, 1, p.top, p.left), (p.input_shape, x_last), (p.output_shape, y_last), relu=relu)
    m = _winograd.output_tile(p.K, p.C, (p.N, p.P, p.Q), dtype.itemsize, packed)
    return _winograd.correlation(geometry, all_taps(p.weight_shape), m, dtype, packed)


@functools.lru_cache(maxsize=1024)
def _backward_input(p: Conv2dProblem, dy_last: bool, dx_last: bool, dtype: np.dtype, threads: int) -> Callable[..., None]:
    sizes = TAPS, TAPS, 1, 1, TAPS - 1 - p.top, TAPS - 1 - p.left
    geometry = geometry_of(sizes, (p.output_shape, dy_last), (p.input_shape, dx_last))
    m = _winograd.output_tile(p.C, p.K, (p.N, p.H, p.W), dtype.itemsize)
    taps = Taps(0, 1, TAPS)
    return _winograd.correlation(geometry, flipped(p.weight_shape, taps, taps), m, dtype)


@functools.lru_cache(maxsize=1024)
def _backward_weight(p: Conv2dProblem, x_last: bool, dy_last: bool, dtype: np.dtype, threads: int) -> Callable[..., None]:
    geometry = geometry_of((TAPS, TAPS, 1, 1, p.top, p.left), (p.input_shape, x_last), (p.output_shape, dy_last))
    m = _winograd_gradient.output_tile(p.K, p.C, (p.N, p.P, p.Q), dtype.itemsize)
    return _winograd_gradient.weight_gradient(geometry, m, dtype)
