"""The definitions of the activations and of their derivatives, as in any book."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_erf = np.frompyfunc(math.erf, 1, 1)
_SCALE, _ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def forward(problem: Any, x: np.ndarray, y: np.ndarray) -> None:
    """Y = f(x)."""
    value, _ = DEFINITIONS[problem.formula]
    y[...] = value(x.astype(np.float64), problem.a, problem.b)


def backward_input(problem: Any, dy: np.ndarray, x: np.ndarray, dx: np.ndarray) -> None:
    """Dx = dy f'(x)."""
    _, slope = DEFINITIONS[problem.formula]
    dx[...] = dy * slope(x.astype(np.float64), problem.a, problem.b)


def _normal(x: np.ndarray) -> np.ndarray:
    return (1 + np.asarray(_erf(x / math.sqrt(2)), np.float64)) / 2


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _cubic(x: np.ndarray) -> np.ndarray:
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def _where(condition: Any, one: Any, other: Any) -> np.ndarray:
    return np.where(condition, one, other)


# (f(x), f'(x)) with the parameters a and b
DEFINITIONS = {
    "celu": (lambda x, a, b: _where(x >= 0, x, a * np.expm1(x / a)), lambda x, a, b: _where(x > 0, 1, np.exp(x / a))),
    "elu": (lambda x, a, b: _where(x >= 0, x, a * np.expm1(x)), lambda x, a, b: _where(x > 0, 1, a * np.exp(x))),
    "gelu": (
        lambda x, a, b: x * _normal(x),
        lambda x, a, b: _normal(x) + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi),
    ),
    "gelu_tanh": (
        lambda x, a, b: x * (1 + np.tanh(_cubic(x))) / 2,
        lambda x, a, b: (
            (1 + np.tanh(_cubic(x))) / 2 + x * (1 - np.tanh(_cubic(x)) ** 2) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2) / 2
        ),
    ),
    "hardshrink": (lambda x, a, b: _where(np.abs(x) <= a, 0, x), lambda x, a, b: _where(np.abs(x) <= a, 0, 1)),
    "hardsigmoid": (lambda x, a, b: np.clip(x + 3, 0, 6) / 6, lambda x, a, b: _where(np.abs(x) < 3, 1 / 6, 0)),
    "hardswish": (
        lambda x, a, b: x * np.clip(x + 3, 0, 6) / 6,
        lambda x, a, b: _where(x <= -3, 0, _where(x >= 3, 1, x / 3 + 0.5)),
    ),
    "hardtanh": (lambda x, a, b: np.clip(x, a, b), lambda x, a, b: _where((x <= a) | (x >= b), 0, 1)),
    "leaky_relu": (lambda x, a, b: _where(x > 0, x, a * x), lambda x, a, b: _where(x > 0, 1, a)),
    "logsigmoid": (lambda x, a, b: -_softplus(-x), lambda x, a, b: _sigmoid(-x)),
    "mish": (
        lambda x, a, b: x * np.tanh(_softplus(x)),
        lambda x, a, b: np.tanh(_softplus(x)) + x * _sigmoid(x) * (1 - np.tanh(_softplus(x)) ** 2),
    ),
    "relu6": (lambda x, a, b: np.clip(x, 0, 6), lambda x, a, b: _where((x <= 0) | (x >= 6), 0, 1)),
    "selu": (
        lambda x, a, b: _SCALE * _where(x > 0, x, _ALPHA * np.expm1(x)),
        lambda x, a, b: _SCALE * _where(x > 0, 1, _ALPHA * np.exp(x)),
    ),
    "sigmoid": (lambda x, a, b: _sigmoid(x), lambda x, a, b: _sigmoid(x) * _sigmoid(-x)),
    "silu": (lambda x, a, b: x * _sigmoid(x), lambda x, a, b: _sigmoid(x) + x * _sigmoid(x) * _sigmoid(-x)),
    "softplus": (
        lambda x, a, b: _where(x * a > b, x, _softplus(x * a) / a),
        lambda x, a, b: _where(x * a > b, 1, _sigmoid(x * a)),
    ),
    "softshrink": (
        lambda x, a, b: np.sign(x) * np.maximum(np.abs(x) - a, 0),
        lambda x, a, b: _where(np.abs(x) <= a, 0, 1),
    ),
    "softsign": (lambda x, a, b: x / (1 + np.abs(x)), lambda x, a, b: 1 / (1 + np.abs(x)) ** 2),
    "tanh": (lambda x, a, b: np.tanh(x), lambda x, a, b: 1 / np.cosh(x) ** 2),
    "tanhshrink": (lambda x, a, b: x - np.tanh(x), lambda x, a, b: np.tanh(x) ** 2),
    "threshold": (lambda x, a, b: _where(x <= a, b, x), lambda x, a, b: _where(x <= a, 0, 1)),
}
