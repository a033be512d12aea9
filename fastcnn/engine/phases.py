"""Backward-input with a stride: its phases, and the loop over them.

The input pixels of one phase (a, b) of a stride of s meet only every s-th tap of the kernel, so each phase is a stride-1 correlation of dy
with those taps, flipped, and no zero is ever multiplied. The taps of all phases are packed in one pass over the weights. A planar image
would be written once per phase, every s-th pixel; a few images at a time come out channels-last instead, and become planes while they
are in the cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..jit import Kernel, kernel
from ..workspace import workspace
from . import planar
from .correlate import Geometry, block_of, correlation
from .filters import Filters, Taps, flipped, phase_packer
from .packing import transposer

_IMAGE_BYTES = 1024 * 1024  # of images that are channels-last at once
_PIXELS = 256  # that a job makes planes of


class Phase(NamedTuple):
    """A correlation from dy to some pixels of dx, and its taps."""

    geometry: Geometry
    filters: Filters


def phases_of(c: Geometry, weight_shape: tuple[int, int, int, int]) -> list[Phase]:
    """Return the phases of the gradient of the correlation c with respect to x: where dy is c's y and dx its x."""
    phases = []
    for a, vertical, up in _offsets(c.R, c.stride_h, c.top, c.H):
        for b, horizontal, back in _offsets(c.S, c.stride_w, c.left, c.W):
            geometry = Geometry(
                c.N, c.K, c.P, c.Q, 0, c.y_n, c.y_c, c.y_h, c.y_w, c.C, vertical.length, horizontal.length, 1, 1,
                vertical.length - 1 - up, horizontal.length - 1 - back, -(-(c.H - a) // c.stride_h), -(-(c.W - b) // c.stride_w),
                a * c.x_h + b * c.x_w, c.x_n, c.x_c, c.stride_h * c.x_h, c.stride_w * c.x_w, c.groups,
            )  # fmt: skip
            phases.append(Phase(geometry, flipped(weight_shape, vertical, horizontal, c.groups)))
    return phases


def _offsets(taps: int, stride: int, before: int, size: int) -> list[tuple[int, Taps, int]]:
    """Return, along one axis, each offset within a stride whose pixels meet a tap and lie in the image.

    With it come its taps, and the output pixel of the first one at the first such pixel.
    """
    offsets = sorted({a for r in range(min(taps, stride)) if (a := (r - before) % stride) < size})
    firsts = [(a + before) % stride for a in offsets]
    return [
        (a, Taps(first, stride, -(-(taps - first) // stride)), (a + before - first) // stride)
        for a, first in zip(offsets, firsts, strict=True)
    ]


def backward_input(c: Geometry, weight_shape: tuple[int, int, int, int], dtype: np.dtype) -> Callable[..., None]:
    """Return a function ``(dy, weight, dx)`` on flat arrays, for the threads that the caller has now."""
    phases = phases_of(c, weight_shape)
    if not phases:  # every window lies in the padding
        return lambda dy, weight, dx: dx.fill(0)
    if c.stride_w > 1 and c.x_w == 1 and c.x_c != 1 and c.R * c.S > 1:
        return _through_pixels(c, weight_shape, dtype)
    complete = c.stride_h <= c.R and c.stride_w <= c.S  # else some pixels meet no tap
    if len(phases) == 1:
        geometry, filters = phases[0]
        geometry = geometry._replace(skip=1)
        one_tap = c.R == c.S == 1 and planar.suits(geometry, True, dtype.itemsize)
        run = planar.correlation(geometry, True, dtype) if one_tap else correlation(geometry, filters, dtype)

        def single(dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
            if not complete:
                dx[...] = 0
            run(dy, weight, None, dx)

        return single
    pack = phase_packer([phase.filters for phase in phases], block_of(c.C, dtype.itemsize), dtype, c.groups)
    runs = [correlation(geometry._replace(skip=1), filters, dtype, packed=True) for geometry, filters in phases]

    def phased(dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
        if not complete:
            dx[...] = 0
        for run, packed in zip(runs, pack(weight), strict=True):
            run(dy, packed, None, dx)

    return phased


def _through_pixels(c: Geometry, weight_shape: tuple[int, int, int, int], dtype: np.dtype) -> Callable[..., None]:
    """Return `backward_input` for a planar dx, through channels-last images."""
    channels, pixels = c.groups * c.C, c.H * c.W
    size = channels * pixels
    together = max(1, min(c.N, _IMAGE_BYTES // (size * dtype.itemsize)))
    pixel = c._replace(x_n=size, x_c=1, x_h=c.W * channels, x_w=channels)
    phases = phases_of(pixel, weight_shape)
    complete = c.stride_h <= c.R and c.stride_w <= c.S
    pack = phase_packer([phase.filters for phase in phases], block_of(c.C, dtype.itemsize), dtype, c.groups)
    counts = {min(together, c.N - n) for n in range(0, c.N, together)}
    runs = {
        count: (
            [correlation(geometry._replace(N=count, skip=1), filters, dtype, packed=True) for geometry, filters in phases],
            _to_planes(count, channels, pixels, dtype),
        )
        for count in counts
    }

    def phased(dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
        packed = pack(weight)
        image = workspace(together * size, dtype)
        if not complete:
            image.fill(0)
        for n in range(0, c.N, together):
            correlations, to_planes = runs[min(together, c.N - n)]
            for run, filters in zip(correlations, packed, strict=True):
                run(dy[n * c.y_n :], filters, None, image)
            to_planes(image, dx[n * size :])

    return phased


def _to_planes(images: int, channels: int, pixels: int, dtype: np.dtype) -> Callable[..., None]:
    """Return a function ``(image, planes)`` on flat arrays that transposes the pixels of so many images into planes."""
    bands = -(-pixels // _PIXELS)
    sizes, sample = np.array([channels, pixels, bands]), np.empty(0, dtype)
    run = _transposer_of_bands(dtype).bound(images * bands, sizes, sample, sample, work=8.0 * images * channels * pixels)
    return functools.partial(run, sizes)


@functools.cache
def _transposer_of_bands(dtype: np.dtype) -> Kernel:
    transpose = transposer(dtype)

    @kernel(specialisation=dtype.str)
    def transpose_band(job, sizes, image, planes):
        channels, pixels, bands = sizes[0], sizes[1], sizes[2]
        n, band = job // bands, job % bands
        first, last = band * pixels // bands, (band + 1) * pixels // bands
        at = n * channels * pixels
        transpose(image, at + first * channels, channels, planes, at + first, pixels, last - first, channels)

    return transpose_band
