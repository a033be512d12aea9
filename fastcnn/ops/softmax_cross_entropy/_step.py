"""Loss, gradient and the number of right predictions in one pass over the logits: what a step of training needs."""

from __future__ import annotations

import functools
import math
from numbers import Real
from typing import Any

import numpy as np

from ... import checks, machine
from ...jit import kernel
from ...simd import float_of_bits

_OP = "softmax_cross_entropy_step"
_BLOCK = 2048  # elements of a job: 8 KiB of float32, which stay in L1 from the maximum to the gradient
_INT64 = np.dtype(np.int64)


def softmax_cross_entropy_step(input: Any, target: Any, label_smoothing: float = 0.0) -> tuple[float, np.ndarray, int]:
    """Return the mean loss of `softmax_cross_entropy`, its gradient, and how many largest logits are their labels'.

    Parameters
    ----------
    input : (N, C) float32 or float64
        Logits.
    target : (N,) integers from 0 to C - 1
    label_smoothing : float in [0, 1]
        Mixes the one-hot target with the uniform distribution.

    Returns
    -------
    loss : float
        Summed up in float64; NaN for an empty batch. Infinities and NaN of the logits reach it.
    gradient : (N, C) ndarray of the input's dtype
        (softmax(input) - target) / N.
    right : int
        Where several logits are the largest, the first one counts, as in `numpy.argmax`; NaN are passed over.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived; also for a label outside 0..C-1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.ops.softmax_cross_entropy import softmax_cross_entropy_step
    >>> loss, gradient, right = softmax_cross_entropy_step(np.zeros((1, 4)), np.array([0]))
    >>> round(loss, 6), gradient, right  # log 4
    (1.386294, array([[-0.75,  0.25,  0.25,  0.25]]), 1)
    """
    x = checks.contiguous(checks.array(_OP, "input", input, "NC"))
    N, C = x.shape
    labels = _labels(target, N)
    if C == 0:
        raise ValueError(f"{_OP}: input must have at least one class; got shape {x.shape}")
    if isinstance(label_smoothing, bool) or not isinstance(label_smoothing, Real):
        raise TypeError(f"{_OP}: label_smoothing must be a float; got {type(label_smoothing).__name__}")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{_OP}: label_smoothing must be between 0 and 1; got {label_smoothing}")
    gradient = np.empty((N, C), x.dtype)
    if N == 0:
        return math.nan, gradient, 0
    rows = max(1, _BLOCK // C)
    results = np.empty((-(-N // rows), 3))
    _launcher(N, C, rows, x.dtype, machine.get_threads())(x, labels, np.array([float(label_smoothing), rows]), gradient, results)
    loss, right, wrong = results[0].tolist() if len(results) == 1 else results.sum(axis=0).tolist()
    if wrong:
        first = labels[(labels < 0) | (labels >= C)][0]
        raise ValueError(f"{_OP}: target labels must be between 0 and {C - 1}; got {first}")
    return loss / N, gradient, int(right)


def _labels(target: Any, N: int) -> np.ndarray:
    if not (type(target) is np.ndarray and target.dtype == _INT64 and target.ndim == 1 and target.flags.carray):
        target = checks.array(_OP, "target", target, "N", None)
        if target.dtype.kind not in "iu":
            raise TypeError(f"{_OP}: target must hold integer labels; got dtype {target.dtype}")
        if target.dtype == np.uint64 and target.size and target.max() > np.iinfo(np.int64).max:
            raise ValueError(f"{_OP}: target labels must be below C; got {target.max()}")
        target = checks.contiguous(target.astype(np.int64, copy=False))
    checks.same_shape(_OP, "target", target, (N,), "one label per row of the input")
    labels: np.ndarray = target
    return labels


@functools.lru_cache(maxsize=64)
def _launcher(N: int, C: int, rows: int, dtype: np.dtype, threads: int) -> Any:
    """Return the launch for a shape and, as `Kernel.bound` asks for them, the caller's threads."""
    sample, numbers = np.empty((0, 0), dtype), np.empty((0, 0))
    return _kernel(dtype).bound(-(-N // rows), sample, np.empty(0, np.int64), numbers[0:0].ravel(), sample, numbers, work=20.0 * N * C)


@functools.cache
def _kernel(dtype: np.dtype) -> Any:
    exponential = _exponential() if dtype.itemsize == 4 else math.exp
    real = dtype.type

    @kernel(specialisation=dtype.str)
    def step(job, x, target, settings, gradient, results):
        """Rows job * rows ...; results[job] = sum of losses, right predictions, labels out of range."""
        smoothing, rows = settings[0], int(settings[1])
        N, C = x.shape
        first = job * rows
        count = min(rows, N - first)
        loss, right, wrong = 0.0, 0, 0
        for n in range(first, first + count):
            row, out = x[n], gradient[n]
            top = row[0]
            for c in range(1, C):
                top = row[c] if row[c] > top else top  # passes over NaN, which the sum below meets
            label = target[n]
            if label < 0 or label >= C:
                wrong += 1
                label = 0
            before = 0  # the first of equals counts
            for c in range(C):
                out[c] = row[c] - top
                before += (row[c] == top) & (c < label)
            right += (row[label] == top) & (before == 0)
            loss -= (1 - smoothing) * out[label] if smoothing != 1 else 0.0  # 0 inf would be NaN
            if smoothing != 0:
                distance = 0.0
                for c in range(C):
                    distance += out[c]
                loss -= smoothing / C * distance
        block = gradient[first : first + count].reshape(count * C)
        for i in range(block.size):  # all rows at once, in vectors
            block[i] = exponential(block[i])
        share, each = (1 - smoothing) / N, smoothing / C / N
        for n in range(count):
            out = block[n * C : (n + 1) * C]
            total = 0.0  # float64: log of a float32 sum would lose what small losses are made of
            for c in range(C):
                total += out[c]
            loss += math.log(total)
            scale, even = real(1 / (total * N)), real(each)
            for c in range(C):
                out[c] = out[c] * scale - even
            label = target[first + n]
            out[label if 0 <= label < C else 0] -= real(share)
        results[job, 0], results[job, 1], results[job, 2] = loss, right, wrong

    return step


@functools.cache
def _exponential() -> Any:
    """Return a kernel of exp(x) for x <= 0 in float32 that LLVM vectorises, unlike the C library's; results below 2^-126 are 0.

    x = n log 2 + r with |r| <= log(2) / 2; the polynomial of S. Moshier's Cephes library (expf.c): 2 units in the last place at most.
    """
    f, from_bits = np.float32, float_of_bits()
    log2e, high, low, least = f(1.44269504), f(0.693359375), f(-2.12194440e-4), f(-87.3)
    c5, c4, c3, c2, c1, c0 = f(1.9875691500e-4), f(1.3981999507e-3), f(8.3334519073e-3), f(4.1665795894e-2), f(1.6666665459e-1), f(0.5)
    shift, one, zero = f(1.5 * 2**23), f(1), f(0)

    @kernel(inline=True)
    def exponential(x):
        inside = x if x > least else least  # also NaN, which no integer stands for
        n = (inside * log2e + shift) - shift  # the nearest integer: the sum has no bits for more (`np.floor` stays scalar in Numba)
        r = (inside - n * high) - n * low
        y = ((((c5 * r + c4) * r + c3) * r + c2) * r + c1) * r + c0
        y = (y * (r * r) + r) + one
        y *= from_bits((np.int32(n) + np.int32(127)) << np.int32(23))
        small = zero if x <= least else x  # NaN stays
        return y if x > least else small

    return exponential
