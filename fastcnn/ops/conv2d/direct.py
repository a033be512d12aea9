"""Direct convolution on register tiles, channels-last inside: no im2col buffer, every input value is read from cache.

Forward is one correlation. Backward-input with stride s is s*s of them: the input pixels of one phase (a, b) meet only every s-th tap of
the kernel, so each phase is a stride-1 correlation of dy with those taps, flipped, and no zero is ever multiplied.
References: Zhang, Franchetti & Low, arXiv 1809.10170; Georganas et al., arXiv 1808.05567.
"""

from __future__ import annotations

import numpy as np

from ... import checks
from ...machine import tiles_available
from . import im2col
from ._correlate import correlate, geometry_of
from ._filters import Taps, all_taps, flipped
from ._weight_gradient import weight_gradient
from .problem import Conv2dProblem

_ROW_BYTES = 2**28  # of a job's padded rows, in float64; only absurd padding comes near


def refuses(problem: Conv2dProblem) -> str | None:
    """Dilated taps are not contiguous in a channels-last row, and a group's channels are too few for a tile."""
    if problem.dilation_h != 1 or problem.dilation_w != 1:
        return "dilation is not 1"
    if problem.groups != 1:
        return "groups is not 1"
    p = problem
    if p.R * ((p.Q - 1) * p.stride_w + p.S) * max(p.C, p.K, 32) * 8 > _ROW_BYTES:  # K is padded to a block of at most 32
        return f"the input rows of one output row take more than {_ROW_BYTES // 2**20} MiB with their padding"
    return tiles_available()


def defers(problem: Conv2dProblem, direction: str) -> str | None:
    """Two shapes on which im2col with BLAS was 2 to 5 times faster; `fastcnn compare conv2d` shows it."""
    if direction == "backward_input" and problem.C < 4:
        return f"{problem.C} input channel(s) fill too little of a tile"
    if direction == "backward_weight" and problem.K * problem.C * problem.R * problem.S > 2**20 and problem.N * problem.P * problem.Q < 512:
        return "the weight is larger than the cache, and too few pixels are summed into it"
    return None


def forward(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Correlate x with the weights; the accumulators start from the bias."""
    p = problem
    geometry = geometry_of((p.K, p.R, p.S, p.stride_h, p.stride_w, p.top, p.left), x, y, p.groups)
    correlate(geometry, checks.flat(x), all_taps(weight.shape, p.groups), weight, bias, checks.flat(y))


def backward_input(problem: Conv2dProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Correlate dy with the flipped taps of each phase of the stride."""
    p = problem
    if not np.isfinite(weight.sum()):  # the zeros around dy times Inf are NaN; im2col has no such products
        return im2col.backward_input(problem, dy, weight, dx)
    if p.stride_h > p.R or p.stride_w > p.S:
        dx[...] = 0  # some phases meet no tap
    dx_n, dx_c, dx_h, dx_w = checks.strides(dx)
    for a in _phases(p.R, p.stride_h, p.top, p.H):
        first_r, up = _phase(a, p.top, p.stride_h)
        for b in _phases(p.S, p.stride_w, p.left, p.W):
            first_s, back = _phase(b, p.left, p.stride_w)
            vertical = Taps(first_r, p.stride_h, -(-(p.R - first_r) // p.stride_h))
            horizontal = Taps(first_s, p.stride_w, -(-(p.S - first_s) // p.stride_w))
            J, L = vertical.count, horizontal.count
            phase = dx[:, :, a :: p.stride_h, b :: p.stride_w]
            geometry = geometry_of((p.C, J, L, 1, 1, J - 1 - up, L - 1 - back), dy, phase, p.groups)._replace(
                y_first=a * dx_h + b * dx_w, y_n=dx_n, y_c=dx_c, y_h=p.stride_h * dx_h, y_w=p.stride_w * dx_w
            )
            correlate(geometry, checks.flat(dy), flipped(weight.shape, vertical, horizontal, p.groups), weight, None, checks.flat(dx))
    return None


def _phases(taps: int, stride: int, before: int, size: int) -> list[int]:
    """Return the offsets within a stride whose pixels meet a tap and lie in the image."""
    return sorted({a for r in range(min(taps, stride)) if (a := (r - before) % stride) < size})


def _phase(offset: int, before: int, stride: int) -> tuple[int, int]:
    """Return the first tap that pixels at `offset` of a stride meet, and the output row of that tap for the first pixel."""
    first = (offset + before) % stride
    return first, (offset + before - first) // stride


def backward_weight(problem: Conv2dProblem, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """Sum x times dy over all output pixels."""
    weight_gradient(problem, x, dy, dweight)
