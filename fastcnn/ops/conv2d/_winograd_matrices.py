"""The matrices of Winograd's minimal filtering F(m x m, 3 x 3), from interpolation points by Cook and Toom's construction.

    m outputs of a filter g on n = m + 2 inputs d:    y = A' [(G g) * (B' d)]

The points decide the rounding error. 0, +-1, +-2 of Lavin & Gray give F(4 x 4) a relative error of 2.3e-6 on 128 channels; of 0, +-a, +-b
the pair 5/8, 3/2 was best, 1.0e-6, and +-1/sqrt(2), +-sqrt(2), whose squares are exact and save products, 1.1e-6. (F(2 x 2): 0.36e-6.)
References: Lavin & Gray, arXiv 1509.09308; Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution for
deep neural networks", ACM TOMS 46 (2020); Alam et al., "Winograd convolution: efficient point selection", 2022.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

TAPS = 3
_POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))}

Matrix = tuple[tuple[float, ...], ...]


class Transforms(NamedTuple):
    """The matrices of F(m x m, 3 x 3) as rows of numbers."""

    output: Matrix  # A': m x n
    filter: Matrix  # G: n x 3
    input: Matrix  # B': n x n


@functools.cache
def transforms(m: int) -> Transforms:
    """Return the matrices for m x m outputs at once, m = 2 or 4."""
    points = np.array(_POINTS[m])
    n = m + TAPS - 1
    output = np.zeros((m, n))
    output[:, : n - 1] = points ** np.arange(m)[:, None]
    output[m - 1, n - 1] = 1  # the last point is infinity
    filter, input = np.zeros((n, TAPS)), np.zeros((n, n))
    for i, point in enumerate(points):
        others = np.delete(points, i)
        filter[i] = point ** np.arange(TAPS) / np.prod(point - others)
        input[i, : n - 1] = np.poly(others)[::-1]  # coefficients of the Lagrange polynomial, constant first
    filter[n - 1, TAPS - 1] = 1
    input[n - 1] = np.poly(points)[::-1]
    return Transforms(*(_rows(matrix) for matrix in (output, filter, input)))


def _rows(matrix: np.ndarray) -> Matrix:
    """Return rows of numbers, those within rounding of an integer or a quarter made exact."""
    quarters = np.round(matrix * 4) / 4
    clean = np.where(np.abs(matrix - quarters) < 1e-12, quarters, matrix)
    return tuple(tuple(float(value) for value in row) for row in clean)


def transposed(matrix: Matrix) -> Matrix:
    """Return the transpose, which backward-weight multiplies with."""
    return tuple(zip(*matrix, strict=True))
