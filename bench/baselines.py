"""What people write without fastcnn: the loops of the definition, compiled by Numba or left to Python, and scipy.signal.

A baseline has the parameters of the operation's reference. The first one of a direction is the yardstick of "speed-up".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from fastcnn.compare import Baseline
from fastcnn.ops.conv2d import Conv2dProblem
from fastcnn.ops.max_pool2d import MaxPool2dProblem

_COMPILED, _PYTHON, _SCIPY = 1.5e9, 4e6, 3e8  # FLOP/s to expect, on the low side
_FOUND: dict[tuple[str, str], list[Baseline]] = {}


def baselines(operation: str, direction: str) -> list[Baseline]:
    """Return the baselines of an operation's direction, the yardstick first."""
    return _FOUND.get((operation, direction), [])


def names() -> list[str]:
    """Return the names of all baselines."""
    return list(dict.fromkeys(baseline.name for found in _FOUND.values() for baseline in found))


def _baseline(operation: str, direction: str, name: str, flops: float, refuses: Callable[[Any], str | None]) -> Callable[[Any], Any]:
    def add(run: Callable[..., None]) -> Callable[..., None]:
        _FOUND.setdefault((operation, direction), []).append(Baseline(name, run, flops, refuses))
        return run

    return add


def _add_loops(operation: str, direction: str, loops: Any, call: Callable[..., None], refuses: Callable[[Any], str | None]) -> None:
    """Add the same loops twice: compiled, and as plain Python. `call` fits them to the reference's parameters."""
    for name, run, flops in (("naive", loops, _COMPILED), ("python", loops.py_func, _PYTHON)):
        _baseline(operation, direction, name, flops, refuses)(lambda *args, run=run: call(run, *args))


# --- Convolution: seven loops -------------------------------------------------------------------------------------------


@njit
def _forward(x, weight, bias, y, stride_h, stride_w, dilation_h, dilation_w):  # type: ignore[no-untyped-def]
    N, K, P, Q = y.shape
    _, C, R, S = weight.shape
    for n in range(N):
        for k in range(K):
            for p in range(P):
                for q in range(Q):
                    y[n, k, p, q] = bias[k]
                    for c in range(C):
                        for r in range(R):
                            for s in range(S):
                                h, w = p * stride_h + r * dilation_h, q * stride_w + s * dilation_w
                                y[n, k, p, q] += x[n, c, h, w] * weight[k, c, r, s]


@njit
def _backward_input(dy, weight, dx, stride_h, stride_w, dilation_h, dilation_w):  # type: ignore[no-untyped-def]
    N, K, P, Q = dy.shape
    _, C, R, S = weight.shape
    for n in range(N):
        for k in range(K):
            for p in range(P):
                for q in range(Q):
                    for c in range(C):
                        for r in range(R):
                            for s in range(S):
                                h, w = p * stride_h + r * dilation_h, q * stride_w + s * dilation_w
                                dx[n, c, h, w] += dy[n, k, p, q] * weight[k, c, r, s]


@njit
def _backward_weight(x, dy, dweight, stride_h, stride_w, dilation_h, dilation_w):  # type: ignore[no-untyped-def]
    N, K, P, Q = dy.shape
    _, C, R, S = dweight.shape
    for n in range(N):
        for k in range(K):
            for p in range(P):
                for q in range(Q):
                    for c in range(C):
                        for r in range(R):
                            for s in range(S):
                                h, w = p * stride_h + r * dilation_h, q * stride_w + s * dilation_w
                                dweight[k, c, r, s] += dy[n, k, p, q] * x[n, c, h, w]


def _grouped(p: Conv2dProblem) -> str | None:
    return None if p.groups == 1 else "groups is not 1"


def _pad(p: Conv2dProblem, x: np.ndarray) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 0), (p.top, p.bottom), (p.left, p.right)))


def _crop(p: Conv2dProblem, padded: np.ndarray) -> np.ndarray:
    return padded[:, :, p.top : p.top + p.H, p.left : p.left + p.W]


def _steps(p: Conv2dProblem) -> tuple[int, int, int, int]:
    return p.stride_h, p.stride_w, p.dilation_h, p.dilation_w


