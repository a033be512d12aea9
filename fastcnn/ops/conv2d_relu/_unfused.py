"""The convolution's public functions and a ReLU in place: what each precision makes of them is a variant."""

from __future__ import annotations

import numpy as np

from ... import checks
from ...jit import kernel
from ..conv2d import OPERATION, Conv2dProblem, bias_gradient
from ..relu import relu_backward

_CHUNK = 32_768  # elements of a job
_RELU, _RELU_BACKWARD = 0.4, 0.7  # vector multiply-adds per element, measured on 0.2 to 3.5 MB


def cost(problem: Conv2dProblem, direction: str, precision: str) -> float:
    """Return what the best convolution costs, and a pass over its output."""
    best = OPERATION.candidates(problem, direction, precision)[0][1] or 0.0
    return best + (_RELU if direction == "forward" else _RELU_BACKWARD) * problem.N * problem.K * problem.P * problem.Q


def forward(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, precision: str) -> None:
    """Convolve into y, then raise y to 0 in place."""
    OPERATION.choose(problem, "forward", precision=precision)(problem, x, weight, bias, y)
    _rectify.launch(-(-y.size // _CHUNK), checks.flat(y), work=8.0 * y.size)


def backward_input(problem: Conv2dProblem, dy: np.ndarray, y: np.ndarray, weight: np.ndarray, dx: np.ndarray, precision: str) -> None:
    """Pass dy where y is positive, then convolve back."""
    OPERATION.choose(problem, "backward_input", precision=precision)(problem, relu_backward(dy, y), weight, dx)


def backward_weight(
    problem: Conv2dProblem, x: np.ndarray, dy: np.ndarray, y: np.ndarray, dweight: np.ndarray, dbias: np.ndarray, precision: str
) -> None:
    """Pass dy where y is positive, then sum over the pixels."""
    errors = relu_backward(dy, y)
    OPERATION.choose(problem, "backward_weight", precision=precision)(problem, x, errors, dweight)
    last = checks.is_channels_last(errors)
    dbias[...] = bias_gradient(errors.transpose(0, 2, 3, 1) if last else errors, "NHWC" if last else "NCHW")


@kernel
def _rectify(job, y):
    zero = y.dtype.type(0)
    part = y[job * _CHUNK : min(y.size, (job + 1) * _CHUNK)]
    for i in range(part.size):
        part[i] = zero if part[i] <= zero else part[i]
