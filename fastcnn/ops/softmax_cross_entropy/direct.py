"""Softmax with cross-entropy row by row: maximum, exponentials, and the loss or its gradient while the row is in cache."""

from __future__ import annotations

import math

import numpy as np

from ...jit import kernel
from .problem import SoftmaxCrossEntropyProblem, work


def forward(problem: SoftmaxCrossEntropyProblem, x: np.ndarray, target: np.ndarray, losses: np.ndarray) -> None:
    """Loss of every row; the maximum is subtracted first, so that no exponential overflows."""
    _losses.launch(problem.N, x, target, losses, work=work(problem, "forward"))


def backward_input(problem: SoftmaxCrossEntropyProblem, dloss: np.ndarray, x: np.ndarray, target: np.ndarray, dx: np.ndarray) -> None:
    """Gradient of every row."""
    _gradient.launch(problem.N, dloss, x, target, dx, work=work(problem, "backward_input"))


@kernel
def _losses(job, x, target, losses):
    row, wanted = x[job], target[job]
    top = row[0]
    for value in row:
        if value > top or value != value:
            top = value
    total, loss = 0.0, 0.0  # float64: log of a float32 sum would lose what small losses are made of
    for value in row:
        total += math.exp(value - top)
    log_total = math.log(total)
    for c in range(row.size):
        if wanted[c] != 0:  # 0 log 0 = 0: a logit of -inf that is not wanted costs nothing
            loss += wanted[c] * (log_total - (row[c] - top))
        else:
            loss += wanted[c] * log_total
    losses[job] = loss


@kernel
def _gradient(job, dloss, x, target, dx):
    row, wanted, out = x[job], target[job], dx[job]
    top = row[0]
    for value in row:
        if value > top or value != value:
            top = value
    total, mass = 0.0, 0.0
    for c in range(row.size):
        out[c] = math.exp(row[c] - top)
        total += out[c]
        mass += wanted[c]
    scale = mass / total
    for c in range(row.size):
        out[c] = dloss[job] * (out[c] * scale - wanted[c])
