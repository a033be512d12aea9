"""How activations and `LayerNorm` are written as ONNX: rows of `export.NODES`, functions of (graph, layer, prefix)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..layers import (
    ELU,
    GELU,
    SELU,
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    Layer,
    LayerNorm,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softshrink,
    Softsign,
    Tanh,
    Tanhshrink,
    Threshold,
)

Row = Callable[[Any, Any, str], None]


def _operator(kind: str, settings: Callable[[Any], dict[str, float]] = lambda layer: {}) -> Row:
    """Return the row of a layer that is one operator; `settings` makes its attributes of the layer."""

    def write(graph: Any, layer: Any, prefix: str) -> None:
        graph.node(kind, graph.last, **settings(layer))

    return write


def _chain(*kinds: str) -> Row:
    """Return the row of operators one after the other; one that takes two gets the layer's input as the first."""

    def write(graph: Any, layer: Any, prefix: str) -> None:
        x = graph.last
        for kind in kinds:
            graph.node(kind, *((x, graph.last) if kind in ("Mul", "Sub") else (graph.last,)))

    return write


def _number(graph: Any, prefix: str, name: str, value: float) -> str:
    """Add a number to the constants; returns its name."""
    constant: str = graph.constant(f"{prefix}{name}", np.array(value, graph.dtype))
    return constant


def _clip(graph: Any, layer: Any, prefix: str) -> None:
    least, most = (0.0, 6.0) if isinstance(layer, ReLU6) else (layer.settings["min_val"], layer.settings["max_val"])
    graph.node("Clip", graph.last, _number(graph, prefix, "min", least), _number(graph, prefix, "max", most))


def _softplus(graph: Any, layer: Any, prefix: str) -> None:
    beta = _number(graph, prefix, "beta", layer.settings["beta"])
    graph.node("Mul", graph.last, beta)
    graph.node("Softplus", graph.last)
    graph.node("Div", graph.last, beta)


def _threshold(graph: Any, layer: Any, prefix: str) -> None:
    x = graph.last
    graph.node("Greater", x, _number(graph, prefix, "threshold", layer.settings["threshold"]))
    graph.node("Where", graph.last, x, _number(graph, prefix, "value", layer.settings["value"]))


def _gelu(graph: Any, layer: Any, prefix: str) -> None:
    x = graph.last
    if layer.settings["approximate"] == "tanh":  # sqrt(2/pi) (x + 0.044715 x^3)
        graph.node("Mul", x, x)
        graph.node("Mul", graph.last, _number(graph, prefix, "cubic", 0.044715))
        graph.node("Add", graph.last, _number(graph, prefix, "linear", 1.0))
        graph.node("Mul", graph.last, x)
        graph.node("Mul", graph.last, _number(graph, prefix, "scale", math.sqrt(2 / math.pi)))
        graph.node("Tanh", graph.last)
    else:
        graph.node("Mul", x, _number(graph, prefix, "scale", math.sqrt(0.5)))
        graph.node("Erf", graph.last)
    graph.node("Add", graph.last, _number(graph, prefix, "one", 1.0))
    graph.node("Mul", graph.last, x)
    graph.node("Mul", graph.last, _number(graph, prefix, "half", 0.5))


def _prelu(graph: Any, layer: PReLU, prefix: str) -> None:
    weight = layer.params["weight"]
    slopes = weight if weight.size == 1 else weight.reshape(-1, *[1] * (len(graph.shape) - 1))
    graph.node("PRelu", graph.last, graph.constant(f"{prefix}weight", slopes))


def _layer_norm(graph: Any, layer: LayerNorm, prefix: str) -> None:
    shape = layer.normalized_shape
    scale = graph.constant(f"{prefix}weight", layer.params.get("weight", np.ones(shape, graph.dtype)))
    bias = [graph.constant(f"{prefix}bias", layer.params["bias"])] if "bias" in layer.params else []
    graph.node("LayerNormalization", graph.last, scale, *bias, axis=-len(shape), epsilon=layer.eps)


ROWS: dict[type[Layer], Row] = {
    ReLU: _operator("Relu"),
    Sigmoid: _operator("Sigmoid"),
    Tanh: _operator("Tanh"),
    Softsign: _operator("Softsign"),
    SELU: _operator("Selu"),
    ELU: _operator("Elu", lambda layer: {"alpha": layer.settings["alpha"]}),
    LeakyReLU: _operator("LeakyRelu", lambda layer: {"alpha": layer.settings["negative_slope"]}),
    Hardsigmoid: _operator("HardSigmoid", lambda layer: {"alpha": 1 / 6, "beta": 0.5}),
    Hardswish: _operator("HardSwish"),
    Hardshrink: _operator("Shrink", lambda layer: {"lambd": layer.settings["lambd"], "bias": 0.0}),
    Softshrink: _operator("Shrink", lambda layer: {"lambd": layer.settings["lambd"], "bias": layer.settings["lambd"]}),
    Softmax: _operator("Softmax", lambda layer: {"axis": layer.dim}),
    LogSoftmax: _operator("LogSoftmax", lambda layer: {"axis": layer.dim}),
    SiLU: _chain("Sigmoid", "Mul"),
    Mish: _chain("Softplus", "Tanh", "Mul"),
    Tanhshrink: _chain("Tanh", "Sub"),
    LogSigmoid: _chain("Neg", "Softplus", "Neg"),
    ReLU6: _clip,
    Hardtanh: _clip,
    Softplus: _softplus,
    Threshold: _threshold,
    GELU: _gelu,
    PReLU: _prelu,
    LayerNorm: _layer_norm,
}