def _call_forward(run: Any, p: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    run(_pad(p, x), weight, bias, y, *_steps(p))


def _call_backward_input(run: Any, p: Conv2dProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    padded = np.zeros((p.N, p.C, p.top + p.H + p.bottom, p.left + p.W + p.right), dx.dtype)
    run(dy, weight, padded, *_steps(p))
    dx[...] = _crop(p, padded)


def _call_backward_weight(run: Any, p: Conv2dProblem, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    dweight.fill(0)
    run(_pad(p, x), dy, dweight, *_steps(p))


_add_loops("conv2d", "forward", _forward, _call_forward, _grouped)
_add_loops("conv2d", "backward_input", _backward_input, _call_backward_input, _grouped)
_add_loops("conv2d", "backward_weight", _backward_weight, _call_backward_weight, _grouped)


# --- Convolution: scipy, one plane at a time ---------------------------------------------------------------------------


def _not_for_scipy(p: Conv2dProblem) -> str | None:
    try:
        import scipy.signal  # noqa: F401
    except ImportError:
        return "scipy is not installed"
    return None if _steps(p) == (1, 1, 1, 1) and p.groups == 1 else "stride, dilation or groups is not 1"


@_baseline("conv2d", "forward", "scipy", _SCIPY, _not_for_scipy)
def _scipy_forward(p: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    from scipy.signal import correlate2d

    padded = _pad(p, x)
    y[...] = bias[:, None, None]
    for n, k, c in np.ndindex(p.N, p.K, p.C):
        y[n, k] += correlate2d(padded[n, c], weight[k, c], "valid")


@_baseline("conv2d", "backward_input", "scipy", _SCIPY, _not_for_scipy)
def _scipy_backward_input(p: Conv2dProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    from scipy.signal import convolve2d

    padded = np.zeros((p.N, p.C, p.top + p.H + p.bottom, p.left + p.W + p.right), dx.dtype)
    for n, k, c in np.ndindex(p.N, p.K, p.C):
        padded[n, c] += convolve2d(dy[n, k], weight[k, c], "full")
    dx[...] = _crop(p, padded)


@_baseline("conv2d", "backward_weight", "scipy", _SCIPY, _not_for_scipy)
def _scipy_backward_weight(p: Conv2dProblem, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    from scipy.signal import correlate2d

    padded = _pad(p, x)
    dweight.fill(0)
    for n, k, c in np.ndindex(p.N, p.K, p.C):
        dweight[k, c] += correlate2d(padded[n, c], dy[n, k], "valid")


# --- Max-pooling -------------------------------------------------------------------------------------------------------


@njit
def _pool(x, y, indices, R, S, stride_h, stride_w, pad_h, pad_w):  # type: ignore[no-untyped-def]
    N, C, H, W = x.shape
    _, _, P, Q = y.shape
    for n in range(N):
        for c in range(C):
            for p in range(P):
                for q in range(Q):
                    best, place = -np.inf, -1
                    for r in range(R):
                        for s in range(S):
                            h, w = p * stride_h + r - pad_h, q * stride_w + s - pad_w
                            if 0 <= h < H and 0 <= w < W and x[n, c, h, w] > best:
                                best, place = x[n, c, h, w], h * W + w
                    y[n, c, p, q], indices[n, c, p, q] = best, place


@njit
def _unpool(dy, indices, dx):  # type: ignore[no-untyped-def]
    N, C, P, Q = dy.shape
    W = dx.shape[3]
    for n in range(N):
        for c in range(C):
            for p in range(P):
                for q in range(Q):
                    place = indices[n, c, p, q]
                    if place >= 0:
                        dx[n, c, place // W, place % W] += dy[n, c, p, q]


def _not_for_loops(p: MaxPool2dProblem) -> str | None:
    if p.adaptive or not p.with_indices:
        return "windows are adaptive" if p.adaptive else "finds the indices too"
    return None if (p.dilation_h, p.dilation_w) == (1, 1) else "dilation is not 1"


def _call_pool(run: Any, p: MaxPool2dProblem, x: np.ndarray, y: np.ndarray, indices: np.ndarray) -> None:
    run(x, y, indices, p.R, p.S, p.stride_h, p.stride_w, p.pad_h, p.pad_w)


def _call_unpool(run: Any, p: MaxPool2dProblem, dy: np.ndarray, indices: np.ndarray, dx: np.ndarray) -> None:
    dx.fill(0)
    run(dy, indices, dx)


_add_loops("max_pool2d", "forward", _pool, _call_pool, _not_for_loops)
_add_loops("max_pool2d", "backward_input", _unpool, _call_unpool, _not_for_loops)


# --- Dense layers, softmax ---------------------------------------------------------------------------------------------


@njit
def _linear(x, weight, bias, y):  # type: ignore[no-untyped-def]
    N, features = x.shape
    for n in range(N):
        for o in range(weight.shape[0]):
            y[n, o] = bias[o]
            for i in range(features):
                y[n, o] += x[n, i] * weight[o, i]


@njit
def _softmax(x, y):  # type: ignore[no-untyped-def]
    outer, C, inner = x.shape
    for o in range(outer):
        for i in range(inner):
            largest = -np.inf
            for c in range(C):
                largest = max(largest, x[o, c, i])
            total = 0.0
            for c in range(C):
                y[o, c, i] = np.exp(x[o, c, i] - largest)
                total += y[o, c, i]
            for c in range(C):
                y[o, c, i] /= total


def _any(problem: Any) -> None:
    return None


def _logarithm(problem: Any) -> str | None:
    return "logarithm" if problem.log else None


_add_loops("linear", "forward", _linear, lambda run, problem, *arrays: run(*arrays), _any)
_add_loops("softmax", "forward", _softmax, lambda run, problem, *arrays: run(*arrays), _logarithm)
