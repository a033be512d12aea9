"""The definition of convolution, ReLU and max-pooling in one, and of the gradients, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


def forward(problem: Any, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, winners: np.ndarray) -> None:
    """Y = the maximum of max(0, convolution) over each window; winners = its place r*S + s there, the first of equals; NaN is greatest."""
    padded = _pad(problem, x)
    total = np.zeros(_dense_shape(problem)) + bias.astype(np.float64)[:, None, None]
    for filters, r, s, pixels in _taps(problem):
        total[:, filters] += np.einsum("nchw,kc->nkhw", padded[pixels], weight[filters, :, r, s].astype(np.float64), optimize=True)
    total = np.where(total <= 0, 0, total)
    best, place = np.zeros(y.shape), np.full(y.shape, -1)
    for here, p, q, h, w in _pixels(problem):
        value = total[:, :, h, w]
        better = (place[:, :, p, q] < 0) | (value > best[:, :, p, q]) | np.isnan(value)
        best[:, :, p, q] = np.where(better, value, best[:, :, p, q])
        place[:, :, p, q] = np.where(better, here, place[:, :, p, q])
    y[...], winners[...] = best, place


def backward_input(problem: Any, dy: np.ndarray, y: np.ndarray, winners: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Dx = the convolution's gradient for dy at the winners of the windows where y is not <= 0 (NaN passes)."""
    p = problem.conv
    errors = _errors(problem, dy, y, winners)
    padded = np.zeros((p.N, p.C, p.top + p.H + p.bottom, p.left + p.W + p.right))
    for filters, r, s, pixels in _taps(problem):
        padded[pixels] += np.einsum("nkhw,kc->nchw", errors[:, filters], weight[filters, :, r, s].astype(np.float64), optimize=True)
    dx[...] = padded[:, :, p.top : p.top + p.H, p.left : p.left + p.W]


def backward_weight(
    problem: Any, x: np.ndarray, dy: np.ndarray, y: np.ndarray, winners: np.ndarray, dweight: np.ndarray, dbias: np.ndarray
) -> None:
    """Compute the gradients of weight and bias for dy at the winners."""
    padded, errors = _pad(problem, x), _errors(problem, dy, y, winners)
    for filters, r, s, pixels in _taps(problem):
        dweight[filters, :, r, s] = np.einsum("nchw,nkhw->kc", padded[pixels], errors[:, filters], optimize=True)
    dbias[...] = errors.sum(axis=(0, 2, 3))


def _errors(problem: Any, dy: np.ndarray, y: np.ndarray, winners: np.ndarray) -> np.ndarray:
    """Return the gradient before pooling."""
    errors, passed = np.zeros(_dense_shape(problem)), np.where(y <= 0, 0, dy).astype(np.float64)
    for here, p, q, h, w in _pixels(problem):
        errors[:, :, h, w] += np.where(winners[:, :, p, q] == here, passed[:, :, p, q], 0)
    return errors


def _pixels(problem: Any) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (place in the window, window p, window q, row, column) for every pixel of every window, in row-major order."""
    g = problem.pool
    for p, q in np.ndindex(g.P, g.Q):
        for r, s in np.ndindex(g.R, g.S):
            h, w = p * g.stride_h - g.pad_h + r, q * g.stride_w - g.pad_w + s
            if 0 <= h < g.H and 0 <= w < g.W:
                yield r * g.S + s, p, q, h, w


def _dense_shape(problem: Any) -> tuple[int, int, int, int]:
    return problem.conv.N, problem.conv.K, problem.pool.H, problem.pool.W


def _pad(problem: Any, x: np.ndarray) -> np.ndarray:
    p = problem.conv
    return np.pad(x.astype(np.float64), ((0, 0), (0, 0), (p.top, p.bottom), (p.left, p.right)))


def _taps(problem: Any) -> Iterator[tuple[slice, int, int, tuple[slice, slice, slice, slice]]]:
    """Yield (the filters of a group, r, s, and the index of the padded pixels that this tap meets, one per output)."""
    p = problem.conv
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
