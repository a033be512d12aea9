"""Networks of `fastcnn.layers` as ONNX models: what they compute in evaluation mode, for any batch size."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from .. import __version__, checks, files, window
from ..layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Dropout2d,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    Residual,
    Sequential,
)
from ._rows import ROWS

OPSET = 17  # the first that runs everywhere and has all that is written here
_IR_VERSION = 8  # the one of that opset


def export(model: Layer, path: str | os.PathLike[str], input_shape: tuple[int, ...]) -> None:
    """Write a network as an ONNX model with input ``input`` and output ``output``, whose first axis is a batch of any size.

    The model computes what the network does in evaluation mode, whatever mode it is in: running statistics, no dropout. Parameters keep
    their names (``0.weight``).

    Parameters
    ----------
    model : Layer
        A `Sequential`, which may hold others and `Residual` blocks, or a single layer.
    path : path-like
        A file that is there is replaced, whole or not at all.
    input_shape : tuple of int
        Of one sample, without the batch axis: (C, H, W) or (features,). The model takes inputs of this shape only.

    Raises
    ------
    TypeError
        `model` is no layer, or holds one that has no counterpart here (subclasses, which may compute anything, have none), or its
        parameters are of several dtypes.
    ValueError
        The layers do not fit the input, or a batch normalisation has no running statistics.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastcnn.layers import Conv2d, Flatten, Linear, ReLU, Sequential
    >>> from fastcnn.onnx import export
    >>> net = Sequential(Conv2d(1, 4, 3), ReLU(), Flatten(), Linear(4 * 6 * 6, 10))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export(net, f"{folder}/digits.onnx", (1, 8, 8))
    ...     print(os.listdir(folder))
    ['digits.onnx']
    """
    proto = to_proto(model, input_shape)
    with files.replacing(path) as file:
        file.write(proto.SerializeToString())


def to_proto(model: Layer, input_shape: tuple[int, ...]) -> Any:
    """Return a network as an ``onnx.ModelProto``; parameters and errors as of `export`."""
    if not isinstance(model, Layer):
        raise TypeError(f"export: model must be a Layer; got {type(model).__name__}")
    if not isinstance(input_shape, (tuple, list)) or not input_shape:
        raise ValueError(f"export: input_shape must be the shape of one sample, without the batch axis; got {window.shown(input_shape)}")
    shape = tuple(window.integer("export", f"input_shape[{i}]", size, 1) for i, size in enumerate(input_shape))
    graph = _Graph(_dtype(model), shape)
    graph.layer(model, "")
    graph.node("Identity", graph.last, outputs=["output"])
    proto = onnx.helper.make_model(
        graph.proto(shape),
        producer_name="fastcnn",
        producer_version=__version__,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _dtype(model: Layer) -> np.dtype:
    """Return the dtype of all parameters and buffers; float32 where there are none."""
    arrays = {name: array for name, array in {**model.params, **model.buffers}.items() if array.dtype.kind == "f"}
    return checks.same_dtype("export", **arrays) if arrays else np.dtype(np.float32)


class _Graph:
    """A graph that grows by a layer at a time.

    Attributes
    ----------
    last : str
        The name of the last layer's output.
    shape : tuple of int
        Its shape, without the batch axis.
    """

    def __init__(self, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self.last, self.shape, self.dtype = "input", shape, dtype
        self._nodes: list[Any] = []
        self._constants: dict[str, np.ndarray] = {}

    def layer(self, layer: Layer, prefix: str) -> None:
        """Append a layer; `prefix` begins the names of its parameters."""
        write = NODES.get(type(layer))
        if write is None:
            known = ", ".join(kind.__name__ for kind in NODES)
            where = f" (layer {prefix.rstrip('.')})" if prefix else ""
            raise TypeError(f"export: model must consist of {known}; got {type(layer).__name__}{where}")
        shape = layer.output_shape(self.shape)
        write(self, layer, prefix)
        self.shape = shape

    def node(self, kind: str, *inputs: str, outputs: list[str] | None = None, **attributes: Any) -> None:
        """Append an operator; its output is the last one from now on."""
        outputs = outputs or [f"{len(self._nodes)}.{kind}"]
        self._nodes.append(onnx.helper.make_node(kind, list(inputs), outputs, name=f"{kind}_{len(self._nodes)}", **attributes))
        self.last = outputs[0]

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant array; returns its name."""
        self._constants[name] = value
        return name

    def proto(self, input_shape: tuple[int, ...]) -> Any:
        """Return the graph as ONNX has it."""
        helper = onnx.helper
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        ends = [
            helper.make_tensor_value_info(name, kind, ["N", *shape]) for name, shape in (("input", input_shape), ("output", self.shape))
        ]
        constants = [onnx.numpy_helper.from_array(checks.contiguous(a), name) for name, a in self._constants.items()]
        return helper.make_graph(self._nodes, "fastcnn", ends[:1], ends[1:], constants)


def _sequential(graph: _Graph, model: Sequential, prefix: str) -> None:
    for i, layer in enumerate(model):
        graph.layer(layer, f"{prefix}{i}.")


def _residual(graph: _Graph, block: Residual, prefix: str) -> None:
    begin, shape = graph.last, graph.shape
    graph.layer(block.body, f"{prefix}body.")
    body = graph.last
    graph.last, graph.shape = begin, shape
    if block.shortcut is not None:
        graph.layer(block.shortcut, f"{prefix}shortcut.")
    graph.node("Add", body, graph.last)


