"""Backward-input for few channels: one product of dy with all taps of all channels, whose rows are added into the image.

    rows[(c, r, s), q] = sum over k of w[k, c, r, s] dy[k, p, q]        dx[c, p*stride_h + r - top, q*stride_w + s - left] += rows[., q]

A correlation with flipped taps would fill its tiles with output channels, of which a first layer has one or three; here the taps are the
tile's rows and pixels its vectors, so that whole rows of pixels are added, shifted by s. A job owns a band of rows of dx, so that no two
add into the same place; rows of dy at its rim are multiplied twice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import machine, simd
from ..jit import Kernel, kernel
from ..machine import TileShape, tile_shape
from .correlate import Geometry as Correlation
from .packing import transposer


class Geometry(NamedTuple):
    """The correlation x -> y whose gradient is wanted, and how it is cut into jobs; strides in elements."""

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
    stride_h: int
    stride_w: int
    top: int
    left: int
    P: int
    Q: int
    y_n: int
    y_c: int
    y_h: int
    y_w: int
    rows: int  # of dx in a job
    bands: int  # jobs of an image
    lines: int  # rows of dy multiplied at once


GEOMETRY = np.dtype([(name, np.int64) for name in Geometry._fields])
_ROWS = 28  # of dx in a job, about: 3x3 taps multiply 2 rows of dy twice for it
_PIXELS = 512  # multiplied at once: 27 taps x 512 x 4 bytes = 55 KiB


def effort(c: Correlation) -> float:
    """Return an estimate of the time in vector multiply-adds."""
    pixels, taps = c.N * c.P * c.Q, c.R * c.S * c.C
    added = taps * (1.0 if c.stride_w == 1 else 2.5)  # per pixel
    return pixels * (taps * c.K / machine.lanes(4) / 0.85 + added + 0.7 * c.K)


def scattering(c: Correlation, dtype: np.dtype) -> Callable[..., None]:
    """Return a function ``(dy, weight, dx)`` on flat dy and dx and a (K, C, R, S) weight, for the threads that the caller has now."""
    if c.N * c.H * c.W == 0:
        return lambda *_: None
    taps = c.R * c.S * c.C
    bands = max(1, -(-c.H // _ROWS))
    if c.N * bands < machine.get_threads():
        bands = min(c.H, machine.get_threads())
    rows = -(-c.H // bands)
    g = Geometry(
        c.N, c.C, c.H, c.W, c.x_n, c.x_c, c.x_h, c.x_w, c.K, c.R, c.S, c.stride_h, c.stride_w, c.top, c.left, c.P, c.Q,
        c.y_n, c.y_c, c.y_h, c.y_w, rows, -(-c.H // rows), max(1, _PIXELS // c.Q),
    )  # fmt: skip
    fixed, sample = np.array([g], GEOMETRY), np.empty(0, dtype)
    flops = 2.0 * c.N * c.P * c.Q * c.K * taps
    run = _kernel(tile_shape(_PIXELS, dtype.itemsize), dtype).bound(g.N * g.bands, fixed, sample, sample, sample, work=flops)

    def scatter(dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
        run(fixed, dy, weight.reshape(-1), dx)

    return scatter


@functools.cache
def _kernel(shape: TileShape, dtype: np.dtype) -> Kernel:
    tile = simd.tile(shape, dtype)
    transpose = transposer(dtype)
    block, height = shape.block, shape.height

    @kernel(specialisation=(shape, dtype.str))
    def scatter_band(job, geometry, dy, weight, dx):
        g = geometry[0]
        n, first = job // g.bands, job % g.bands * g.rows
        last = min(first + g.rows, g.H)
        width, taps = (g.Q - 1) * g.stride_w + g.S, g.C * g.R * g.S
        pitch = -(-g.lines * g.Q // block) * block + block // 2  # no power of 2, or its rows fall into one set of the cache
        image = np.zeros(g.C * (last - first) * width, dx.dtype)
        errors, product, zeros = np.zeros(g.K * pitch, dx.dtype), np.empty(taps * pitch, dx.dtype), np.zeros(block, dx.dtype)
        tiles = -(-taps // height)
        p_first = max(0, -((g.R - 1 - first - g.top) // g.stride_h))
        p_last = min(g.P, (last - 1 + g.top) // g.stride_h + 1)
        for p0 in range(p_first, p_last, g.lines):
            lines = min(g.lines, p_last - p0)
            pixels = lines * g.Q
            if g.y_c == 1:
                transpose(dy, n * g.y_n + p0 * g.y_h, g.y_w, errors, 0, pitch, pixels, g.K)
            else:
                for k in range(g.K):
                    at = n * g.y_n + k * g.y_c + p0 * g.y_h
                    source, target = dy[at : at + pixels], errors[k * pitch : k * pitch + pixels]
                    for i in range(target.size):
                        target[i] = source[i]
            # Bounds: `errors` and `product` have rows of whole blocks; what lies beyond `pixels` is never added.
            for v in range(0, pixels, block):
                m = 0
                for t in range(tiles):
                    tall = -(-(taps - m) // (tiles - t))
                    tile(tall, weight, m, 1, 0, taps, errors, v, 0, pitch, zeros, 0, 0, 0, product, m * pitch + v, pitch, 1, g.K)
                    m += tall
            for tap in range(taps):
                c, r, s = tap // (g.R * g.S), tap // g.S % g.R, tap % g.S
                for line in range(lines):
                    h = (p0 + line) * g.stride_h + r - g.top
                    if first <= h < last:
                        at = (c * (last - first) + h - first) * width + s
                        target = image[at : at + (g.Q - 1) * g.stride_w + 1]
                        source = product[tap * pitch + line * g.Q : tap * pitch + (line + 1) * g.Q]
                        if g.stride_w == 1:
                            for q in range(source.size):
                                target[q] += source[q]
                        else:
                            for q in range(source.size):
                                target[q * g.stride_w] += source[q]
        zero = dx.dtype.type(0)
        covered = max(0, min(g.W, width - g.left))  # columns of dx that a tap can reach
        for c in range(g.C):
            for h in range(first, last):
                row = (c * (last - first) + h - first) * width + g.left
                out = n * g.x_n + c * g.x_c + h * g.x_h
                target, source = dx[out : out + (g.W - 1) * g.x_w + 1], image[row : row + covered]
                if g.x_w == 1:
                    for w in range(source.size):
                        target[w] = source[w]
                else:
                    for w in range(source.size):
                        target[w * g.x_w] = source[w]
                for w in range(covered, g.W):
                    target[w * g.x_w] = zero

    return scatter_band
