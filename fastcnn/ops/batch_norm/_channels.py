"""What lies between the passes: a few numbers for each channel, in float64, from parts in a fixed order.

All kernels of this operation take the same arguments, and are launched in turn (`jit.in_turn`)::

    (job, geometry, a, b, c, table, parts, weight, bias, first, second, mean, deviation)

geometry            the record of a `Geometry`
a, b, c             flat images: x and y, or dy, x and dx
table               rows for the kernels that pass over images: centre, scale, shift; of a gradient also factor, slope, offset
parts               float64: two sums for each part and channel
weight, bias        (C,) of the images' dtype
first, second       (C,) of the images' dtype: the running statistics, read; or dweight and dbias, written
mean, deviation     (C,) float64: mean and variance, written; or mean and inverse deviation, read
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ...jit import kernel


@kernel
def _repeat(table, row, rows, C, spread):
    """Write the first C values of a row to `spread` columns each, and these to the end of the row."""
    width = table.size // rows
    line = table[row * width : (row + 1) * width]
    if spread > 1:
        for c in range(C - 1, -1, -1):  # from behind: what is written was read before
            value = line[c]
            for s in range(spread):
                line[c * spread + s] = value
    size = C * spread
    source = line[:size]
    for first in range(size, width, size):
        target = line[first : first + size]
        for i in range(size):
            target[i] = source[i]


@kernel
def _fill(table, rows, spread, mean, scale, bias):
    """Write centre, scale and shift: the mean rounded to the images' dtype, so that x - centre is exact where it matters, near the mean.

    What was rounded off is in the shift.
    """
    C, width = mean.size, table.size // rows
    centres, scales, shifts = table[:C], table[width : width + C], table[2 * width : 2 * width + C]
    for c in range(C):
        centres[c], scales[c] = mean[c], scale[c]
        shifts[c] = bias[c] + (np.float64(centres[c]) - mean[c]) * scale[c]
    for row in range(3):
        _repeat(table, row, rows, C, spread)


@kernel
def _pool(geometry, parts, mean, variance):
    """Write mean and biased variance of every channel, from the means and the sums of squared deviations of its parts."""
    g = geometry[0]
    C = mean.size
    spread, step = g.C // C, g.part * g.area
    last, pixels = g.N * g.area - (g.parts - 1) * step, g.N * g.area * (g.C // C)
    for c in range(C):
        mean[c], variance[c] = 0, 0
    for part in range(g.parts):
        count = np.float64(last if part == g.parts - 1 else step)
        means = parts[2 * part * g.C : (2 * part + 1) * g.C]
        for c in range(C):
            for s in range(spread):
                mean[c] += count / pixels * means[c * spread + s]
    for part in range(g.parts):
        count = np.float64(last if part == g.parts - 1 else step)
        means, squares = parts[2 * part * g.C : (2 * part + 1) * g.C], parts[(2 * part + 1) * g.C : (2 * part + 2) * g.C]
        for c in range(C):
            for s in range(spread):
                distance = means[c * spread + s] - mean[c]
                variance[c] += distance * distance * count + squares[c * spread + s]
    for c in range(C):
        variance[c] /= pixels


@functools.cache
def prepare(training: bool) -> Any:
    """Return the kernel between the passes of a forward: mean and variance, and the table."""

    @kernel(specialisation=("prepare", training))
    def prepared(job, geometry, x, y, unused_c, table, parts, weight, bias, first, second, mean, deviation):
        g = geometry[0]
        C = mean.size
        if training:
            _pool(geometry, parts, mean, deviation)
        else:
            for c in range(C):
                mean[c], deviation[c] = first[c], second[c]
        scale = np.empty(C, np.float64)
        for c in range(C):
            scale[c] = weight[c] / np.sqrt(deviation[c] + g.eps)
        _fill(table, 3, g.C // C, mean, scale, bias)

    return prepared


@kernel
def restore(job, geometry, dy, x, dx, table, parts, weight, bias, first, second, mean, deviation):
    """Write the forward's rows of a gradient's table."""
    C = mean.size
    scale = np.empty(C, np.float64)
    for c in range(C):
        scale[c] = weight[c] * deviation[c]
    _fill(table, 6, geometry[0].C // C, mean, scale, bias)


@kernel
def combine(job, geometry, dy, x, dx, table, parts, weight, bias, first, second, mean, deviation):
    """Write dweight and dbias, and factor, slope and offset of dx."""
    g = geometry[0]
    C, width = mean.size, table.size // 6
    spread, pixels = g.C // C, g.N * g.area * (g.C // C)
    sums = np.empty(2 * C, np.float64)
    total, product = sums[:C], sums[C:]
    for c in range(C):
        total[c], product[c] = 0, 0
    for part in range(g.parts):
        errors, products = parts[2 * part * g.C : (2 * part + 1) * g.C], parts[(2 * part + 1) * g.C : (2 * part + 2) * g.C]
        for c in range(C):
            for s in range(spread):
                total[c] += errors[c * spread + s]
                product[c] += products[c * spread + s]
    for c in range(C):
        away = np.float64(table[c * spread]) - mean[c]  # the kernel's centre is rounded to the images' dtype
        normal = (product[c] + away * total[c]) * deviation[c]
        scale = weight[c] * deviation[c]
        slope = normal * deviation[c] * scale / -pixels
        first[c], second[c] = normal, total[c]
        table[3 * width + c], table[4 * width + c] = scale, slope
        table[5 * width + c] = away * slope - scale * total[c] / pixels
    for row in range(3, 6):
        _repeat(table, row, 6, C, spread)


@kernel
def finish(job, numbers, running_mean, running_var, mean, variance, inverse):
    """Write 1 / sqrt(variance + eps), and move the running statistics, where there are any, towards the batch's.

    `numbers` are eps, what the running statistics keep, and the shares of mean and variance that they take over.
    """
    eps, kept, mean_share, variance_share = numbers[0], numbers[1], numbers[2], numbers[3]
    for c in range(mean.size):
        inverse[c] = 1 / np.sqrt(variance[c] + eps)
    for c in range(running_mean.size):
        running_mean[c] = kept * running_mean[c] + mean_share * mean[c]
    for c in range(running_var.size):
        running_var[c] = kept * running_var[c] + variance_share * variance[c]
