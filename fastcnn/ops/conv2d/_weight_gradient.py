"""The loops around the tile for backward-weight: rows are (kernel column, channel), the reduction runs over output pixels.

Jobs are runs of row bands (an image's, then the next image's); each adds into a gradient of its own, and these are summed in order:
the same bits for the same number of threads. Within a band x and dy stay in the L2 cache while every kernel row reads them.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ... import checks, machine, simd
from ...jit import Kernel, kernel
from ...machine import TileShape, tile_shape
from ._filters import unpack_gradient
from ._packing import row_packer
from .problem import Conv2dProblem, work


class Geometry(NamedTuple):
    """dweight[r,s,c,k] = sum over n,p,q of x[n, c, p*stride_h + r - top, q*stride_w + s - left] * dy[n,k,p,q]."""

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
    rows: int  # output rows of a band
    bands: int  # bands of an image
    units: int  # bands of all images
    jobs: int
    x_in_place: int  # 1: tiles read x itself
    y_in_place: int  # 1: tiles read dy itself


GEOMETRY = np.dtype([(name, np.int64) for name in Geometry._fields])
_BUFFER_BYTES = 192 * 1024  # of x, and as much of dy; best of 64-512 KiB on 56 x 56 and 28 x 28 maps


def weight_gradient(problem: Conv2dProblem, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """Write the gradient of a problem without dilation or groups; x and dy are `checks.dense`."""
    p = problem
    if p.N == 0:
        dweight[...] = 0
        return
    shape = tile_shape(p.K, x.itemsize)
    padded_K = -(-p.K // shape.block) * shape.block
    x_strides, y_strides = checks.strides(x), checks.strides(dy)
    columns = (p.Q - 1) * p.stride_w + p.S
    widest = max(columns * p.stride_h * p.C, p.Q * padded_K) * x.itemsize
    rows = max(1, min(p.P, _BUFFER_BYTES // widest))
    rows = -(-p.P // -(-p.P // rows))
    bands = -(-p.P // rows)
    inside = p.top == p.left == 0  # what lies right of and below the last window is never read
    inside = inside and (p.P - 1) * p.stride_h + p.R <= p.H and columns <= p.W
    jobs = min(machine.get_threads(), p.N * bands)
    geometry = Geometry(
        p.C, p.H, p.W, *x_strides, p.K, p.R, p.S, p.stride_h, p.stride_w, p.top, p.left, p.P, p.Q, *y_strides,
        rows, bands, p.N * bands, jobs,
        int(inside and x_strides[1] == 1), int(y_strides[1] == 1 and padded_K == p.K),
    )  # fmt: skip
    partial = np.zeros((jobs, p.R, p.S, p.C, padded_K), x.dtype)
    _kernel(shape, x.dtype).launch(
        jobs, np.array([geometry], GEOMETRY), checks.flat(x), checks.flat(dy), partial.reshape(jobs, -1), work=work(p, "backward_weight")
    )
    unpack_gradient(partial, dweight)


@functools.cache
def _kernel(shape: TileShape, dtype: np.dtype) -> Kernel:
    tile = simd.tile(shape, dtype)
    pack_rows = row_packer(dtype)
    block, height = shape.block, shape.height

    @kernel(specialisation=(shape, dtype.str))
    def gradient_of_bands(job, geometry, x, dy, partial):
        g = geometry[0]
        gradient = partial[job]
        padded_K = -(-g.K // block) * block
        columns = (g.Q - 1) * g.stride_w + g.S
        x_buffer = np.empty(0 if g.x_in_place else ((g.rows - 1) * g.stride_h + g.R) * columns * g.C, x.dtype)
        y_buffer = np.empty(0 if g.y_in_place else g.rows * g.Q * padded_K, x.dtype)
        reach = g.S * g.C  # rows of the tile: kernel columns x channels, contiguous in a channels-last image
        tiles = -(-reach // height)
        for unit in range(job * g.units // g.jobs, (job + 1) * g.units // g.jobs):
            n, first = unit // g.bands, unit % g.bands * g.rows
            rows = min(g.rows, g.P - first)
            if g.x_in_place:
                image, origin, pitch = x, n * g.x_n + first * g.stride_h * g.x_h, g.x_h
            else:
                image, origin, pitch = x_buffer, 0, columns * g.C
                needed = (rows - 1) * g.stride_h + g.R
                pack_rows(
                    x, n * g.x_n, g.x_c, g.x_h, g.x_w, g.H, g.W, g.C, first * g.stride_h - g.top, -g.left, image, needed, columns, g.C
                )
            if g.y_in_place:
                errors, y_origin = dy, n * g.y_n + first * g.y_h
            else:
                errors, y_origin = y_buffer, 0
                pack_rows(dy, n * g.y_n, g.y_c, g.y_h, g.y_w, g.P, g.Q, g.K, first, 0, errors, rows, g.Q, padded_K)
            # Bounds. The last row read is (rows - 1) * stride_h + r, r < R, its last element (Q - 1) * stride_w * C + S * C - 1: within the
            # buffer, or within x by `inside`. dy is read, and the gradient written, in whole blocks of padded_K.
            for r in range(g.R):
                for k in range(0, g.K, block):
                    m = 0
                    for t in range(tiles):
                        tall = -(-(reach - m) // (tiles - t))
                        out = (r * reach + m) * padded_K + k
                        tile(
                            tall, image, origin + r * pitch + m, 1, g.stride_h * pitch, g.stride_w * g.C,
                            errors, y_origin + k, g.Q * padded_K, padded_K, gradient, out, padded_K, -np.inf, gradient, out, padded_K, rows, g.Q,
                        )  # fmt: skip
                        m += tall

    return gradient_of_bands
