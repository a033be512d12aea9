"""Max-pooling with ReLU inside the loops around the tile: a convolution's output is pooled where it lies in the L1 cache.

Windows and winners are those of `pooling`; rows and columns that fill no window are not computed at all. Pooled arrays are channels-last.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import simd
from ..jit import Kernel, kernel
from ..machine import TileShape, tile_shape
from .correlate import GEOMETRY, Geometry, _cut
from .filters import Filters, filter_packer
from .packing import row_packer
from .pooling import pooler


class Window(NamedTuple):
    """Height and width of the pooling windows."""

    h: int
    w: int

    @property
    def quads(self) -> bool:
        """Whether the windows are 2 x 2, for which kernels are compiled apart; all other windows share theirs."""
        return self == (2, 2)

    def record(self) -> np.ndarray:
        """Return the window as kernels read it."""
        return np.array(self)

    def whole(self, g: Geometry) -> Geometry:
        """Return the geometry of the output pixels that lie in a window."""
        return g._replace(P=g.P // self.h * self.h, Q=g.Q // self.w * self.w)

    def aligned(self, count: int, kernel: int) -> int:
        """Return `count` rows or columns in whole windows, at least one."""
        return max(kernel, count // kernel * kernel)


def pooled_correlation(geometry: Geometry, window: Window, filters: Filters, dtype: np.dtype) -> Callable[..., None]:
    """Return a function ``(x, weight, bias, y, winners)`` on flat arrays: correlate, then pool windows of what is positive.

    The strides of y (channels-last) in `geometry` are those of the pooled output; P and Q count the correlation's pixels.
    """
    g = window.whole(geometry)
    if g.N * g.P * g.Q == 0:
        return lambda *_: None
    shape = tile_shape(g.K, dtype.itemsize)
    g = _cut(g, shape, dtype.itemsize, True)
    rows, width = window.aligned(g.rows, window.h), window.aligned(g.width, window.w)
    g = g._replace(rows=rows, bands=-(-g.P // rows), width=width, chunks=-(-g.Q // width))
    jobs = g.N * g.groups * g.bands * g.chunks * g.splits
    fixed, sizes, sample = np.array([g], GEOMETRY), window.record(), np.empty(0, dtype)
    flops = 2.0 * g.N * g.groups * g.K * g.P * g.Q * g.C * g.R * g.S
    run = _pooled(shape, window.quads, dtype).bound(jobs, fixed, sizes, sample, sample, sample, sample, np.empty(0, np.uint8), work=flops)
    pack = filter_packer(filters, shape.block, dtype, g.groups)
    padded_K = g.blocks * shape.block

    def correlate(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, winners: np.ndarray) -> None:
        if padded_K != g.K:
            bias = np.pad(bias.reshape(g.groups, g.K), ((0, 0), (0, padded_K - g.K))).reshape(-1)
        run(fixed, sizes, x, pack(weight), bias, y, winners)

    return correlate


@functools.cache
def _pooled(shape: TileShape, quads: bool, dtype: np.dtype) -> Kernel:
    tile, pack_rows = simd.tile(shape, dtype), row_packer(dtype)
    block, height = shape.block, shape.height
    pool_row = pooler(quads, dtype)

    @kernel(specialisation=(shape, quads, dtype.str))
    def pooled_band(job, geometry, window, x, weight, bias, y, winners):
        g = geometry[0]
        window_h, window_w = (2, 2) if quads else (window[0], window[1])
        split, unit = job % g.splits, job // g.splits
        chunk, unit = unit % g.chunks, unit // g.chunks
        band, unit = unit % g.bands, unit // g.bands
        group, n = unit % g.groups, unit // g.groups
        first_row, first_column = band * g.rows, chunk * g.width
        rows, width = min(g.rows, g.P - first_row), min(g.width, g.Q - first_column)
        x_group, pixel = g.x_first + group * g.C * g.x_c, g.pixel
        h, w = first_row * g.stride_h - g.top, first_column * g.stride_w - g.left
        if g.in_place:
            image, origin, pitch = x, x_group + n * g.x_n + h * g.x_h + w * g.x_w, g.x_h
        else:
            columns, needed = (width - 1) * g.stride_w + g.S, (rows - 1) * g.stride_h + g.R
            image, origin, pitch = np.empty(needed * columns * pixel, x.dtype), 0, columns * pixel
            pack_rows(x, x_group + n * g.x_n, g.x_c, g.x_h, g.x_w, g.H, g.W, g.C, h, w, image, needed, columns, pixel)
        # Bounds: as in `correlate`. rows and width are whole windows, so the pooled pixels are (P / window_h) x (Q / window_w).
        reach = g.S * g.C if g.S > 1 else g.C
        step, panel = g.stride_w * pixel, g.R * g.S * g.C * block
        y_image = n * g.y_n + first_row // window_h * g.y_h + first_column // window_w * g.y_w + group * g.K
        strip = np.empty(window_h * width * block, x.dtype)  # the rows of a row of windows: they never leave the L1 cache
        tiles = -(-width // height)
        for k in range(split * g.blocks // g.splits, (split + 1) * g.blocks // g.splits):
            w_block, b_block, valid = (group * g.blocks + k) * panel, (group * g.blocks + k) * block, min(block, g.K - k * block)
            for row in range(rows):
                q, to = 0, row % window_h * width * block
                for t in range(tiles):
                    tall = -(-(width - q) // (tiles - t))
                    tile(
                        tall, image, origin + row * g.stride_h * pitch + q * step, step, pitch, 1, weight, w_block, reach * block, block,
                        bias, b_block, 0, g.relu, strip, to + q * block, block, g.R, reach,
                    )  # fmt: skip
                    q += tall
                if row % window_h == window_h - 1:
                    pool_row(
                        strip, 0, width, block, window_h, window_w, valid, y, winners, y_image + row // window_h * g.y_h + k * block, g.y_w
                    )

    return pooled_band
