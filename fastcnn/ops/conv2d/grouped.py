"""Groups of 2 or 4 channels over channels-last images: too few to fill a vector, so a vector holds several groups.

The blocks of depthwise convolution serve. Each lane is an output channel, and meets the input channels of its group one after the other, by
shuffles of one loaded vector: `direct`, which computes group by group, leaves most of each vector idle, and is 3 to 10 times as slow. With
groups of 8 the weights of a kernel row no longer fit the registers; `direct` has faster gradients then. Planes go to `direct`.
"""

from __future__ import annotations

import math

import numpy as np

from ... import checks, machine
from . import direct
from ._depthwise import correlate, fits_blocks, weight_gradient
from .problem import Conv2dProblem

WARNS = False


def refuses(problem: Conv2dProblem) -> str | None:
    """As many filters as channels in a group, a few taps next to each other."""
    p = problem
    if p.K != p.C or p.C // p.groups not in (2, 4):
        return f"groups are of {p.C // p.groups} channels and {p.K // p.groups} filters, not of 2 or 4 of both"
    if not fits_blocks(p):
        return "the kernel has more than 9 taps, or a dilation, or its stride is beyond 2"
    return direct.refuses(p)


def cost(problem: Conv2dProblem, direction: str) -> float:
    """Estimate the pass of the taps, at about the speed of other convolutions."""
    p = problem
    return 1.0 * p.N * p.P * p.Q * p.K * p.R * p.S * (p.C // p.groups) / machine.lanes(4)


def forward(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Compute blocks of pixels; the accumulators start from the bias."""
    if not _are_channels_last(x, y):
        return direct.forward(problem, x, weight, bias, y)
    return correlate(problem, x, weight, bias, y, planes=False, transposed=False)


def backward_input(problem: Conv2dProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Gather from dy, with filters and channels of a group exchanged."""
    if not (_are_channels_last(dy, dx) and _is_finite(weight)):  # the zeros around dy times Inf are NaN
        return direct.backward_input(problem, dy, weight, dx)
    p = problem
    size = p.C // p.groups
    exchanged = weight.reshape(p.groups, size, size, -1).transpose(0, 2, 1, 3).reshape(weight.shape)
    return correlate(p, dy, exchanged, np.zeros(p.C, dx.dtype), dx, planes=False, transposed=True)


def backward_weight(problem: Conv2dProblem, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """Sum x times dy over all output pixels, for the channels of each group in turn."""
    if not _are_channels_last(x, dy):
        return direct.backward_weight(problem, x, dy, dweight)
    return weight_gradient(problem, x, dy, dweight, planes=False)


def _are_channels_last(*images: np.ndarray) -> bool:
    return all(map(checks.is_channels_last, images))


def _is_finite(weight: np.ndarray) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(np.add.reduce(weight.reshape(-1)))
