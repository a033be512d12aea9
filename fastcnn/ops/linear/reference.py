"""The definition of a fully connected layer and its gradients, in float64, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np


def forward(problem: Any, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """y[n,o] = bias[o] + sum over i of x[n,i] * weight[o,i]."""
    for n in range(len(x)):
        y[n] = (x[n].astype(np.float64) * weight).sum(axis=1) + bias


def backward_input(problem: Any, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
    """dx[n,i] = sum over o of dy[n,o] * weight[o,i]."""
    for n in range(len(dy)):
        dx[n] = (dy[n].astype(np.float64)[:, None] * weight).sum(axis=0)


def backward_weight(problem: Any, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """dweight[o,i] = sum over n of dy[n,o] * x[n,i]."""
    for o in range(dweight.shape[0]):
        dweight[o] = (dy[:, o].astype(np.float64)[:, None] * x).sum(axis=0)
