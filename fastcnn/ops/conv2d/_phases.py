"""Backward-input in bfloat16: a correlation per phase of the stride, but where zeros would meet infinite weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks, machine
from ...engine.phases import phases_of
from . import im2col
from .problem import Conv2dProblem

Runs = tuple[list[Callable[..., None]], bool]


def correlations(p: Conv2dProblem, geometry: Any, correlation: Callable[..., Callable[..., None]]) -> Runs:
    """Return a correlation per phase of the stride of a convolution's `geometry`, and whether together they write every pixel."""
    runs = [correlation(phase.geometry, phase.filters) for phase in phases_of(geometry, p.weight_shape)]
    return runs, p.stride_h <= p.R and p.stride_w <= p.S


def backward_input(p: Conv2dProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray, prepared: Callable[..., Runs]) -> None:
    """Run the `correlations` that `prepared` returns for the problem, whether dy and dx are channels-last, and the threads."""
    # The zeros around dy times Inf are NaN; im2col has no such products. Whichever is smaller tells: the weight, or the result.
    before = weight.size <= dx.size
    if before and not np.isfinite(weight.sum()):
        return im2col.backward_input(p, dy, weight, dx)
    phases, complete = prepared(p, checks.is_channels_last(dy), checks.is_channels_last(dx), machine.get_threads())
    if not complete:
        dx[...] = 0
    for run in phases:
        run(checks.flat(dy), weight.reshape(-1), None, checks.flat(dx))
    if not before and not np.isfinite(dx.sum()):
        im2col.backward_input(p, dy, weight, dx)
    return None
