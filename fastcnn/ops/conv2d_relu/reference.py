"""The definition of a convolution with ReLU, and its gradients, tap by tap in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


def forward(problem: Any, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Y = max(0, convolution of x with weight, plus bias); NaN stays NaN."""
    padded = _pad(problem, x)
    total = np.zeros(y.shape) + bias.astype(np.float64)[:, None, None]
    for filters, r, s, pixels in _taps(problem):
        total[:, filters] += np.einsum("nchw,kc->nkhw", padded[pixels], weight[filters, :, r, s].astype(np.float64), optimize=True)
    y[...] = np.where(total <= 0, 0, total)


def backward_input(problem: Any, dy: np.ndarray, y: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Dx = the convolution's gradient for dy where y is not <= 0 (NaN passes), else 0."""
    p = problem
    errors = _errors(dy, y)
    padded = np.zeros((p.N, p.C, p.top + p.H + p.bottom, p.left + p.W + p.right))
    for filters, r, s, pixels in _taps(problem):
        padded[pixels] += np.einsum("nkhw,kc->nchw", errors[:, filters], weight[filters, :, r, s].astype(np.float64), optimize=True)
    dx[...] = padded[:, :, p.top : p.top + p.H, p.left : p.left + p.W]


def backward_weight(problem: Any, x: np.ndarray, dy: np.ndarray, y: np.ndarray, dweight: np.ndarray, dbias: np.ndarray) -> None:
    """Compute the gradients of weight and bias for dy where y is not <= 0."""
    padded, errors = _pad(problem, x), _errors(dy, y)
    for filters, r, s, pixels in _taps(problem):
        dweight[filters, :, r, s] = np.einsum("nchw,nkhw->kc", padded[pixels], errors[:, filters], optimize=True)
    dbias[...] = errors.sum(axis=(0, 2, 3))


def _errors(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(y <= 0, 0, dy).astype(np.float64)


def _pad(problem: Any, x: np.ndarray) -> np.ndarray:
    p = problem
    return np.pad(x.astype(np.float64), ((0, 0), (0, 0), (p.top, p.bottom), (p.left, p.right)))


def _taps(problem: Any) -> Iterator[tuple[slice, int, int, tuple[slice, slice, slice, slice]]]:
    """Yield (the filters of a group, r, s, and the index of the padded pixels that this tap meets, one per output)."""
    p = problem
    height, width = p.top + p.H + p.bottom, p.left + p.W + p.right
    P = (height - p.dilation_h * (p.R - 1) - 1) // p.stride_h + 1
    Q = (width - p.dilation_w * (p.S - 1) - 1) // p.stride_w + 1
    for group in range(p.groups):
        channels = slice(group * (p.C // p.groups), (group + 1) * (p.C // p.groups))
        filters = slice(group * (p.K // p.groups), (group + 1) * (p.K // p.groups))
        for r in range(p.R):
            rows = slice(r * p.dilation_h, r * p.dilation_h + (P - 1) * p.stride_h + 1, p.stride_h)
            for s in range(p.S):
                columns = slice(s * p.dilation_w, s * p.dilation_w + (Q - 1) * p.stride_w + 1, p.stride_w)
                yield filters, r, s, (slice(None), channels, rows, columns)
