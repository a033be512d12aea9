"""Max-pooling with ReLU, and back, of channels-last pixels in strips of vectors: what `fused_pool` and `fused_unpool` do with their rows.

Windows follow one another (the stride is the window), without padding. `winners` holds the place r * window_w + s of each maximum within
its window in one byte: the first of equals, and NaN wins over every number, as in `fastcnn.max_pool2d`. Where no pixel is positive the
result is 0 and the place 0, as if ReLU had come before. The last strip of a pixel overlaps the one before it, so that no remainder is left.
"""

from __future__ import annotations

import functools

import numpy as np

from .. import simd
from ..jit import Kernel, kernel
from .packing import clear


@functools.cache
def pooler(quads: bool, dtype: np.dtype) -> Kernel:
    """Return a kernel that pools one row of windows.

    ``pool(x, first, width, pixel, window_h, window_w, valid, y, winners, at, step)``: x[first] begins window_h rows of `width` pixels,
    `pixel` elements apart; the first `valid` channels of window q go to elements at + q * step of y and winners. `quads`: 2 x 2 windows.
    """
    pool16, pool8 = simd.pool_quad(16, dtype), simd.pool_quad(8, dtype)

    @kernel(specialisation=dtype.str)
    def pool_quads(x, first, width, pixel, window_h, window_w, valid, y, winners, at, step):
        if valid < 8:
            pool_few(x, first, width, pixel, valid, y, winners, at, step)
            return
        # Bounds: the last strip ends at channel valid - 1, of a pixel of x, y and winners.
        strip = 16 if valid >= 16 else 8
        for q in range(width // 2):
            for offset in range(0, valid, strip):
                k = min(offset, valid - strip)
                upper, to = first + q * 2 * pixel + k, at + q * step + k
                if strip == 16:
                    pool16(x, upper, upper + width * pixel, pixel, y, winners, to)
                else:
                    pool8(x, upper, upper + width * pixel, pixel, y, winners, to)

    @kernel(specialisation=dtype.str)
    def pool_few(x, first, width, pixel, valid, y, winners, at, step):
        for q in range(width // 2):
            upper, to = first + q * 2 * pixel, at + q * step
            for v in range(valid):
                best, place = y.dtype.type(0), 0  # ReLU: nothing but NaN and what is positive gets past
                for i in range(4):
                    value = x[upper + i // 2 * width * pixel + i % 2 * pixel + v]
                    if value > best or value != value:
                        best, place = value, i
                y[to + v], winners[to + v] = best, place

    @kernel(specialisation=dtype.str)
    def pool_any(x, first, width, pixel, window_h, window_w, valid, y, winners, at, step):
        zero = y.dtype.type(0)
        for q in range(width // window_w):
            best, place = y[at + q * step : at + q * step + valid], winners[at + q * step : at + q * step + valid]
            for v in range(best.size):
                best[v], place[v] = zero, 0
            for r in range(window_h):
                for s in range(window_w):
                    source, here = first + (r * width + q * window_w + s) * pixel, np.uint8(r * window_w + s)
                    values = x[source : source + valid]
                    for v in range(best.size):
                        better = (values[v] > best[v]) | (values[v] != values[v])
                        best[v] = values[v] if better else best[v]
                        place[v] = here if better else place[v]

    return pool_quads if quads else pool_any


@functools.cache
def unpooler(quads: bool, dtype: np.dtype) -> Kernel:
    """Return a kernel that copies pixels of an unpooled gradient into a padded channels-last buffer, as `row_packer` does an image's.

    ``unpool(dy, y, winners, at, y_h, y_w, window, P, Q, channels, first_row, first_column, out, start, rows, columns, pitch)``:
    out[start + (row * columns + column) * pitch ...] from (first_row, first_column) of the P x Q image whose windows were pooled. A pixel
    has the gradient of its window where it won and the pooled y is not <= 0, else 0; what lies outside, and the channels from `channels`
    to `pitch`, become 0. `at` is the element of the first channel and window of dy, y and winners.
    """

    @kernel(specialisation=(quads, dtype.str))
    def unpool(dy, y, winners, at, y_h, y_w, window, P, Q, channels, first_row, first_column, out, start, rows, columns, pitch):
        window_h, window_w = (2, 2) if quads else (window[0], window[1])
        zero, strip = out.dtype.type(0), 32 if channels >= 32 else channels
        last = max(0, min(columns, Q // window_w * window_w - first_column))
        first = min(last, max(0, -first_column))
        for i in range(rows):
            h, row = first_row + i, start + i * columns * pitch
            if h < 0 or h >= P // window_h * window_h or first >= last:
                clear(out, row, row + columns * pitch)
                continue
            clear(out, row, row + first * pitch)
            clear(out, row + last * pitch, row + columns * pitch)
            p, place = h // window_h, h % window_h * window_w
            q, s = (first_column + first) // window_w, (first_column + first) % window_w
            for j in range(first, last):
                here, source, to = np.uint8(place + s), at + p * y_h + q * y_w, row + j * pitch
                for offset in range(0, channels, strip):
                    k = min(offset, channels - strip)
                    if strip == 32:  # a constant, so that the loop is whole vectors
                        errors, values = dy[source + k : source + k + 32], y[source + k : source + k + 32]
                        chosen, target = winners[source + k : source + k + 32], out[to + k : to + k + 32]
                        for v in range(32):
                            target[v] = zero if (chosen[v] != here) | (values[v] <= zero) else errors[v]
                    else:
                        errors, values = dy[source + k : source + k + channels], y[source + k : source + k + channels]
                        chosen, target = winners[source + k : source + k + channels], out[to + k : to + k + channels]
                        for v in range(channels):
                            target[v] = zero if (chosen[v] != here) | (values[v] <= zero) else errors[v]
                clear(out, to + channels, to + pitch)
                s += 1
                if s == window_w:
                    q, s = q + 1, 0

    return unpool


@functools.cache
def plane_unpooler(quads: bool, dtype: np.dtype) -> Kernel:
    """Return a kernel that unpools whole windows into planes: one of the first pixels of all windows of a row, one of the second ...

    ``unpool(dy, y, winners, at, y_h, y_w, window, channels, first_row, out, rows, windows, pitch)``: window q of a row, pixel s of it, goes
    to out[((s * rows + row) * windows + q) * pitch ...]; rows count from a window's first. Otherwise as `unpooler`, but each row is one
    long loop where `channels` is all there is.
    """

    @kernel(specialisation=(quads, dtype.str))
    def unpool(dy, y, winners, at, y_h, y_w, window, channels, first_row, out, rows, windows, pitch):
        window_h, window_w = (2, 2) if quads else (window[0], window[1])
        zero = out.dtype.type(0)
        size, runs = channels, windows
        if channels == y_w and channels == pitch:
            size, runs = channels * windows, 1
        for row in range(rows):
            p, r = (first_row + row) // window_h, (first_row + row) % window_h
            for s in range(window_w):
                here = np.uint8(r * window_w + s)
                for q in range(runs):
                    source, to = at + p * y_h + q * y_w, ((s * rows + row) * windows + q) * pitch
                    errors, values = dy[source : source + size], y[source : source + size]
                    chosen, target = winners[source : source + size], out[to : to + size]
                    for v in range(target.size):
                        target[v] = zero if (chosen[v] != here) | (values[v] <= zero) else errors[v]
                    clear(out, to + size, to + max(size, pitch))

    return unpool
