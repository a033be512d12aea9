"""How the work on a batch is cut into jobs, for both memory formats."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

_ROW = 512  # elements of a row of accumulators, about: wide enough that one is not needed again before it is stored
_VECTORS = 64  # elements that a row holds a multiple of, where possible: LLVM's loops take so many at once
_ROWS = 64  # of a job: so many float32 sums, added up in groups of four, then meet in float64
_PLANES = 2**15  # elements of a job on planes, about


class Geometry(NamedTuple):
    """Channels-last images are a run of N pixels of C values (`area` is 1), NCHW ones N images of C planes of `area` values.

    `part` counts pixels of a job, or images of which a job on planes takes one channel; `group` is how often the channels are repeated in
    a row of accumulators. Jobs are cut by the shape alone: results do not depend on the number of threads.
    """

    N: int
    C: int
    area: int
    group: int
    part: int
    parts: int
    run: int  # pixels, or planes, of a job that normalises or writes dx
    runs: int
    eps: float = 0.0


GEOMETRY = np.dtype([(name, np.float64 if name == "eps" else np.int64) for name in Geometry._fields])


def of_pixels(pixels: int, C: int) -> Geometry:
    """Return the geometry for a run of pixels of C neighbouring values."""
    even = _VECTORS // math.gcd(C, _VECTORS)
    group = even * max(1, _ROW // (even * C)) if even * C <= 2 * _ROW else max(1, _ROW // C)
    part = _ROWS * group
    parts = -(-pixels // part)
    return Geometry(pixels, C, 1, group, part, parts, part, parts)


def of_planes(N: int, C: int, area: int) -> Geometry:
    """Return the geometry for N images of C planes of `area` values."""
    row = min(max(2 ** (max(area, 1).bit_length() - 3), _VECTORS), _ROW)
    part = max(1, _PLANES // max(area, 1))
    return Geometry(N, C, area, row, part, -(-N // part), part, -(-N * C // part))
