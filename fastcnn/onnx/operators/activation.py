"""Activations, softmax, and dropout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import checks, functional
from .._kernels import erf
from ..graph import Node
from .registry import Inputs, Run, axis_of, operator, plain, refuse


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)); exp(-x) may become infinite, and the result 0."""
    result: np.ndarray = 1 / (1 + np.exp(-x))
    return result


def softplus(x: np.ndarray) -> np.ndarray:
    """Return log(1 + exp(x)), also where exp(x) would be infinite."""
    return np.logaddexp(x, x.dtype.type(0))


plain(
    Relu=lambda x: np.maximum(x, 0),
    Sigmoid=sigmoid,
    Tanh=np.tanh,
    Softplus=softplus,
    Softsign=lambda x: x / (1 + np.abs(x)),
    HardSwish=lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    Mish=lambda x: x * np.tanh(softplus(x)),
    Erf=erf,
)

# Activations with parameters: (default values by name, function of x and them).
_WITH_PARAMETERS: dict[str, tuple[dict[str, float], Run]] = {
    "LeakyRelu": ({"alpha": 0.01}, lambda x, alpha: np.where(x < 0, alpha * x, x)),
    "Elu": ({"alpha": 1.0}, lambda x, alpha: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)),
    "Selu": (
        {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
        lambda x, alpha, gamma: gamma * np.where(x <= 0, alpha * np.expm1(np.minimum(x, 0)), x),
    ),
    "Celu": ({"alpha": 1.0}, lambda x, alpha: np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha))),
    "ThresholdedRelu": ({"alpha": 1.0}, lambda x, alpha: np.where(x > alpha, x, 0)),
    "HardSigmoid": ({"alpha": 0.2, "beta": 0.5}, lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1)),
    "Shrink": ({"bias": 0.0, "lambd": 0.5}, lambda x, bias, lambd: np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0))),
    "Swish": ({"alpha": 1.0}, lambda x, alpha: x * sigmoid(alpha * x)),
}


@operator(*_WITH_PARAMETERS)
def with_parameters(node: Node, inputs: Inputs) -> Run:
    """Bind an activation to its parameters, numbers in the dtype of x."""
    defaults, function = _WITH_PARAMETERS[node.kind]
    dtype = inputs[0].dtype
    values = {name: dtype.type(node.get(name, default)) for name, default in defaults.items()}
    return lambda x: function(x, **values).astype(dtype, copy=False)


@operator("PRelu")
def prelu(node: Node, inputs: Inputs) -> Run:
    """Bind a slope for negative values; before opset 7 one per channel, axis 1."""
    x, slope = inputs[0], inputs[1]
    shape = slope.shape if node.version >= 7 else slope.shape + (1,) * (x.ndim - 2)
    return lambda x, slope: np.where(x < 0, x * slope.reshape(shape), x)


@operator("Gelu")
def gelu(node: Node, inputs: Inputs) -> Run:
    """Bind the Gaussian error unit or its approximation by tanh."""
    if node.get("approximate", "none") == "tanh":
        return lambda x: x * (0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
    return lambda x: x * (0.5 * (1 + erf(x / math.sqrt(2))))


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """Return log(softmax(x)) along an axis."""
    if x.dtype in checks.FLOATS:
        return functional.log_softmax(x, axis)
    shifted = x - x.max(axis, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
    return result


def _softmax(x: np.ndarray, axis: int) -> np.ndarray:
    if x.dtype in checks.FLOATS:
        return functional.softmax(x, axis)
    powers = np.exp(x - x.max(axis, keepdims=True))
    powers /= powers.sum(axis, keepdims=True)
    return powers


def _hardmax(x: np.ndarray, axis: int) -> np.ndarray:
    result = np.zeros_like(x)
    np.put_along_axis(result, np.expand_dims(x.argmax(axis), axis), 1, axis)
    return result


_ALONG_AXIS: dict[str, Any] = {"Softmax": _softmax, "LogSoftmax": log_softmax, "Hardmax": _hardmax}


@operator(*_ALONG_AXIS)
def along_axis(node: Node, inputs: Inputs) -> Run:
    """Bind a softmax; before opset 13 over all axes from `axis` on."""
    function, ndim = _ALONG_AXIS[node.kind], inputs[0].ndim
    if node.version >= 13:
        axis = axis_of(node, ndim, -1)
        return lambda x: function(x, axis)
    axis = axis_of(node, ndim, 1)
    return lambda x: function(x.reshape(math.prod(x.shape[:axis]), -1), 1).reshape(x.shape)


@operator("Dropout")
def dropout(node: Node, inputs: Inputs) -> Run:
    """Bind the identity with a mask of ones, or, in training, a mask of the operator's seed."""
    training = inputs.values(2) if node.version >= 12 else None
    if node.version < 7 and not node.get("is_test", 0):
        raise refuse(node, "dropout in training before opset 12")
    mask_dtype = np.dtype(bool) if node.version >= 10 else inputs[0].dtype
    ratio = inputs.values(1)
    share = float(ratio) if ratio is not None else 0.5
    if training is None or not training or share == 0:
        return lambda x, *_: (x, np.ones(x.shape, mask_dtype))
    draws = np.random.RandomState(node.get("seed"))

    def run(x: np.ndarray, *_: Any) -> tuple[np.ndarray, np.ndarray]:
        mask = draws.uniform(0, 1, x.shape) >= share
        return (x * mask / (1 - share)).astype(x.dtype, copy=False), mask

    return run
