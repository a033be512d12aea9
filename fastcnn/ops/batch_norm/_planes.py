"""Kernels for NCHW images: a run of N * C planes, each of contiguous values of one channel.

They take what `_channels` lists. Rows of `table` are C long; sums are of one channel of `part` images a job.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ...jit import kernel
from ._sums import add_moments, add_products, add_products_where_positive, fold

_SAMPLES = 16


@kernel
def moments(job, geometry, x, unused_b, unused_c, table, parts, weight, bias, first, second, mean, deviation):
    """Write mean and sum of squared deviations of a channel of a part; see `_pixels.moments`."""
    g = geometry[0]
    C, area, width = g.C, g.area, g.group
    c, image = job % C, job // C * g.part
    images = min(g.part, g.N - image)
    count = images * area
    rows = np.empty(3 * width, x.dtype)
    pivot, total, square = rows[:width], rows[width : 2 * width], rows[2 * width :]
    step = (count + _SAMPLES - 1) // _SAMPLES
    middle, squares = 0.0, 0.0
    for p in range(0, count, step):
        middle += x[((image + p // area) * C + c) * area + p % area]
    middle /= (count + step - 1) // step
    for _ in range(2):
        for i in range(width):
            pivot[i], total[i], square[i] = middle, 0, 0
        add_moments(x, (image * C + c) * area, area, C * area, images, pivot, total, square)
        fold(total, width)  # a power of two
        fold(square, width)
        distance = np.float64(total[0]) / count
        rest = square[0] - total[0] * distance
        far = distance * distance * count > 4 * rest
        middle, squares = pivot[0] + distance, 0.0 if rest < 0 else rest
        if not far:
            break
    at = 2 * (job // C) * C + c
    parts[at], parts[at + C] = middle, squares


@functools.cache
def normalise(relu: bool) -> Any:
    """Return the kernel of `_pixels.normalise` for planes; jobs are runs of neighbouring planes, from the end."""

    @kernel(specialisation=("normalise", relu))
    def normalised(job, geometry, x, y, unused_c, table, parts, weight, bias, first, second, mean, deviation):
        g = geometry[0]
        zero = x.dtype.type(0)
        C, area = g.C, g.area
        start = (g.runs - 1 - job) * g.run
        for plane in range(start, min(start + g.run, g.N * C)):
            c, begin = plane % C, plane * area
            centre, scale, shift = table[c], table[C + c], table[2 * C + c]
            source, target = x[begin : begin + area], y[begin : begin + area]
            for i in range(source.size):
                value = (source[i] - centre) * scale + shift
                if relu:
                    value = zero if value <= zero else value
                target[i] = value

    return normalised


@functools.cache
def products(relu: bool) -> Any:
    """Return the kernel of `_pixels.products` for planes."""

    @kernel(specialisation=("products", relu))
    def summed(job, geometry, dy, x, unused_c, table, parts, weight, bias, first, second, mean, deviation):
        g = geometry[0]
        C, area, width = g.C, g.area, g.group
        c, image = job % C, job // C * g.part
        rows = np.empty(5 * width, x.dtype)
        total, product = rows[:width], rows[width : 2 * width]
        centre, scale, shift = rows[2 * width : 3 * width], rows[3 * width : 4 * width], rows[4 * width :]
        for i in range(width):
            total[i], product[i] = 0, 0
            centre[i], scale[i], shift[i] = table[c], table[C + c], table[2 * C + c]
        begin, images = (image * C + c) * area, min(g.part, g.N - image)
        if relu:
            add_products_where_positive(dy, x, begin, area, C * area, images, centre, scale, shift, total, product)
        else:
            add_products(dy, x, begin, area, C * area, images, centre, total, product)
        fold(total, width)
        fold(product, width)
        at = 2 * (job // C) * C + c
        parts[at], parts[at + C] = total[0], product[0]

    return summed


@functools.cache
def gradient(relu: bool, training: bool) -> Any:
    """Return the kernel of `_pixels.gradient` for planes."""

    @kernel(specialisation=("gradient", relu, training))
    def input_gradient(job, geometry, dy, x, dx, table, parts, weight, bias, first, second, mean, deviation):
        g = geometry[0]
        zero = x.dtype.type(0)
        C, area = g.C, g.area
        start = (g.runs - 1 - job) * g.run
        for plane in range(start, min(start + g.run, g.N * C)):
            c, begin = plane % C, plane * area
            centre, scale, shift = table[c], table[C + c], table[2 * C + c]
            factor, slope, offset = table[3 * C + c], table[4 * C + c], table[5 * C + c]
            errors, source, target = dy[begin : begin + area], x[begin : begin + area], dx[begin : begin + area]
            for i in range(target.size):
                error = errors[i]
                if relu or training:
                    distance = source[i] - centre
                if relu:
                    error = zero if distance * scale + shift <= zero else error
                if training:
                    target[i] = error * factor + (distance * slope + offset)
                else:
                    target[i] = error * factor

    return input_gradient