def _conv2d(graph: _Graph, layer: Conv2d, prefix: str) -> None:
    w, weight = layer.window, layer.params["weight"]
    v, h = window.axes("Conv2d", _size(graph), (weight.shape[2], weight.shape[3]), w["stride"], w["padding"], w["dilation"])
    parameters = [graph.constant(f"{prefix}{name}", layer.params[name]) for name in ("weight", "bias") if name in layer.params]
    graph.node(
        "Conv", graph.last, *parameters, kernel_shape=[v.kernel, h.kernel], strides=[v.stride, h.stride],
        dilations=[v.dilation, h.dilation], pads=[v.before, h.before, v.after, h.after], group=w["groups"],
    )  # fmt: skip


def _max_pool2d(graph: _Graph, layer: MaxPool2d, prefix: str) -> None:
    kernel, stride, padding, dilation, _ = layer.window
    sizes = window.pair("MaxPool2d", "kernel_size", kernel, 1)
    axes = window.axes("MaxPool2d", _size(graph), sizes, sizes if stride is None else stride, padding, dilation, True)
    outputs = layer.output_shape(graph.shape)[1:]
    # Rounding up is written as padding behind: runtimes disagree on windows that begin there, and the input's size is fixed.
    after = [max((count - 1) * axis.stride + axis.extent - axis.size - axis.before, 0) for count, axis in zip(outputs, axes, strict=True)]
    v, h = axes
    pads = [v.before, h.before, *after]
    if any(pad >= axis.kernel for pad, axis in zip(after, axes, strict=True)):  # of a dilated window: ONNX Runtime refuses such pools
        sides = graph.constant(f"{prefix}pads", np.array([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64))
        graph.node("Pad", graph.last, sides, graph.constant(f"{prefix}least", np.array(-np.inf, graph.dtype)))
        pads = [0, 0, 0, 0]
    graph.node(
        "MaxPool", graph.last, kernel_shape=[v.kernel, h.kernel], strides=[v.stride, h.stride], dilations=[v.dilation, h.dilation],
        pads=pads,
    )  # fmt: skip


def _avg_pool2d(graph: _Graph, layer: AvgPool2d, prefix: str) -> None:
    kernel, stride, padding, ceil_mode, count_include_pad, divisor = layer.window
    if ceil_mode or divisor is not None:
        raise ValueError(f"export: AvgPool2d {prefix.rstrip('.')} must have no ceil_mode and no divisor_override; got {layer!r}")
    sizes = window.pair("AvgPool2d", "kernel_size", kernel, 1)
    v, h = window.axes("AvgPool2d", _size(graph), sizes, sizes if stride is None else stride, padding, 1)
    graph.node(
        "AveragePool", graph.last, kernel_shape=[v.kernel, h.kernel], strides=[v.stride, h.stride],
        pads=[v.before, h.before, v.after, h.after], count_include_pad=int(count_include_pad),
    )  # fmt: skip


def _adaptive_avg_pool2d(graph: _Graph, layer: AdaptiveAvgPool2d, prefix: str) -> None:
    sizes, (_, P, Q) = _size(graph), layer.output_shape(graph.shape)
    if sizes[0] % P or sizes[1] % Q:
        raise ValueError(f"export: AdaptiveAvgPool2d {prefix.rstrip('.')} must divide its input, {sizes[0]} x {sizes[1]}; got {layer!r}")
    steps = [sizes[0] // P, sizes[1] // Q]
    graph.node("AveragePool", graph.last, kernel_shape=steps, strides=steps)


def _batch_norm(graph: _Graph, layer: BatchNorm1d | BatchNorm2d, prefix: str) -> None:
    if not layer.buffers:
        where = prefix.rstrip(".")
        raise ValueError(f"export: {type(layer).__name__} {where} has no running statistics, and an ONNX model cannot use the batch's")
    features, dtype = layer.num_features, graph.dtype
    values = {
        "weight": layer.params.get("weight", np.ones(features, dtype)),
        "bias": layer.params.get("bias", np.zeros(features, dtype)),
        **{name: layer.buffers[name] for name in ("running_mean", "running_var")},
    }
    graph.node("BatchNormalization", graph.last, *(graph.constant(f"{prefix}{n}", a) for n, a in values.items()), epsilon=layer.eps)


def _linear(graph: _Graph, layer: Linear, prefix: str) -> None:
    weight, bias = layer.params["weight"], layer.params.get("bias")
    parameters = [] if bias is None else [graph.constant(f"{prefix}bias", bias)]
    if len(graph.shape) == 1:
        graph.node("Gemm", graph.last, graph.constant(f"{prefix}weight", weight), *parameters, transB=1)
        return
    graph.node("MatMul", graph.last, graph.constant(f"{prefix}weight", weight.T))
    for name in parameters:
        graph.node("Add", graph.last, name)


def _size(graph: _Graph) -> tuple[int, int]:
    _, height, width = graph.shape
    return height, width


NODES: dict[type[Layer], Callable[[_Graph, Any, str], None]] = {  # a new layer adds a row
    Sequential: _sequential,
    Residual: _residual,
    Conv2d: _conv2d,
    MaxPool2d: _max_pool2d,
    BatchNorm1d: _batch_norm,
    BatchNorm2d: _batch_norm,
    Linear: _linear,
    AvgPool2d: _avg_pool2d,
    AdaptiveAvgPool2d: _adaptive_avg_pool2d,
    Flatten: lambda graph, layer, prefix: graph.node("Flatten", graph.last, axis=1),
    Dropout: lambda graph, layer, prefix: None,  # the identity in evaluation
    Dropout2d: lambda graph, layer, prefix: None,
    **ROWS,
}
