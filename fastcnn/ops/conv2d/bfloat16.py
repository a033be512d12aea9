"""Direct convolution in bfloat16: factors rounded to 8 bits, sums in float32, on AMD at twice the peak of float32.

Arrays are float32 on either side; they are rounded on the way into the cache, as part of the copy that padding needs. Products of random
numbers come out with a relative error of 2.4e-3 (Frobenius); subnormal numbers count as 0. float64 arrays are left to `direct`.
References: Georganas et al., arXiv 1808.05567; Kalamkar et al., arXiv 1905.12322.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable

import numpy as np

from ... import bf16, checks, machine
from ...engine.correlate import geometry_of, limit
from ...engine.filters import all_taps
from ...engine.words import weight_packer
from . import _phases, direct
from ._bfloat16_correlate import correlation, share_inside
from ._bfloat16_gradient import weight_gradient
from .problem import Conv2dProblem

PRECISION = "medium"
ROUNDOFF = bf16.ROUNDOFF  # of each factor: what bounds of the error count with in place of the dtype's
ERROR_GROWTH = 2.0**15  # over float32: a sum of one product, which is allowed 5 roundings of 2**-24, has two of 2**-8


def refuses(problem: Conv2dProblem) -> str | None:
    """As `direct`, and the instruction must be there."""
    if problem.groups != 1:
        return "groups is not 1"
    return direct.refuses(problem) or bf16.unavailable()


def cost(problem: Conv2dProblem, direction: str, packed: bool = False) -> float:
    """Return what `direct` costs, at the speed of the instruction; a term without a partner is paired with 0.

    Where the weights are `packed`, no time goes to taps outside of the image.
    """
    p = problem
    terms = {"forward": p.C, "backward_input": p.K, "backward_weight": p.N * p.P}[direction]
    paired = direct.cost(problem, direction, packed) / bf16.speed() * (terms + terms % 2) / max(terms, 1)
    return paired * share_inside(p.P, p.R, p.stride_h, p.top, p.H) * share_inside(p.Q, p.S, p.stride_w, p.left, p.W) if packed else paired


def forward(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Correlate x with the weights, pairs of input channels a word; the accumulators start from the bias."""
    if x.dtype == np.float64:
        return direct.forward(problem, x, weight, bias, y)
    run = _forward(problem, checks.is_channels_last(x), checks.is_channels_last(y), machine.get_threads())
    return run(checks.flat(x), weight.reshape(-1), bias, checks.flat(y))


def backward_input(problem: Conv2dProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Correlate dy with the flipped taps of each phase of the stride, pairs of output channels a word."""
    if dy.dtype == np.float64:
        return direct.backward_input(problem, dy, weight, dx)
    return _phases.backward_input(problem, dy, weight, dx, _backward_input)


def backward_weight(problem: Conv2dProblem, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """Sum x times dy over all output pixels, pairs of images a word."""
    if x.dtype == np.float64:
        return direct.backward_weight(problem, x, dy, dweight)
    run = _backward_weight(problem, checks.is_channels_last(x), checks.is_channels_last(dy), machine.get_threads())
    return run(checks.flat(x), checks.flat(dy), dweight)


def packing(problem: Conv2dProblem, dtype: np.dtype) -> tuple[Hashable, Callable[[np.ndarray], np.ndarray]]:
    """Round blocks of output channels to words."""
    if dtype == np.float64:
        return direct.packing(problem, dtype)
    return None, weight_packer(problem.weight_shape)


def forward_packed(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, relu: int = 0) -> None:
    """Correlate x with packed weights."""
    if x.dtype == np.float64:
        return direct.forward_packed(problem, x, weight, bias, y, relu)
    run = _forward(problem, checks.is_channels_last(x), checks.is_channels_last(y), machine.get_threads(), True, relu > 0)
    run(checks.flat(x), weight, bias, checks.flat(y))
    return limit(checks.flat(y), relu) if relu == 2 else None


@functools.lru_cache(maxsize=1024)
def _forward(p: Conv2dProblem, x_last: bool, y_last: bool, threads: int, packed: bool = False, relu: bool = False) -> Callable[..., None]:
    sizes = p.R, p.S, p.stride_h, p.stride_w, p.top, p.left
    geometry = geometry_of(sizes, (p.input_shape, x_last), (p.output_shape, y_last), p.groups, relu)
    return correlation(geometry, all_taps(p.weight_shape, p.groups), packed)


@functools.lru_cache(maxsize=1024)
def _backward_input(p: Conv2dProblem, dy_last: bool, dx_last: bool, threads: int) -> _phases.Runs:
    sizes = p.R, p.S, p.stride_h, p.stride_w, p.top, p.left
    geometry = geometry_of(sizes, (p.input_shape, dx_last), (p.output_shape, dy_last), p.groups)
    return _phases.correlations(p, geometry, correlation)


@functools.lru_cache(maxsize=1024)
def _backward_weight(p: Conv2dProblem, x_last: bool, dy_last: bool, threads: int) -> Callable[..., None]:
    return weight_gradient(p, x_last, dy_last)
