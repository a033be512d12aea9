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
    last = checks.is_channels_last(dx)
    jobs = problem.N if last else problem.N * problem.C
    geometry = np.array([problem._replace(C=problem.C if last else 1)], GEOMETRY)
    _route.launch(jobs, geometry, checks.flat(dy), checks.flat(indices), checks.flat(dx), work=8.0 * (dx.size + dy.size))


def _geometry(problem: MaxPool2dProblem) -> np.ndarray:
    return np.array([problem], GEOMETRY)


def _lowest(dtype: np.dtype) -> np.ndarray:
    return np.array([-np.inf if dtype.kind == "f" else np.iinfo(dtype).min], dtype)


@kernel
def _pool_channels(job, geometry, x, y, indices, lowest):
    """One output row of one image, all its channels; y and indices hold the best so far."""
    g = geometry[0]
    C, H, W = g.C, g.H, g.W  # in registers: as a field it would be read again after every store, and the loop stay scalar
    n, p = job // g.P, job % g.P
    for q in range(g.Q):
        out = (job * g.Q + q) * C
        best, place = y[out : out + C], indices[out : out + C]
        empty = True
        for r in range(g.R):
            h = p * g.stride_h - g.pad_h + r * g.dilation_h
            if h < 0 or h >= H:
                continue
            for s in range(g.S):
                w = q * g.stride_w - g.pad_w + s * g.dilation_w
                if w < 0 or w >= W:
                    continue
                at = h * W + w
                first = (n * H * W + at) * C
                if empty:
                    for c in range(C):
                        best[c], place[c] = x[first + c], at
                    empty = False
                else:
                    for c in range(C):
                        value = x[first + c]
                        better = (value > best[c]) | (value != value)  # NaN wins
                        best[c] = value if better else best[c]
                        place[c] = at if better else place[c]
        if empty:
            for c in range(C):
                best[c], place[c] = lowest[0], -1


@kernel
def _pool_planes(job, geometry, x, y, indices, lowest):
    """One channel of one image."""
    g = geometry[0]
    plane, out = job * g.H * g.W, job * g.P * g.Q
    for p in range(g.P):
        top = p * g.stride_h - g.pad_h
        for q in range(g.Q):
            left = q * g.stride_w - g.pad_w
            best, place = lowest[0], -1
            for r in range(g.R):
                h = top + r * g.dilation_h
                if h < 0 or h >= g.H:
                    continue
                for s in range(g.S):
                    w = left + s * g.dilation_w
                    if w < 0 or w >= g.W:
                        continue
                    value = x[plane + h * g.W + w]
                    if place < 0 or value > best or value != value:
                        best, place = value, h * g.W + w
            y[out], indices[out] = best, place
            out += 1


@kernel
def _route(job, geometry, dy, indices, dx):
    """One image of C interleaved channels, or one plane (C = 1)."""
    g = geometry[0]
    C = g.C
    first = job * g.H * g.W * C
    for i in range(first, first + g.H * g.W * C):
        dx[i] = 0
    for pixel in range(job * g.P * g.Q, (job + 1) * g.P * g.Q):
        for c in range(C):
            place = indices[pixel * C + c]
            if place >= 0:
                dx[first + place * C + c] += dy[pixel * C + c]
