"""im2col and col2im by straight loops, one job per image and channel, along rows of the output.

A job of col2im owns its channel, so that overlapping windows add up without races and always in the same order.
"""

from __future__ import annotations

import numpy as np

from ... import checks
from ...jit import kernel
from .problem import Im2colProblem

GEOMETRY = np.dtype([(name, np.int64) for name in (*Im2colProblem._fields, "P", "Q", "x_n", "x_c", "x_h", "x_w")])


def forward(problem: Im2colProblem, x: np.ndarray, columns: np.ndarray) -> None:
    """Copy every tap's pixels, a row of windows at a time."""
    _gather.launch(problem.N * problem.C, _geometry(problem, x), checks.flat(x), columns.reshape(-1), work=8.0 * columns.size)


def backward_input(problem: Im2colProblem, columns: np.ndarray, x: np.ndarray) -> None:
    """Add every tap's pixels back, a row of windows at a time."""
    _scatter.launch(problem.N * problem.C, _geometry(problem, x), columns.reshape(-1), checks.flat(x), work=8.0 * columns.size)


def _geometry(problem: Im2colProblem, x: np.ndarray) -> np.ndarray:
    return np.array([(*problem, problem.P, problem.Q, *checks.strides(x))], GEOMETRY)


@kernel(inline=True)
def _first_inside(offset, stride):
    """Return the first window index whose tap at `offset` from the window's origin is not in the padding before."""
    return max(0, -(offset // stride)) if offset < 0 else 0


@kernel
def _gather(job, geometry, x, columns):
    g = geometry[0]
    zero, step = x.dtype.type(0), g.stride_w * g.x_w
    image = job // g.C * g.x_n + job % g.C * g.x_c
    for r in range(g.R):
        for s in range(g.S):
            left = s * g.dilation_w - g.left
            first = min(g.Q, _first_inside(left, g.stride_w))
            last = max(first, min(g.Q, (g.W - 1 - left) // g.stride_w + 1))
            for p in range(g.P):
                out = (((job * g.R + r) * g.S + s) * g.P + p) * g.Q
                row = columns[out : out + g.Q]
                h = p * g.stride_h + r * g.dilation_h - g.top
                if first > 0 or last < g.Q or h < 0 or h >= g.H:
                    for q in range(row.size):
                        row[q] = zero
                if 0 <= h < g.H:
                    inside, source = row[first:last], image + h * g.x_h + (left + first * g.stride_w) * g.x_w
                    pixels = x[source : source + (inside.size - 1) * step + 1]
                    if step == 1:
                        for q in range(inside.size):
                            inside[q] = pixels[q]
                    else:
                        for q in range(inside.size):
                            inside[q] = pixels[q * step]


@kernel
def _scatter(job, geometry, columns, x):
    g = geometry[0]
    step = g.stride_w * g.x_w
    image = job // g.C * g.x_n + job % g.C * g.x_c
    for h in range(g.H):
        for w in range(g.W):
            x[image + h * g.x_h + w * g.x_w] = 0
    for r in range(g.R):
        for s in range(g.S):
            left = s * g.dilation_w - g.left
            first = min(g.Q, _first_inside(left, g.stride_w))
            last = max(first, min(g.Q, (g.W - 1 - left) // g.stride_w + 1))
            for p in range(g.P):
                h = p * g.stride_h + r * g.dilation_h - g.top
                if 0 <= h < g.H:
                    taps = (((job * g.R + r) * g.S + s) * g.P + p) * g.Q
                    inside, target = columns[taps + first : taps + last], image + h * g.x_h + (left + first * g.stride_w) * g.x_w
                    pixels = x[target : target + (inside.size - 1) * step + 1]
                    if step == 1:
                        for q in range(inside.size):
                            pixels[q] += inside[q]
                    else:
                        for q in range(inside.size):
                            pixels[q * step] += inside[q]
