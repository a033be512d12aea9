"""The updates of Adadelta, Adamax and NAdam; written as those of `_kernels`, and taking what they take."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..jit import kernel
from ..simd import array_at
from ._kernels import L1


@functools.cache
def adadelta(dtype: np.dtype, decay: bool, lasso: bool) -> Any:
    """Return the kernel of Adadelta; numbers: lr, weight decay, rho, 1 - rho, eps."""
    at, real, size = array_at(dtype), dtype.type, dtype.itemsize

    @kernel(specialisation=(dtype.str, decay, lasso))
    def update(job, jobs, params, grads, numbers, squares, deltas):
        segment, first, count, start = jobs[job]
        if grads[segment] != 0:
            p, g = at(params[segment] + first * size, count), at(grads[segment] + first * size, count)
            s, moved = squares[start : start + count], deltas[start : start + count]
            row = numbers[segment % len(numbers)]
            lr, wd, keep, new, eps = real(row[0]), real(row[1]), real(row[2]), real(row[3]), real(row[4])
            l1, zero = real(row[L1]), real(0)
            for i in range(count):
                d = g[i]
                if decay:
                    d += wd * p[i]
                if lasso:
                    d += l1 if p[i] > zero else -l1 if p[i] < zero else zero
                square = keep * s[i] + new * (d * d)
                s[i] = square
                d *= math.sqrt(moved[i] + eps) / math.sqrt(square + eps)
                moved[i] = keep * moved[i] + new * (d * d)
                p[i] -= lr * d

    return update


@functools.cache
def adamax(dtype: np.dtype, decay: bool, lasso: bool) -> Any:
    """Return the kernel of Adamax; numbers: lr / (1 - beta1^t), weight decay, beta1, 1 - beta1, beta2, eps."""
    at, real, size = array_at(dtype), dtype.type, dtype.itemsize

    @kernel(specialisation=(dtype.str, decay, lasso))
    def update(job, jobs, params, grads, numbers, first_moment, largest):
        segment, first, count, start = jobs[job]
        if grads[segment] != 0:
            p, g = at(params[segment] + first * size, count), at(grads[segment] + first * size, count)
            m, top = first_moment[start : start + count], largest[start : start + count]
            row = numbers[segment % len(numbers)]
            lr, wd, one, new, two, eps = real(row[0]), real(row[1]), real(row[2]), real(row[3]), real(row[4]), real(row[5])
            l1, zero = real(row[L1]), real(0)
            for i in range(count):
                d = g[i]
                if decay:
                    d += wd * p[i]
                if lasso:
                    d += l1 if p[i] > zero else -l1 if p[i] < zero else zero
                mean = one * m[i] + new * d
                before, now = two * top[i], abs(d) + eps
                norm = before if (before > now) | (before != before) else now  # NaN stays
                m[i], top[i] = mean, norm
                p[i] -= lr * mean / norm

    return update


@functools.cache
def nadam(dtype: np.dtype, decay: bool, lasso: bool, decoupled: bool) -> Any:
    """Return the kernel of NAdam.

    Numbers: the weight of the mean, with lr and both corrections; eps, beta1, 1 - beta1, beta2, 1 - beta2, the decay and `L1` as of Adam;
    and behind them the weight of the gradient.
    """
    at, real, size = array_at(dtype), dtype.type, dtype.itemsize

    @kernel(specialisation=(dtype.str, decay, lasso, decoupled))
    def update(job, jobs, params, grads, numbers, first_moment, second_moment):
        segment, first, count, start = jobs[job]
        if grads[segment] != 0:
            p, g = at(params[segment] + first * size, count), at(grads[segment] + first * size, count)
            m, v = first_moment[start : start + count], second_moment[start : start + count]
            row = numbers[segment % len(numbers)]
            of_mean, eps, wd, l1, of_gradient = real(row[0]), real(row[1]), real(row[6]), real(row[L1]), real(row[8])
            one, new_one, two, new_two = real(row[2]), real(row[3]), real(row[4]), real(row[5])
            zero = real(0)
            for i in range(count):
                w, d = p[i], g[i]
                if lasso:
                    d += l1 if w > zero else -l1 if w < zero else zero
                if decay:
                    if decoupled:
                        w *= wd
                    else:
                        d += wd * w
                mean = one * m[i] + new_one * d
                square = two * v[i] + new_two * (d * d)
                m[i], v[i] = mean, square
                p[i] = w - (of_gradient * d + of_mean * mean) / (math.sqrt(square) + eps)

    return update
