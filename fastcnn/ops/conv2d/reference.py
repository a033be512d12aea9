"""The definition of convolution and its two gradients, tap by tap in float64. Every other variant must agree with it.

It uses nothing of fastcnn and no compiled code: for each group and each tap (r, s) of the kernel, the input pixels that the tap
meets are one strided slice of the padded input.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


def forward(problem: Any, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """y[n,k,p,q] = bias[k] + sum over c,r,s of x[n, c, p*stride + r*dilation, q*stride + s*dilation] * weight[k,c,r,s]."""
    padded = _pad(problem, x)
    total = np.zeros(y.shape, np.float64)
    total += bias.astype(np.float64)[:, None, None]
    for filters, r, s, pixels in _taps(problem):
        total[:, filters] += np.einsum("nchw,kc->nkhw", padded[pixels], weight[filters, :, r, s].astype(np.float64), optimize=True)
    y[...] = total


def backward_input(problem: Any, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """dx[n,c,h,w] = sum over the outputs (k,p,q) that read this pixel through a tap (r,s) of dy[n,k,p,q] * weight[k,c,r,s]."""
    p = problem
    padded = np.zeros((p.N, p.C, p.top + p.H + p.bottom, p.left + p.W + p.right))
    for filters, r, s, pixels in _taps(problem):
        padded[pixels] += np.einsum(
            "nkhw,kc->nchw", dy[:, filters].astype(np.float64), weight[filters, :, r, s].astype(np.float64), optimize=True
        )
    dx[...] = padded[:, :, p.top : p.top + p.H, p.left : p.left + p.W]


def backward_weight(problem: Any, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """dweight[k,c,r,s] = sum over n,p,q of x[n, c, p*stride + r*dilation, q*stride + s*dilation] * dy[n,k,p,q]."""
    padded = _pad(problem, x)
    for filters, r, s, pixels in _taps(problem):
        taps = padded[pixels]
        dweight[filters, :, r, s] = np.einsum("nchw,nkhw->kc", taps, dy[:, filters].astype(np.float64), optimize=True)


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
