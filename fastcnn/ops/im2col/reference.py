"""The definition of im2col and of its adjoint col2im, window by window."""

from __future__ import annotations

from typing import Any

import numpy as np


def forward(problem: Any, x: np.ndarray, columns: np.ndarray) -> None:
    """columns[n, (c*R + r)*S + s, p*Q + q] = padded x[n, c, p*stride + r*dilation, q*stride + s*dilation]."""
    g = problem
    padded = np.pad(x, ((0, 0), (0, 0), (g.top, g.bottom), (g.left, g.right)))
    for p in range(g.P):
        for q in range(g.Q):
            columns[:, :, p * g.Q + q] = padded[_window(g, p, q)].reshape(g.N, g.C * g.R * g.S)


def backward_input(problem: Any, columns: np.ndarray, x: np.ndarray) -> None:
    """x[n,c,h,w] = sum of the columns' elements that im2col takes from this pixel."""
    g = problem
    padded = np.zeros((g.N, g.C, g.top + g.H + g.bottom, g.left + g.W + g.right))
    for p in range(g.P):
        for q in range(g.Q):
            padded[_window(g, p, q)] += columns[:, :, p * g.Q + q].reshape(g.N, g.C, g.R, g.S)
    x[...] = padded[:, :, g.top : g.top + g.H, g.left : g.left + g.W]


def _window(g: Any, p: int, q: int) -> tuple[slice, slice, slice, slice]:
    h, w = p * g.stride_h, q * g.stride_w
    rows = slice(h, h + g.dilation_h * (g.R - 1) + 1, g.dilation_h)
    return slice(None), slice(None), rows, slice(w, w + g.dilation_w * (g.S - 1) + 1, g.dilation_w)
