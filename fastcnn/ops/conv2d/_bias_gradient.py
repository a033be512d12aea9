"""The gradient of a per-channel bias: a sum over images and pixels."""

from __future__ import annotations

import numpy as np

from ... import checks
from ...engine.column_sums import column_sums


def sum_over_pixels(dy: np.ndarray) -> np.ndarray:
    """Return the sums (K,) of a `checks.dense` array (N, K, P, Q)."""
    N, K, P, Q = dy.shape
    total = np.empty(K, dy.dtype)
    if checks.is_channels_last(dy):
        column_sums((N * P * Q, K), dy.dtype)(checks.flat(dy), total)
    else:  # NumPy is fast along contiguous planes
        with np.errstate(over="ignore", invalid="ignore"):
            dy.sum(axis=(2, 3)).sum(axis=0, out=total)
    return total
