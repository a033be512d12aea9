"""The gradient of a per-channel bias: a sum over images and pixels."""

from __future__ import annotations

import numpy as np

from ... import checks
from ...jit import kernel

_CHUNK = 2048  # pixels summed one by one; the sums of chunks are summed after them, which also rounds less


def sum_over_pixels(dy: np.ndarray) -> np.ndarray:
    """Return the sums (K,) of a `checks.dense` array (N, K, P, Q)."""
    K = dy.shape[1]
    if not checks.is_channels_last(dy):  # NumPy is fast along contiguous planes only
        with np.errstate(over="ignore", invalid="ignore"):
            return dy.sum(axis=(2, 3)).sum(axis=0)
    pixels = checks.flat(dy).reshape(-1, K)
    partial = np.empty((-(-len(pixels) // _CHUNK), K), dy.dtype)
    _sum_chunk.launch(len(partial), pixels, partial, work=8.0 * pixels.size)
    with np.errstate(over="ignore", invalid="ignore"):
        return partial.sum(axis=0)


@kernel
def _sum_chunk(job, pixels, partial):
    total = partial[job]
    for k in range(total.size):
        total[k] = 0
    for row in range(job * _CHUNK, min(len(pixels), (job + 1) * _CHUNK)):
        pixel = pixels[row]
        for k in range(total.size):
            total[k] += pixel[k]
