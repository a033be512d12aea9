"""The definition of batch normalisation and its gradients, channel by channel in float64."""

from __future__ import annotations

from typing import Any

import numpy as np


def forward(
    problem: Any,
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    y: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """Y = (x - mean) / sqrt(variance + eps) * weight + bias, raised to 0 with relu; mean and (biased) variance are those used."""
    for c in range(problem.C):
        values = [float(value) for value in x[:, c].flat]
        mean[c], variance[c] = running_mean[c], running_var[c]
        if problem.training:
            total = 0.0
            for value in values:
                total += value
            mean[c] = total / len(values)
            squares = 0.0
            for value in values:
                squares += (value - mean[c]) ** 2
            variance[c] = squares / len(values)
        inverse = 1 / np.sqrt(variance[c] + problem.eps)
        for n, h, w in np.ndindex(problem.N, problem.H, problem.W):
            value = (float(x[n, c, h, w]) - mean[c]) * inverse * float(weight[c]) + float(bias[c])
            y[n, c, h, w] = 0 if problem.relu and value <= 0 else value


def backward_input(
    problem: Any,
    dy: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    mean: np.ndarray,
    inverse: np.ndarray,
    dx: np.ndarray,
    dweight: np.ndarray,
    dbias: np.ndarray,
) -> None:
    """Gradients of the sum of y * dy with respect to x, weight and bias; inverse = 1 / sqrt(variance + eps).

    With normal = (x - mean) * inverse: dbias = sum dy, dweight = sum dy * normal, and in training, where mean and variance move
    with x, dx = weight * inverse * (dy - dbias / pixels - normal * dweight / pixels); else dx = weight * inverse * dy.
    """
    for c in range(problem.C):
        places = list(np.ndindex(problem.N, problem.H, problem.W))
        errors, normals = {}, {}
        sum_errors, sum_products = 0.0, 0.0
        for n, h, w in places:
            normal = (float(x[n, c, h, w]) - float(mean[c])) * float(inverse[c])
            stopped = problem.relu and normal * float(weight[c]) + float(bias[c]) <= 0
            error = 0.0 if stopped else float(dy[n, c, h, w])
            errors[n, h, w], normals[n, h, w] = error, normal
            sum_errors += error
            sum_products += error * normal
        dweight[c], dbias[c] = sum_products, sum_errors
        for n, h, w in places:
            error = errors[n, h, w]
            if problem.training:
                error -= (sum_errors + normals[n, h, w] * sum_products) / len(places)
            dx[n, c, h, w] = float(weight[c]) * float(inverse[c]) * error
