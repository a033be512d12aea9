"""Direct convolution on matrix tiles, in bfloat16: factors rounded to 8 bits, sums in float32. float64 arrays are left to `direct`.

Forward and backward-input are correlations, as in `direct`. Whose zeros meet infinite weights, and subnormal numbers: as in `bfloat16`.
References: `fastcnn.amx`; Georganas et al., arXiv 1808.05567; Kalamkar et al., arXiv 1905.12322.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable

import numpy as np

from ... import amx, checks, machine
from ...engine.correlate import Geometry, geometry_of
from ...engine.filters import all_taps, filter_effort
from ...engine.matrix_correlate import correlation, effort, steps_of, weight_packer
from ...engine.phases import phases_of
from . import _phases, direct
from .problem import Conv2dProblem

PRECISION = "medium"
ERROR_GROWTH = 2.0**15  # over float32: a sum of one product, which is allowed 5 roundings of 2**-24, has two of 2**-8


def refuses(problem: Conv2dProblem) -> str | None:
    """As `direct`, and the tiles must be there."""
    if problem.groups != 1:
        return "groups is not 1"
    return direct.refuses(problem) or amx.unavailable()


def cost(problem: Conv2dProblem, direction: str, packed: bool = False) -> float:
    """Return the estimate of the engine, and the copies of the weights."""
    p = problem
    packing = 0.0 if packed else filter_effort(p.C * p.K * p.R * p.S)
    if direction == "forward":
        return packing + effort(_shape(p, True, True))
    phases = phases_of(_shape(p, True, True), p.weight_shape)
    return packing + sum(effort(phase.geometry, False) for phase in phases)


def forward(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Correlate x with the weights; the sums start from the bias."""
    if x.dtype == np.float64:
        return direct.forward(problem, x, weight, bias, y)
    run = _forward(problem, checks.is_channels_last(x), checks.is_channels_last(y), machine.get_threads())
    return run(checks.flat(x), weight.reshape(-1), bias, checks.flat(y))


def backward_input(problem: Conv2dProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Correlate dy with the flipped taps of each phase of the stride."""
    if dy.dtype == np.float64:
        return direct.backward_input(problem, dy, weight, dx)
    return _phases.backward_input(problem, dy, weight, dx, _backward_input)


def packing(problem: Conv2dProblem, dtype: np.dtype) -> tuple[Hashable, Callable[[np.ndarray], np.ndarray]]:
    """Round blocks of output channels to words."""
    if dtype == np.float64:
        return direct.packing(problem, dtype)
    return None, weight_packer(all_taps(problem.weight_shape), steps_of(problem.C, problem.R, problem.S))


def forward_packed(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, relu: int = 0) -> None:
    """Correlate x with packed weights."""
    if x.dtype == np.float64:
        return direct.forward_packed(problem, x, weight, bias, y, relu)
    run = _forward(problem, checks.is_channels_last(x), checks.is_channels_last(y), machine.get_threads(), True, relu)
    return run(checks.flat(x), weight, bias, checks.flat(y))


def _shape(p: Conv2dProblem, x_last: bool, y_last: bool, relu: int = 0) -> Geometry:
    sizes = p.R, p.S, p.stride_h, p.stride_w, p.top, p.left
    return geometry_of(sizes, (p.input_shape, x_last), (p.output_shape, y_last), p.groups, relu)


@functools.lru_cache(maxsize=1024)
def _forward(p: Conv2dProblem, x_last: bool, y_last: bool, threads: int, packed: bool = False, relu: int = 0) -> Callable[..., None]:
    return correlation(_shape(p, x_last, y_last, relu), all_taps(p.weight_shape), packed)


@functools.lru_cache(maxsize=1024)
def _backward_input(p: Conv2dProblem, dy_last: bool, dx_last: bool, threads: int) -> _phases.Runs:
    return _phases.correlations(p, _shape(p, dx_last, dy_last), correlation)
