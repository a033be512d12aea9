"""The weight gradient of a pooled correlation on the tiles of amx.py.

    dweight[r,s,c,k] = sum over n, p, q of x[n, c, p + r - top, q + s - left] * dy[n,k,p,q]

The reduction runs over pixels; a word is the same pixel in two images, so that it may begin at any pixel. The rows of one pair of images
are one long line for x and for dy, which has zeros where a line of x goes on beyond the output: then one step after another meets 16 pixels
without a look at where rows end. x lies in planes, a channel (or a kernel column) a row of the A tiles; dy, unpooled, in pixels of output
channels, the B tiles. All taps of a few steps follow one another, as many steps as stay in the L1 cache.

The zeros of dy must not meet Inf or NaN of x: whoever calls looks at the result, and computes it in another way if it is not finite.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import amx, bf16, machine
from ..jit import Kernel, kernel
from .correlate import Geometry
from .filters import unpack_gradient
from .fused_pool import Window
from .packing import clear, transposer
from .words import FLOAT32, pair_packer


class Layout(NamedTuple):
    """A gradient as kernels read it; strides of x and of the pooled dy in elements."""

    N: int
    C: int
    H: int
    W: int
    x_n: int
    x_c: int
    x_h: int
    x_w: int
    K: int
    R: int
    S: int
    top: int
    left: int
    P: int  # rows of windows
    Q: int  # windows in a row
    y_n: int
    y_h: int
    y_w: int
    columns: int  # words of a line
    lines: int
    plane: int  # words of a channel
    steps: int
    pixel: int  # output channels, in whole tiles
    by_columns: int  # 1: kernel columns are the rows of tiles; 0: channels
    span: int  # steps at once
    jobs: int


LAYOUT = np.dtype([(name, np.int64) for name in Layout._fields])
_SPAN_BYTES = 28 * 1024  # of the words that all taps meet: they stay in an L1 cache of 48 KiB; out of the L2 cache tiles load much slower


def refuses(geometry: Geometry, window: Window) -> str | None:
    """Return why `unpooled_weight_gradient` does not take a correlation; None where it does."""
    if (geometry.stride_h, geometry.stride_w) != (1, 1):
        return "the stride is not 1"
    return None if window.quads else "the windows are not 2 x 2"


def effort(geometry: Geometry, window: Window) -> float:
    """Return the vector multiply-adds of float32 in whose time `unpooled_weight_gradient` runs, measured."""
    g = _layout(geometry, window)
    rows, outer = (g.S, g.R * g.C) if g.by_columns else (g.C, g.R * g.S)
    tiles = outer * -(-rows // amx.TILE) * (g.pixel // amx.TILE) * g.steps
    return 2.0 * g.N * (tiles * (10 + min(rows, amx.TILE)) + 2.0 * g.C * g.plane + 1.2 * g.P * g.Q * g.pixel) + 40_000


def unpooled_weight_gradient(correlation: Geometry, window: Window) -> Callable[..., None]:
    """Return a function ``(x, dy, y, winners, dweight)``, all but dweight flat: the gradient of a correlation pooled in 2 x 2 windows.

    The strides of y in `correlation` are those of the pooled arrays (channels-last); P and Q count the pixels before pooling.
    """
    g = _layout(correlation, window)
    if g.N * g.P * g.Q == 0:
        return _write_zeros
    rows = g.S if g.by_columns else g.C
    whole = (amx.TILE, amx.TILE)
    table = np.concatenate([amx.configuration(size, whole, amx.TILE) for size in (whole, amx.last_pair(rows))])
    fixed, floats, places = np.array([g], LAYOUT), np.empty(0, FLOAT32), np.empty(0, np.uint8)
    flops = 2.0 * g.N * 4 * g.P * g.Q * g.K * g.C * g.R * g.S
    run = _kernel().bound(g.jobs, fixed, table, floats, floats, floats, places, floats, work=flops)
    size = g.jobs, 1, g.R * g.S * g.C, g.pixel

    def gradient(x: np.ndarray, dy: np.ndarray, y: np.ndarray, winners: np.ndarray, dweight: np.ndarray) -> None:
        partial = amx.empty(math.prod(size)).view(FLOAT32)
        partial.fill(0)
        run(fixed, table, x, dy, y, winners, partial)
        unpack_gradient(partial.reshape(size), dweight)

    return gradient


def _write_zeros(x: np.ndarray, dy: np.ndarray, y: np.ndarray, winners: np.ndarray, dweight: np.ndarray) -> None:
    dweight[...] = 0


def _layout(correlation: Geometry, window: Window) -> Layout:
    c, threads = window.whole(correlation), machine.get_threads()
    columns, lines = c.Q - 1 + c.S, c.P - 1 + c.R
    steps = max(1, -(-((c.P - 1) * columns + c.Q) // amx.TILE))
    longest = max(lines * columns, (c.R - 1) * columns + c.S - 1 + steps * amx.TILE)
    plane, pixel = -(-longest // amx.TILE) * amx.TILE, -(-c.K // amx.TILE) * amx.TILE
    pairs = -(-c.N // 2)
    jobs = max(1, min(pairs, threads if threads == 1 else 2 * threads))
    parts = -(-steps * 4 * amx.TILE * (pixel + c.C) // _SPAN_BYTES)
    return Layout(
        c.N, c.C, c.H, c.W, c.x_n, c.x_c, c.x_h, c.x_w, c.K, c.R, c.S, c.top, c.left, c.P // 2, c.Q // 2, c.y_n, c.y_h, c.y_w,
        columns, lines, plane, steps, pixel, int(min(8, c.S) > c.C), -(-steps // parts), jobs,
    )  # fmt: skip


@functools.cache
def _kernel() -> Kernel:
    pack_pair, transpose, unpool_quad = pair_packer(), transposer(FLOAT32), bf16.unpool_quad(True)
    empty, configure, product, release = amx.aligned(), amx.configure(), amx.product(), amx.release()

    @kernel
    def pack_planes(layout, x, n, partner, scratch, pixels, none, images):
        """Copy two images into words, and their pixels into planes."""
        g = layout[0]
        at_a, at_b = n * g.x_n, n * g.x_n + g.x_n if partner else -1
        for i in range(g.lines):
            row, to = i - g.top, i * g.columns * g.C
            if g.C == 1:
                pack_pair(x, at_a, at_b, g.x_c, g.x_h, g.x_w, g.H, g.W, 1, row, row, -g.left, g.columns, scratch, none, images, to, 1, 1, 0)
            else:
                pack_pair(
                    x, at_a, at_b, g.x_c, g.x_h, g.x_w, g.H, g.W, g.C, row, row, -g.left, g.columns, scratch, none, pixels, to, g.C, g.C, 0
                )
        if g.C > 1:
            size = g.lines * g.columns
            transpose(pixels.view(np.float32), 0, g.C, images.view(np.float32), 0, g.plane, size, g.C)

    @kernel
    def unpool_pair(layout, dy, y, winners, n, partner, errors):
        g = layout[0]
        for p in range(g.P):
            for q in range(g.Q):
                here, to = n * g.y_n + p * g.y_h + q * g.y_w, 2 * (p * g.columns + q) * g.pixel
                for k in range(0, g.K, 16):
                    count, out = min(16, g.K - k), to + k
                    below = out + g.columns * g.pixel
                    unpool_quad(
                        dy, y, winners, here + k, count, here + k + (g.y_n if partner else 0), count if partner else 0,
                        errors, out, out + g.pixel, below, below + g.pixel,
                    )  # fmt: skip

    @kernel
    def gradient_of_pairs(job, layout, table, x, dy, y, winners, partial):
        g = layout[0]
        pairs, size = (g.N + 1) // 2, g.R * g.S * g.C * g.pixel
        first, last = job * pairs // g.jobs, (job + 1) * pairs // g.jobs
        images, errors = empty(g.C * g.plane), empty(g.steps * 16 * g.pixel)
        clear(images, 0, images.size)  # what no row reaches stays 0, and so does dy between its rows
        clear(errors, 0, errors.size)
        scratch, none = np.empty(0 if g.x_c == 1 else 2 * g.columns * g.C, x.dtype), np.zeros(g.C, x.dtype)
        pixels = np.empty(0 if g.C == 1 else g.lines * g.columns * g.C, np.int32)
        if g.by_columns:
            rows, outer, inner, to_row, to_inner, out_row = g.S, g.R, g.C, 1, g.plane, g.C * g.pixel
        else:
            rows, outer, inner, to_row, to_inner, out_row = g.C, g.R, g.S, g.plane, 1, g.pixel
        # Bounds. A plane is long enough for the last step at the last tap; the last pair of row tiles has what is left of the rows.
        for pair in range(first, last):
            pack_planes(layout, x, 2 * pair, 2 * pair + 1 < g.N, scratch, pixels, none, images)
            unpool_pair(layout, dy, y, winners, 2 * pair, 2 * pair + 1 < g.N, errors)
            for step in range(0, g.steps, g.span):
                steps, b_at = min(g.span, g.steps - step), step * 16 * g.pixel
                for m in range(0, rows, 32):
                    configure(table, 1 if m + 32 >= rows else 0)
                    high = 2 if rows - m > 16 else 1
                    for r in range(outer):
                        for i in range(inner):
                            a_at = r * g.columns + i * to_inner + m * to_row + step * 16
                            place = (r * g.S + m) * g.C + i if g.by_columns else (r * g.S + i) * g.C + m
                            out = job * size + place * g.pixel
                            for k in range(0, g.pixel, 32):
                                y_at = out + k, out + 16 * out_row + k
                                product(
                                    high, min(2, (g.pixel - k) // 16), images, (a_at, a_at + 16 * to_row), (to_row, 0, 16, 0),
                                    errors, (b_at + k, b_at + k + 16), (g.pixel, 0, 16 * g.pixel), partial, y_at, partial, y_at,
                                    (out_row, 16, out_row), 1, steps,
                                )  # fmt: skip
        release()

    return gradient_of_pairs
