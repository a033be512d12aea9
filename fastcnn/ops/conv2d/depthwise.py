"""Depthwise convolution: every channel has filters of its own, so there is nothing to sum over channels and little to compute.

A 3x3 layer makes 18 FLOPs of every value it reads; what counts is to load each value once, and in an order that the hardware foresees. So
tiles keep some outputs in registers and load each input once for all its taps: blocks of pixels (`_depthwise_block.py`) or runs of pixels
or rows (`_depthwise_tile.py`). Images stay in the memory order they come in: channels-last ones fill vectors with channels, planes with
columns. `_depthwise.py` chooses.

Padding is never stored: what lies outside of the image counts as zeros, which are multiplied as in the reference (0 * Inf is NaN).
Backward-input gathers: the tile lies on dx, and takes from dy exactly the taps that the stride lets meet, so one pass serves any stride.

Rare cases reach the same kernels by a copy: several filters per channel (channels repeated), and planes whose stride or dilation does not
fit lanes of columns (converted to channels-last).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable

import numpy as np

from ... import machine
from ...machine import tiles_available
from . import im2col
from ._depthwise import are_planes, correlate, correlation, is_looped, packed, planes_refuse, weight_gradient
from .problem import Conv2dProblem

WARNS = False  # what may, says so itself


def refuses(problem: Conv2dProblem) -> str | None:
    """One input channel per group only."""
    if problem.groups != problem.C or problem.C == 1:
        return (
            f"groups is {problem.groups}, not the number of input channels, {problem.C}" if problem.C > 1 else "there is one channel only"
        )
    if max(problem.P * problem.stride_h, problem.Q * problem.stride_w) > 2**24:
        return "its rows are absurdly long with their padding"
    return tiles_available()


def cost(problem: Conv2dProblem, direction: str, packed: bool = False) -> float:
    """Estimate a pass of the taps over the output, half of whose time goes to memory."""
    p = problem
    return 2.0 * p.N * p.P * p.Q * p.K * p.R * p.S / machine.lanes(4)


def forward(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Slide over x; the accumulators start from the bias."""
    forward_packed(problem, x, weight, bias, y)


def packing(problem: Conv2dProblem, dtype: np.dtype) -> tuple[Hashable, Callable[[np.ndarray], np.ndarray]]:
    """Put the channels of each tap next to each other."""
    return None, lambda weight: packed(weight.reshape(problem.weight_shape))


def forward_packed(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, relu: int = 0) -> None:
    """Slide over x, with weights as they are or packed."""
    p, may_be_planes = _one_filter_each(problem)
    planes = may_be_planes and are_planes(y)
    out = y if planes == are_planes(y) else _empty(y.shape, y.dtype, planes)
    correlate(p, _ordered(_repeated(problem, x), planes), weight, bias, out, planes, transposed=False, relu=relu)
    if out is not y:
        y[...] = out


def packed_plan(
    problem: Conv2dProblem, channels_last: tuple[bool, bool], dtype: np.dtype, relu: int, residual: bool
) -> Callable[..., None] | None:
    """Return `forward_packed` for arrays of known memory, which must be channels-last."""
    if residual or not all(channels_last) or problem.K != problem.C:
        return None
    return correlation(problem, dtype, relu)


def backward_input(problem: Conv2dProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Slide over dy from below and from the right."""
    if not _is_finite(weight):  # the zeros around dy times Inf are NaN; im2col has no such products
        with np.errstate(over="ignore", invalid="ignore"):
            return im2col.backward_input(problem, dy, weight, dx)
    p, may_be_planes = _one_filter_each(problem)
    if max(p.stride_h, p.stride_w) > 1 and (is_looped(p) or p.dilation_h > 1):
        p, dy = _without_stride(p, dy)
        may_be_planes = not planes_refuse(p)
    multiplier = problem.K // problem.C
    planes = may_be_planes and are_planes(dx)
    out = dx
    if multiplier > 1 or planes != are_planes(dx):
        out = _empty(p.input_shape, dx.dtype, planes)
    correlate(p, _ordered(dy, planes), weight, np.zeros(p.C, dx.dtype), out, planes, transposed=True)
    if out is not dx:
        with np.errstate(over="ignore", invalid="ignore"):
            dx[...] = out.reshape(p.N, problem.C, multiplier, p.H, p.W).sum(axis=2) if multiplier > 1 else out
    return None


def backward_weight(problem: Conv2dProblem, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """Sum x times dy over all output pixels, channel by channel."""
    p, may_be_planes = _one_filter_each(problem)
    planes = may_be_planes and are_planes(x)
    weight_gradient(p, _ordered(_repeated(problem, x), planes), _ordered(dy, planes), dweight, planes)


@functools.lru_cache(256)
def _one_filter_each(p: Conv2dProblem) -> tuple[Conv2dProblem, bool]:
    """Return the problem with channels repeated for every filter, and whether it can be computed on planes."""
    p = p._replace(C=p.K, groups=p.K)
    return p, not planes_refuse(p)


def _is_finite(weight: np.ndarray) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(np.add.reduce(weight.reshape(-1)))


def _repeated(p: Conv2dProblem, x: np.ndarray) -> np.ndarray:
    return x if p.K == p.C else np.repeat(x, p.K // p.C, axis=1)


def _empty(shape: tuple[int, ...], dtype: np.dtype, planes: bool) -> np.ndarray:
    N, C, H, W = shape
    return np.empty(shape, dtype) if planes else np.empty((N, H, W, C), dtype).transpose(0, 3, 1, 2)


def _ordered(image: np.ndarray, planes: bool) -> np.ndarray:
    if planes:
        return np.ascontiguousarray(image)
    return np.ascontiguousarray(image.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def _without_stride(p: Conv2dProblem, dy: np.ndarray) -> tuple[Conv2dProblem, np.ndarray]:
    """Return dy with zeros between its pixels, and the problem of stride 1 that it belongs to."""
    P, Q = (p.P - 1) * p.stride_h + 1, (p.Q - 1) * p.stride_w + 1
    spread = np.zeros((p.N, p.K, P, Q), dy.dtype)
    spread[:, :, :: p.stride_h, :: p.stride_w] = dy
    return p._replace(stride_h=1, stride_w=1), spread
