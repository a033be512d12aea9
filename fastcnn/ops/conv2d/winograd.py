"""Winograd's minimal filtering for 3 x 3 kernels of stride 1: a quarter of the multiplications (F(4 x 4)), or four ninths (F(2 x 2)).

A convolution of small tiles becomes one product per element of their transforms, so that tiles and channels form matrix products; see
`_winograd` for the loops and `_winograd_matrices` for the algebra. Backward-input is a correlation with flipped taps, hence the same code.

Products of transforms are larger than what they cancel to: the relative error (Frobenius) is 1-2e-6 in float32 where direct convolution
has 3-6e-7, and an infinity or NaN spreads over its tile of outputs. ``precision="highest"`` never chooses it.
"""

from __future__ import annotations

import numpy as np

from ... import checks
from ...machine import tiles_available
from . import _winograd
from ._correlate import geometry_of
from ._filters import Taps, all_taps, flipped
from ._winograd_matrices import TAPS
from .problem import Conv2dProblem

# F(4 x 4) computes on 36 numbers what its matrices cancel to 16: its rounding errors are this many times a direct convolution's.
ERROR_GROWTH = 100


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


def forward(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Correlate x with the weights."""
    p = problem
    geometry = geometry_of((p.K, TAPS, TAPS, 1, 1, p.top, p.left), x, y)
    _winograd.correlate(
        geometry, checks.flat(x), all_taps(weight.shape), weight, bias, checks.flat(y), _winograd.output_tile(geometry, x.itemsize)
    )


def backward_input(problem: Conv2dProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Correlate dy with the flipped weights."""
    p = problem
    taps = Taps(0, 1, TAPS)
    geometry = geometry_of((p.C, TAPS, TAPS, 1, 1, TAPS - 1 - p.top, TAPS - 1 - p.left), dy, dx)
    filters = flipped(weight.shape, taps, taps)
    _winograd.correlate(geometry, checks.flat(dy), filters, weight, None, checks.flat(dx), _winograd.output_tile(geometry, dy.itemsize))
