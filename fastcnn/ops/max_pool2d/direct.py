"""Max-pooling by straight loops: over planes for NCHW images, over channels (in vectors) for channels-last ones."""

from __future__ import annotations

import numpy as np

from ... import checks
from ...jit import kernel
from .problem import MaxPool2dProblem

GEOMETRY = np.dtype([(name, np.int64) for name in MaxPool2dProblem._fields])


def forward(problem: MaxPool2dProblem, x: np.ndarray, y: np.ndarray, indices: np.ndarray) -> None:
    """Pool every image (channels-last) or plane (NCHW); x, y and indices share a memory format."""
    arrays = checks.flat(x), checks.flat(y), checks.flat(indices), _lowest(x.dtype)
    work = 8.0 * y.size * problem.R * problem.S
    if checks.is_channels_last(x) and checks.is_channels_last(y):
        _pool_channels.launch(problem.N * problem.P, _geometry(problem), *arrays, work=work)
    else:
        _pool_planes.launch(problem.N * problem.C, _geometry(problem), *arrays, work=work)


def backward_input(problem: MaxPool2dProblem, dy: np.ndarray, indices: np.ndarray, dx: np.ndarray) -> None:
    """Add every gradient to the pixel that its window chose."""
    last = checks.is_channels_last(dx) and checks.is_channels_last(dy)  # an image of one pixel or channel is in both formats
    jobs = problem.N if last else problem.N * problem.C
    geometry = np.array([problem._replace(C=problem.C if last else 1)], GEOMETRY)
    _route.launch(jobs, geometry, checks.flat(dy), checks.flat(indices), checks.flat(dx), work=8.0 * (dx.size + dy.size))


def _geometry(problem: MaxPool2dProblem) -> np.ndarray:
    return np.array([problem], GEOMETRY)


def _lowest(dtype: np.dtype) -> np.ndarray:
    return np.array([-np.inf if dtype.kind == "f" else np.iinfo(dtype).min], dtype)


@kernel(inline=True)
def _taps_inside(origin, size, taps, dilation):
    """Return (first, last) of the taps at origin + tap * dilation that lie in an axis of `size`: first <= tap < last."""
    return max(0, -(origin // dilation)), min(taps, (size - 1 - origin) // dilation + 1)


@kernel
def _pool_channels(job, geometry, x, y, indices, lowest):
    """One output row of one image, all its channels; y and indices hold the best so far."""
    g = geometry[0]
    C, H, W = g.C, g.H, g.W  # in registers: as a field it would be read again after every store, and the loop stay scalar
    n, p = job // g.P, job % g.P
    top = p * g.stride_h - g.pad_h
    first_r, last_r = _taps_inside(top, H, g.R, g.dilation_h)
    for q in range(g.Q):
        left = q * g.stride_w - g.pad_w
        first_s, last_s = _taps_inside(left, W, g.S, g.dilation_w)
        out = (job * g.Q + q) * C
        best, place = y[out : out + C], indices[out : out + C]
        if first_r >= last_r or first_s >= last_s:
            for c in range(C):
                best[c], place[c] = lowest[0], -1
        for r in range(first_r, last_r):
            for s in range(first_s, last_s):
                at = (top + r * g.dilation_h) * W + left + s * g.dilation_w
                first = (n * H * W + at) * C
                pixel = x[first : first + C]
                if r == first_r and s == first_s:
                    for c in range(C):
                        best[c], place[c] = pixel[c], at
                else:
                    for c in range(C):
                        value = pixel[c]
                        better = (value > best[c]) | (value != value)  # NaN wins
                        best[c] = value if better else best[c]
                        place[c] = at if better else place[c]


@kernel
def _pool_planes(job, geometry, x, y, indices, lowest):
    """One channel of one image."""
    g = geometry[0]
    H, W = g.H, g.W
    plane, out = job * H * W, job * g.P * g.Q
    for p in range(g.P):
        top = p * g.stride_h - g.pad_h
        first_r, last_r = _taps_inside(top, H, g.R, g.dilation_h)
        for q in range(g.Q):
            left = q * g.stride_w - g.pad_w
            first_s, last_s = _taps_inside(left, W, g.S, g.dilation_w)
            best, place = lowest[0], -1
            for r in range(first_r, last_r):
                row = (top + r * g.dilation_h) * W + left
                for s in range(first_s, last_s):
                    value = x[plane + row + s * g.dilation_w]
                    if place < 0 or value > best or value != value:
                        best, place = value, row + s * g.dilation_w
            y[out], indices[out] = best, place
            out += 1


@kernel
def _route(job, geometry, dy, indices, dx):
    """One image of C interleaved channels, or one plane (C = 1)."""
    g = geometry[0]
    C, area = g.C, g.P * g.Q
    size = g.H * g.W * C
    image = dx[job * size : (job + 1) * size]
    for i in range(image.size):
        image[i] = 0
    for pixel in range(job * area, (job + 1) * area):
        errors, places = dy[pixel * C : (pixel + 1) * C], indices[pixel * C : (pixel + 1) * C]
        for c in range(C):
            if places[c] >= 0:
                image[places[c] * C + c] += errors[c]
