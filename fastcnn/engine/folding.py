"""Sums and maxima of a row by folding its halves onto each other: vector code, and sums that round as pairwise ones do."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..jit import kernel

_SHORT = 32  # up to so many values a plain loop is as fast


@functools.cache
def folding(dtype: str, maximum: bool) -> Any:
    """Return a kernel ``f(row, scratch)``: the sum, or the maximum, of a row; NaN where one is among it.

    `scratch` has room for half of the row, rounded up. Without values the sum is 0, the maximum minus infinity.
    """
    start = np.dtype(dtype).type(-math.inf if maximum else 0)

    @kernel(specialisation=(dtype, maximum), inline="always")
    def merged(a, b):
        if maximum:
            return b if b > a or b != b else a
        return a + b

    @kernel(specialisation=(dtype, maximum))
    def fold(row, scratch):
        n = row.size
        if n <= _SHORT:
            result = start
            for i in range(n):
                result = merged(result, row[i])
            return result
        part = row
        while n > 1:
            half = (n + 1) // 2
            low, high, target = part[:half], part[half:n], scratch[:half]
            for i in range(high.size):
                target[i] = merged(low[i], high[i])
            if high.size < half:
                target[half - 1] = low[half - 1]
            part, n = target, half
        return part[0]

    return fold
