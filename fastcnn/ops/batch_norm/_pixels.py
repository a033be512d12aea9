"""Kernels for channels-last images: a run of pixels, each of C neighbouring values.

All kernels take the arguments that `_channels` lists, so that one compiled loop over jobs serves them. A row of `table` is `group`
repetitions of the channels here; `parts` has two rows of C sums for each job.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ...jit import kernel
from ._sums import add_moments, add_products, add_products_where_positive, fold

_SAMPLES = 16


@kernel
def _add_up(sums, group, total):
    """Write the sum over the repetitions of the channels in `sums` to `total` (C, float64)."""
    C = total.size
    left = fold(sums, group)
    for c in range(C):
        total[c] = sums[c]
    for j in range(1, left):
        repetition = sums[j * C : (j + 1) * C]
        for c in range(C):
            total[c] += repetition[c]


@kernel
def moments(job, geometry, x, unused_b, unused_c, table, parts, weight, bias, first, second, mean, deviation):
    """Write mean and sum of squared deviations of a part's channels.

    Sums are of x - pivot, at first the rounded mean of 16 pixels from all over the part. Should a pivot turn out to lie two deviations or
    more from its mean, where squares would lose digits, they are summed once more from the mean (Chan, Golub & LeVeque, "Algorithms for
    Computing the Sample Variance", 1983, section 3).
    """
    g = geometry[0]
    C, group = g.C, g.group
    width = group * C
    begin = job * g.part
    count = min(g.part, g.N - begin)
    middle, squares = parts[2 * job * C : (2 * job + 1) * C], parts[(2 * job + 1) * C : (2 * job + 2) * C]
    rows = np.empty(3 * width, x.dtype)
    pivot, total, square = rows[:width], rows[width : 2 * width], rows[2 * width :]
    step = (count + _SAMPLES - 1) // _SAMPLES
    samples = (count + step - 1) // step
    for c in range(C):
        middle[c] = 0
    for p in range(begin, begin + count, step):
        pixel = x[p * C : (p + 1) * C]
        for c in range(C):
            middle[c] += pixel[c] / samples
    for _ in range(2):
        for j in range(group):
            repetition = pivot[j * C : (j + 1) * C]
            for c in range(C):
                repetition[c] = middle[c]
        for i in range(width):
            total[i], square[i] = 0, 0
        add_moments(x, begin * C, count * C, 0, 1, pivot, total, square)
        _add_up(total, group, middle)
        _add_up(square, group, squares)
        far = 0
        for c in range(C):
            distance = middle[c] / count
            rest = squares[c] - middle[c] * distance
            far += distance * distance * count > 4 * rest
            squares[c] = 0 if rest < 0 else rest
            middle[c] = pivot[c] + distance
        if far == 0:
            break


@functools.cache
def normalise(relu: bool) -> Any:
    """Return the kernel y = (x - centre) * scale + shift, raised to 0 with `relu`."""

    @kernel(specialisation=("normalise", relu))
    def normalised(job, geometry, x, y, unused_c, table, parts, weight, bias, first, second, mean, deviation):
        g = geometry[0]
        zero = x.dtype.type(0)
        width = g.group * g.C
        # From the end: what the statistics read last still lies in the second cache.
        begin = (g.runs - 1 - job) * g.run * g.C
        last = min(begin + g.run * g.C, x.size)
        centre, scale, shift = table[:width], table[width : 2 * width], table[2 * width : 3 * width]
        for start in range(begin, last, width):
            source, target = x[start : min(start + width, last)], y[start : min(start + width, last)]
            for i in range(source.size):
                value = (source[i] - centre[i]) * scale[i] + shift[i]
                if relu:
                    value = zero if value <= zero else value
                target[i] = value

    return normalised


@functools.cache
def products(relu: bool) -> Any:
    """Return the kernel that writes the sums of dy and of dy * (x - centre) of a part's channels."""

    @kernel(specialisation=("products", relu))
    def summed(job, geometry, dy, x, unused_c, table, parts, weight, bias, first, second, mean, deviation):
        g = geometry[0]
        C, group = g.C, g.group
        width = group * C
        begin = job * g.part * C
        last = min(begin + g.part * C, x.size)
        rows = np.empty(2 * width, x.dtype)
        total, product = rows[:width], rows[width:]
        for i in range(width):
            total[i], product[i] = 0, 0
        centre, scale, shift = table[:width], table[width : 2 * width], table[2 * width : 3 * width]
        if relu:
            add_products_where_positive(dy, x, begin, last - begin, 0, 1, centre, scale, shift, total, product)
        else:
            add_products(dy, x, begin, last - begin, 0, 1, centre, total, product)
        _add_up(total, group, parts[2 * job * C : (2 * job + 1) * C])
        _add_up(product, group, parts[(2 * job + 1) * C : (2 * job + 2) * C])

    return summed


@functools.cache
def gradient(relu: bool, training: bool) -> Any:
    """Return the kernel dx = dy * factor + ((x - centre) * slope + offset); without the bracket in evaluation."""

    @kernel(specialisation=("gradient", relu, training))
    def input_gradient(job, geometry, dy, x, dx, table, parts, weight, bias, first, second, mean, deviation):
        g = geometry[0]
        zero = x.dtype.type(0)
        width = g.group * g.C
        begin = (g.runs - 1 - job) * g.run * g.C
        last = min(begin + g.run * g.C, x.size)
        centre, scale, shift = table[:width], table[width : 2 * width], table[2 * width : 3 * width]
        factor, slope, offset = table[3 * width : 4 * width], table[4 * width : 5 * width], table[5 * width : 6 * width]
        for start in range(begin, last, width):
            end = min(start + width, last)
            errors, source, target = dy[start:end], x[start:end], dx[start:end]
            for i in range(target.size):
                error = errors[i]
                if relu or training:
                    distance = source[i] - centre[i]
                if relu:
                    error = zero if distance * scale[i] + shift[i] <= zero else error
                if training:
                    target[i] = error * factor[i] + (distance * slope[i] + offset[i])
                else:
                    target[i] = error * factor[i]

    return input_gradient
