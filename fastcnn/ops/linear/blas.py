"""The three products of a fully connected layer by NumPy's BLAS."""

from __future__ import annotations

import numpy as np

from ... import machine
from .problem import LinearProblem

# Cycles per weight beside the products: OpenBLAS copies its panels too. For a single row it multiplies by the matrix as it lies.
_PER_WEIGHT = {"forward": 3.0, "backward_input": 1.5, "backward_weight": 1.0}


# OpenBLAS gives larger products than these to threads of its own, which then spin for 2^26 cycles on the cores that our next kernels
# want: a network of 256 images at a time trained at the rate of one core, and ResNet-50 took 60 ms on two cores, as on one.
_ALONE, _ROW_ALONE = 2**19, 9216  # multiply-adds
_SPINNING = 4e7  # vector multiply-adds: half of that time


def cost(problem: LinearProblem, direction: str) -> float:
    """Products at 85 % of the peak, and the copies; one row costs a pass over the weight; what its threads do afterwards.

    Products that take its threads count twice: those are on the cores without the leave of `fastcnn.threads`, and no tile is so slow that
    they would pay.
    """
    N, I, O = problem
    alone = (_ROW_ALONE if N == 1 else _ALONE) > N * I * O or machine.max_threads() == 1
    spinning = 0.0 if alone else _SPINNING
    if N == 1:
        products, copies = I * O * (0.2 if direction != "backward_weight" else 4.0), 0.0
    else:
        products, copies = N * I * O / machine.lanes(4) / 0.85, _PER_WEIGHT[direction] * I * O
    return (1 if alone else 2) * products + copies + spinning


def forward(problem: LinearProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Y = x W' + b."""
    np.matmul(x, weight.T, out=y)
    y += bias


def backward_input(problem: LinearProblem, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """Dx = dy W."""
    np.matmul(dy, weight, out=dx)


def backward_weight(problem: LinearProblem, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """DW = dy' x."""
    np.matmul(dy.T, x, out=dweight)
