"""Direct convolution whose tiles raise their results to 0 as they store them: a ReLU for one instruction a vector."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ... import checks, machine
from ...engine.correlate import correlation, geometry_of
from ...engine.filters import all_taps
from ..conv2d import OPERATION, Conv2dProblem

WARNS = False
_CONVOLUTION = OPERATION.variants["direct"]


def refuses(problem: Conv2dProblem) -> str | None:
    """As conv2d's `direct`, whose loops these are."""
    return _CONVOLUTION.refuses(problem, "forward")


def cost(problem: Conv2dProblem, direction: str) -> float:
    """Return what conv2d's `direct` costs."""
    return _CONVOLUTION.cost(problem, direction) or 0.0


def forward(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Correlate x with the weights; the accumulators start from the bias and are stored as max(0, sum)."""
    run = plan(problem, "forward", (checks.is_channels_last(x), checks.is_channels_last(y)), x.dtype)
    run(checks.flat(x), weight.reshape(-1), bias, checks.flat(y))


def plan(problem: Conv2dProblem, direction: str, channels_last: tuple[bool, bool], dtype: np.dtype) -> Callable[..., None]:
    """Return the forward for arrays of known memory."""
    return _forward(problem, *channels_last, dtype, machine.get_threads())


@functools.lru_cache(maxsize=1024)
def _forward(p: Conv2dProblem, x_last: bool, y_last: bool, dtype: np.dtype, threads: int) -> Callable[..., None]:
    sizes = p.R, p.S, p.stride_h, p.stride_w, p.top, p.left
    geometry = geometry_of(sizes, (p.input_shape, x_last), (p.output_shape, y_last), p.groups, relu=True)
    return correlation(geometry, all_taps(p.weight_shape, p.groups), dtype)
