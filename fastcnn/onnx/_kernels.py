"""Loops for what NumPy has no function for, or would go over memory several times for. Images are channels-last, of floats.

All but `erf` take and return (N, C, H, W) arrays whose memory is contiguous as (N, H, W, C), and trust their arguments.
"""

from __future__ import annotations

import math

import numpy as np

from .. import checks, memory
from ..jit import kernel
from ..window import Axis

_ELEMENTS = 4096  # of a job, where there are no rows


def image(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return a new image."""
    n, c, h, w = shape
    return memory.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def suits(x: np.ndarray) -> bool:
    """Whether an array may be converted to what these functions take."""
    return x.ndim == 4 and x.dtype in checks.FLOATS and x.size > 0


def erf(x: np.ndarray) -> np.ndarray:
    """Return the error function of every element, in the dtype of x."""
    values = checks.contiguous(x if x.dtype in checks.FLOATS else x.astype(np.float32))
    result = np.empty(values.shape, values.dtype)
    _erf.launch(-(-values.size // _ELEMENTS), values.reshape(-1), result.reshape(-1), work=100.0 * values.size)
    return result.astype(x.dtype, copy=False)


@kernel
def _erf(job, x, y):  # type: ignore[no-untyped-def]
    for i in range(job * 4096, min((job + 1) * 4096, x.size)):
        y[i] = math.erf(x[i])


# --- Pooling -----------------------------------------------------------------------------------------------------------

_FIELDS = ("C", "H", "W", "P", "Q", "R", "S", "stride_h", "stride_w", "top", "left", "dilation_h", "dilation_w")
POOL = np.dtype([(name, np.int64) for name in _FIELDS])


def pool_geometry(channels: int, axes: tuple[Axis, ...], output: tuple[int, ...]) -> np.ndarray:
    """Return the record of a pooling that its loops read."""
    v, h = axes
    P, Q = output
    sizes = channels, v.size, h.size, P, Q, v.kernel, h.kernel, v.stride, h.stride, v.before, h.before, v.dilation, h.dilation
    return np.array([sizes], POOL)


def max_pool(geometry: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the maximum of every window; NaN wins. Windows without a pixel are minus infinity."""
    g = geometry[0]
    y = image((len(x), int(g["C"]), int(g["P"]), int(g["Q"])), x.dtype)
    _max_pool.launch(len(x) * int(g["P"]), geometry, checks.flat(x), checks.flat(y), work=8.0 * y.size * int(g["R"]) * int(g["S"]))
    return y


def average_pool(geometry: np.ndarray, x: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the sum of every window times its share, one of `shares` (P, Q)."""
    g = geometry[0]
    y = image((len(x), int(g["C"]), int(g["P"]), int(g["Q"])), x.dtype)
    work = 8.0 * y.size * int(g["R"]) * int(g["S"])
    _average_pool.launch(len(x) * int(g["P"]), geometry, checks.flat(x), shares.reshape(-1), checks.flat(y), work=work)
    return y


@kernel(inline=True)
def _taps_inside(origin, size, taps, dilation):  # type: ignore[no-untyped-def]
    """Return (first, last) of the taps at origin + tap * dilation that lie in an axis of `size`: first <= tap < last."""
    return max(0, -(origin // dilation)), min(taps, (size - 1 - origin) // dilation + 1)


@kernel(inline=True)
def _larger(a, b):  # type: ignore[no-untyped-def]
    return a if (a > b) | (a != a) else b


@kernel
def _max_pool(job, geometry, x, y):  # type: ignore[no-untyped-def]
    """One row of results: three taps of a kernel row at a time; those beyond the last are the last once more."""
    g = geometry[0]
    C, H, W = g.C, g.H, g.W
    n, p = job // g.P, job % g.P
    top = p * g.stride_h - g.top
    first_r, last_r = _taps_inside(top, H, g.R, g.dilation_h)
    for q in range(g.Q):
        left = q * g.stride_w - g.left
        first_s, last_s = _taps_inside(left, W, g.S, g.dilation_w)
        out = (job * g.Q + q) * C
        best = y[out : out + C]
        if first_r >= last_r or first_s >= last_s:
            for c in range(C):
                best[c] = -np.inf
        for r in range(first_r, last_r):
            row = (n * H + top + r * g.dilation_h) * W + left
            for s in range(first_s, last_s, 3):
                i0 = (row + s * g.dilation_w) * C
                i1 = (row + min(s + 1, last_s - 1) * g.dilation_w) * C
                i2 = (row + min(s + 2, last_s - 1) * g.dilation_w) * C
                a, b, d = x[i0 : i0 + C], x[i1 : i1 + C], x[i2 : i2 + C]
                if r == first_r and s == first_s:
                    for c in range(C):
                        best[c] = _larger(_larger(a[c], b[c]), d[c])
                else:
                    for c in range(C):
                        best[c] = _larger(_larger(_larger(a[c], b[c]), d[c]), best[c])


@kernel
def _average_pool(job, geometry, x, shares, y):  # type: ignore[no-untyped-def]
    """One row of results: every tap is added to sums that stay in the L1 cache."""
    g = geometry[0]
    C, H, W = g.C, g.H, g.W
    n, p = job // g.P, job % g.P
    top = p * g.stride_h - g.top
    first_r, last_r = _taps_inside(top, H, g.R, g.dilation_h)
    zero = x.dtype.type(0)
    for q in range(g.Q):
        left = q * g.stride_w - g.left
        first_s, last_s = _taps_inside(left, W, g.S, g.dilation_w)
        out = (job * g.Q + q) * C
        total, share = y[out : out + C], shares[p * g.Q + q]
        for c in range(C):
            total[c] = zero
        for r in range(first_r, last_r):
            row = (n * H + top + r * g.dilation_h) * W + left
            for s in range(first_s, last_s):
                at = (row + s * g.dilation_w) * C
                pixel = x[at : at + C]
                for c in range(C):
                    total[c] += pixel[c]
        for c in range(C):
            total[c] *= share


# --- Channels ----------------------------------------------------------------------------------------------------------


def affine(x: np.ndarray, factor: np.ndarray, shift: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return x * factor + shift per channel, limited to `limits` (from below, from above); NaN passes."""
    y = image(x.shape, x.dtype)
    _affine.launch(len(x) * x.shape[2], checks.flat(x), factor, shift, limits, _row(x), checks.flat(y), work=8.0 * x.size)
    return y


def _row(x: np.ndarray) -> np.ndarray:
    return np.array([x.shape[3]])


@kernel
def _affine(job, x, factor, shift, limits, width, y):  # type: ignore[no-untyped-def]
    C, W = factor.size, width[0]
    low, high = limits[0], limits[1]
    for i in range(job * W, (job + 1) * W):
        pixel, result = x[i * C : (i + 1) * C], y[i * C : (i + 1) * C]
        for c in range(C):
            value = pixel[c] * factor[c] + shift[c]
            value = low if value < low else value
            result[c] = high if value > high else value


def limited_sum(x: np.ndarray, other: np.ndarray, limits: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Write x + other, limited, to `out`; flat arrays of equal size."""
    _limited_sum.launch(-(-x.size // _ELEMENTS), x, other, limits, out, work=8.0 * x.size)
    return out


@kernel
def _limited_sum(job, x, other, limits, y):  # type: ignore[no-untyped-def]
    first, last = job * 4096, min((job + 1) * 4096, x.size)
    a, b, result = x[first:last], other[first:last], y[first:last]
    low, high = limits[0], limits[1]
    for i in range(a.size):
        value = a[i] + b[i]
        value = low if value < low else value
        result[i] = high if value > high else value


def local_response(x: np.ndarray, before: int, after: int, numbers: np.ndarray) -> np.ndarray:
    """Return x / (bias + alpha * squares)^beta for `numbers` (alpha, bias, beta), squares from channel c - before to c + after."""
    y = image(x.shape, x.dtype)
    sizes = np.array([x.shape[1], x.shape[3], before, after])
    _local_response.launch(len(x) * x.shape[2], checks.flat(x), sizes, numbers, checks.flat(y), work=100.0 * x.size)
    return y


@kernel
def _local_response(job, x, sizes, numbers, y):  # type: ignore[no-untyped-def]
    C, W, before, after = sizes[0], sizes[1], sizes[2], sizes[3]
    alpha, bias, beta = numbers[0], numbers[1], numbers[2]
    squares = np.empty(C + before + after, x.dtype)
    total = np.empty(C, x.dtype)
    zero = x.dtype.type(0)
    for i in range(before):
        squares[i] = zero
    for i in range(after):
        squares[before + C + i] = zero
    for i in range(job * W, (job + 1) * W):
        pixel, result, middle = x[i * C : (i + 1) * C], y[i * C : (i + 1) * C], squares[before : before + C]
        for c in range(C):
            middle[c] = pixel[c] * pixel[c]
            total[c] = zero
        for shift in range(before + after + 1):
            part = squares[shift : shift + C]
            for c in range(C):
                total[c] += part[c]
        if beta == 0.75:  # of two roots; a power takes ten times as long
            for c in range(C):
                root = math.sqrt(bias + alpha * total[c])
                result[c] = pixel[c] / (root * math.sqrt(root))
        else:
            for c in range(C):
                result[c] = pixel[c] * (bias + alpha * total[c]) ** -beta
