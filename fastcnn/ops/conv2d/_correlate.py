"""The loops around the tile for forward and backward-input: a stride-s correlation of an image with packed weights.

Work is cut into jobs of one image and a band of output rows. A job copies the input rows that it needs into a padded
channels-last buffer (unless the input is already that), then runs all blocks of output channels over it.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ... import checks, simd
from ...jit import Kernel, kernel
from ...machine import TileShape, tile_shape
from ._packing import pack_weight, row_packer, row_unpacker


class Geometry(NamedTuple):
    """A correlation: y[n,k,p,q] += x[n, c, p*stride_h + r - top, q*stride_w + s - left] * w[k,c,r,s], strides in elements.

    `top` and `left` may be negative (the rim is cropped). y begins at element `y_first`, so that it may be one phase of an image.
    """

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
    y_first: int
    y_n: int
    y_c: int
    y_h: int
    y_w: int
    rows: int  # output rows of a job
    bands: int  # jobs of an image
    in_place: int  # 1: tiles read x itself
    direct_out: int  # 1: tiles write y itself


GEOMETRY = np.dtype([(name, np.int64) for name in Geometry._fields])
_BUFFER_BYTES = 256 * 1024  # input rows of a job: half of a small L2, the other half is for weights and output


def correlate(geometry: Geometry, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray) -> None:
    """Run a correlation on flat arrays; `weight` is (K, C, R, S), `rows`, `bands` and the two flags are filled in here."""
    g = geometry
    if g.N * g.K * g.P * g.Q == 0:
        return
    shape = tile_shape(g.K, x.itemsize)
    blocks = -(-g.K // shape.block)
    padded_bias = np.zeros(blocks * shape.block, x.dtype)
    if bias is not None:
        padded_bias[: g.K] = bias
    columns = (g.Q - 1) * g.stride_w + g.S
    row_bytes = columns * g.C * x.itemsize
    rows = max(1, min(g.P, (_BUFFER_BYTES // row_bytes - g.R) // g.stride_h + 1))
    rows = -(-g.P // -(-g.P // rows))  # bands of equal height
    inside = g.top <= 0 and g.left <= 0 and (g.P - 1) * g.stride_h + g.R - g.top <= g.H and columns - g.left <= g.W
    packed = g._replace(
        rows=rows,
        bands=-(-g.P // rows),
        in_place=int(inside and g.x_c == 1 and g.x_w == g.C),
        direct_out=int(g.y_c == 1 and g.K % shape.block == 0),
    )
    flops = 2.0 * g.N * g.K * g.P * g.Q * g.C * g.R * g.S
    _kernel(shape, x.dtype).launch(
        g.N * packed.bands, np.array([packed], GEOMETRY), x, pack_weight(weight, shape.block), padded_bias, y, work=flops
    )


@functools.cache
def _kernel(shape: TileShape, dtype: np.dtype) -> Kernel:
    tile = simd.tile(shape, dtype, accumulate=False)
    pack_rows = row_packer(dtype)
    unpack_rows = row_unpacker(dtype)
    block, height = shape.block, shape.height

    @kernel(specialisation=(shape, dtype.str))
    def correlate_band(job, geometry, x, weight, bias, y):
        g = geometry[0]
        n, first = job // g.bands, job % g.bands * g.rows
        rows = min(g.rows, g.P - first)
        if g.in_place:
            image, origin = x, n * g.x_n + (first * g.stride_h - g.top) * g.x_h - g.left * g.x_w
            pitch = g.x_h
        else:
            columns = (g.Q - 1) * g.stride_w + g.S
            needed = (rows - 1) * g.stride_h + g.R
            image, origin = np.empty(needed * columns * g.C, x.dtype), 0
            pitch = columns * g.C
            pack_rows(x, g.x_n, g.x_c, g.x_h, g.x_w, g.H, g.W, g.C, n, first * g.stride_h - g.top, -g.left, image, needed, columns, g.C)
        # Bounds. Tiles read up to ((rows - 1) * stride_h + R) * pitch of the buffer, which is its size; in place, `inside` has compared
        # the same row and column with H and W. Weights and bias are padded to whole blocks. Tiles write y itself only where K is whole
        # blocks, else a scratch of whole blocks, of which unpack_rows stores the first K channels.
        step, reach = g.stride_w * g.C, g.S * g.C  # from pixel to pixel; a kernel row
        y_image = g.y_first + n * g.y_n + first * g.y_h
        if g.direct_out:
            target, y_row, y_pixel = y, g.y_h, g.y_w
        else:
            target, y_row, y_pixel = np.empty(rows * g.Q * block, x.dtype), g.Q * block, block
        tiles = -(-g.Q // height)
        for k in range(0, g.K, block):
            w_block = k * g.R * reach
            out = y_image + k if g.direct_out else 0
            for row in range(rows):
                q = 0
                for t in range(tiles):
                    tall = -(-(g.Q - q) // (tiles - t))  # 13 pixels become 7 + 6
                    tile(
                        tall, image, origin + row * g.stride_h * pitch + q * step, step, pitch, 1,
                        weight, w_block, reach * block, block, bias, k, -np.inf,
                        target, out + row * y_row + q * y_pixel, y_pixel, g.R, reach,
                    )  # fmt: skip
                    q += tall
            if not g.direct_out:
                unpack_rows(target, block, min(block, g.K - k), y, y_image + k * g.y_c, g.y_c, g.y_h, g.y_w, rows, g.Q)

    return correlate_band


def geometry_of(problem_sizes: tuple[int, ...], x: np.ndarray, y: np.ndarray) -> Geometry:
    """Return the geometry of (K, R, S, stride_h, stride_w, top, left) from image x to image y, both `checks.dense`."""
    K, R, S, stride_h, stride_w, top, left = problem_sizes
    N, C, H, W = x.shape
    P, Q = y.shape[2:]
    return Geometry(
        N, C, H, W, *checks.strides(x), K, R, S, stride_h, stride_w, top, left, P, Q, 0, *checks.strides(y), 0, 0, 0, 0
    )  # fmt: skip
