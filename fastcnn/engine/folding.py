"""Sums and maxima of a row in lanes side by side: vector code, which a loop over one sum is not, as it may not be reordered."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..jit import kernel

LANES = 64  # sums side by side: eight vectors, whose additions do not wait for one another
_SHORT = 32  # up to so many values a plain loop is as fast
_PIECE = 4096  # elements summed in the working precision; the sums of pieces are added up in float64


@functools.cache
def folding(dtype: str, maximum: bool) -> Any:
    """Return a kernel ``f(row, lanes)``: the sum, as a float64, or the maximum of a row; NaN where one is among it.

    `lanes` is room for `LANES` elements. Without values the sum is 0, the maximum minus infinity.
    """
    T = np.dtype(dtype).type
    start = T(-math.inf if maximum else 0)
    first_result = start if maximum else np.float64(0)

    @kernel(specialisation=(dtype, maximum), inline="always")
    def merged(a, b):
        if maximum:
            return b if b > a or b != b else a
        return a + b

    @kernel(specialisation=(dtype, maximum))
    def fold(row, lanes):
        result = first_result
        if row.size <= _SHORT:
            for i in range(row.size):
                result = merged(result, row[i])
            return result
        for first in range(0, row.size, _PIECE):
            piece = row[first : min(row.size, first + _PIECE)]
            blocks = piece.size // LANES
            for j in range(LANES):
                lanes[j] = start
            for b in range(blocks):
                block = piece[b * LANES : (b + 1) * LANES]
                for j in range(LANES):
                    lanes[j] = merged(lanes[j], block[j])
            rest = piece[blocks * LANES :]
            for j in range(rest.size):
                lanes[j] = merged(lanes[j], rest[j])
            half, quarter = lanes[LANES // 2 :], lanes[LANES // 4 :]
            for j in range(LANES // 2):
                lanes[j] = merged(lanes[j], half[j])
            for j in range(LANES // 4):
                lanes[j] = merged(lanes[j], quarter[j])
            for j in range(LANES // 4):
                result = merged(result, lanes[j])
        return result

    return fold


@functools.cache
def pair_folding(dtype: str) -> Any:
    """Return a kernel ``f(a, b, near, lanes)``: the sums, as float64, of a - near and of (a - near)(b - near) in one pass.

    `lanes` is room for 2 `LANES` elements.
    """
    zero = np.dtype(dtype).type(0)

    @kernel(specialisation=dtype)
    def fold(a, b, near, lanes):
        sums, products = np.float64(0), np.float64(0)
        if a.size <= _SHORT:
            for i in range(a.size):
                sums += a[i] - near
                products += (a[i] - near) * (b[i] - near)
            return sums, products
        ones, twos = lanes[:LANES], lanes[LANES:]
        for first in range(0, a.size, _PIECE):
            last = min(a.size, first + _PIECE)
            piece, other = a[first:last], b[first:last]
            blocks = piece.size // LANES
            for j in range(LANES):
                ones[j] = zero
                twos[j] = zero
            for n in range(blocks):
                block, opposite = piece[n * LANES : (n + 1) * LANES], other[n * LANES : (n + 1) * LANES]
                for j in range(LANES):
                    ones[j] += block[j] - near
                    twos[j] += (block[j] - near) * (opposite[j] - near)
            rest, opposite = piece[blocks * LANES :], other[blocks * LANES :]
            for j in range(rest.size):
                ones[j] += rest[j] - near
                twos[j] += (rest[j] - near) * (opposite[j] - near)
            for part in (ones, twos):
                half, quarter = part[LANES // 2 :], part[LANES // 4 :]
                for j in range(LANES // 2):
                    part[j] += half[j]
                for j in range(LANES // 4):
                    part[j] += quarter[j]
            for j in range(LANES // 4):
                sums += ones[j]
                products += twos[j]
        return sums, products

    return fold
