"""Networks with seeded random weights: the graphs that the onnx package brings for its own tests, and MobileNets built here.

The package's "light" models are published networks whose weights were replaced by constants, to be small. All channels of such a network
compute the same, which hides mistakes; so every weight becomes a random one here, of a variance that keeps the signal of a deep network in
range, stored in the model as a trained network's weights are. Batches have any size: the first axis is "N".
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

onnx: Any = importlib.import_module("onnx")  # has no types
helper, numpy_helper = onnx.helper, onnx.numpy_helper

_LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
_IR_VERSION = 8  # read by every release since 2022
_BATCH = "N"
_PATCH = 32  # pixels


def light(name: str, seed: int = 0) -> Any:
    """Return the onnx package's model ``light_<name>.onnx`` with random weights, for batches of any size."""
    model = onnx.load(_LIGHT / f"light_{name}.onnx")
    graph, rng = model.graph, np.random.default_rng(seed)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    roles = _roles(graph.node)
    wanted = {name: value.shape for name, value in stored.items() if value.dtype == np.float32}
    wanted |= {node.output[0]: tuple(stored.pop(node.input[0])) for node in graph.node if node.op_type == "ConstantOfShape"}
    weights = [numpy_helper.from_array(_weight(rng, *roles[name], shape), name) for name, shape in wanted.items() if name in roles]
    nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    shapes = {name: value for name, value in stored.items() if name not in wanted}
    for node in nodes:
        if node.op_type == "Reshape" and shapes[node.input[1]][0] == 1:
            shapes[node.input[1]] = np.concatenate([[0], shapes[node.input[1]][1:]])  # 0: as many as the input has
    weights += [numpy_helper.from_array(value.astype(np.int64), name) for name, value in shapes.items()]
    known = {tensor.name for tensor in (*weights, *graph.initializer)}
    inputs = [value for value in graph.input if value.name not in known]
    for value in (*inputs, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = _BATCH
    made = helper.make_graph(nodes, name, inputs, list(graph.output), weights)
    return _checked(made, model.opset_import)


def mobilenet_v1(seed: int = 0) -> Any:
    """Return MobileNet (Howard et al., arXiv 1704.04861) of width 1: 13 pairs of a depthwise and a pointwise convolution."""
    build = _Builder(seed)
    x = build.convolution("image", 3, 32, 3, stride=2, activation="Relu")
    channels = 32
    for filters, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)):
        x = build.convolution(x, channels, channels, 3, stride, groups=channels, activation="Relu")
        x = build.convolution(x, channels, filters, 1, activation="Relu")
        channels = filters
    return build.classifier(x, channels, "mobilenet_v1")


def mobilenet_v2(seed: int = 0) -> Any:
    """Return MobileNetV2 (Sandler et al., arXiv 1801.04381) of width 1: inverted residuals with ReLU6."""
    build = _Builder(seed)
    x = build.convolution("image", 3, 32, 3, stride=2, activation="Clip")
    channels = 32
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, filters, repeats, first_stride in table:
        for number in range(repeats):
            stride, wide, before = 1 if number else first_stride, channels * expansion, x
            if expansion != 1:
                x = build.convolution(x, channels, wide, 1, activation="Clip")
            x = build.convolution(x, wide, wide, 3, stride, groups=wide, activation="Clip")
            x = build.convolution(x, wide, filters, 1, residual=stride == 1 and channels == filters)
            if stride == 1 and channels == filters:
                x = build.node("Add", x, before)
            channels = filters
    x = build.convolution(x, channels, 1280, 1, activation="Clip")
    return build.classifier(x, 1280, "mobilenet_v2")


_NAMES = ("resnet50", "vgg19", "inception_v1", "inception_v2", "densenet121", "squeezenet", "shufflenet", "bvlc_alexnet", "zfnet512")
MODELS: dict[str, Callable[[], Any]] = {
    **{name: functools.partial(light, name) for name in _NAMES},
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
}


def feeds(model: Any, batch: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    """Return float32 images for a model whose only free size is that of its batch.

    They are noise over patches of one colour: of noise alone an average over all pixels would tell no image from another.
    """
    rng = np.random.default_rng(seed)
    result = {}
    for value in model.graph.input:
        N, C, H, W = (batch if axis.dim_param else axis.dim_value for axis in value.type.tensor_type.shape.dim)
        patches = rng.standard_normal((N, C, -(-H // _PATCH), -(-W // _PATCH)), np.float32)
        coarse = patches.repeat(_PATCH, axis=2).repeat(_PATCH, axis=3)[:, :, :H, :W]
        result[value.name] = coarse + rng.standard_normal((N, C, H, W), np.float32) / 2
    return result


# --- Weights -----------------------------------------------------------------------------------------------------------

_ROLES = {
    "Conv": ("", "weight", "bias"),
    "Gemm": ("", "weight", "bias"),
    "Reshape": ("weight",),
    "BatchNormalization": ("", "scale", "bias", "bias", "variance"),
    "Mul": ("scale", "scale"),
    "Add": ("bias", "bias"),
}


def _roles(nodes: Iterable[Any]) -> dict[str, tuple[str, bool]]:
    """Return for each name what a constant of that name is for, and whether its node's result is added to a shortcut's."""
    nodes = list(nodes)
    users: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            users.setdefault(name, []).append(node)
    linear = {node.output[0] for node in nodes if node.op_type == "BatchNormalization"}
    roles = {}
    for node in nodes:
        ends = [user.op_type for user in users.get(node.output[0], ())]
        for position, name in enumerate(node.input):
            place = min(position, len(_ROLES.get(node.op_type, ("",))) - 1)
            role = _ROLES.get(node.op_type, ("",))[place]
            roles[name] = "linear weight" if role == "weight" and node.input[0] in linear else role, "Sum" in ends
    for node in nodes:
        if node.op_type == "Unsqueeze":  # a scale or bias per channel, on its way to Mul or Add
            roles[node.input[0]] = roles[node.output[0]]
    return roles


def _weight(rng: np.random.Generator, role: str, residual: bool, shape: tuple[int, ...]) -> np.ndarray:
    """Return random weights; smaller scales where a branch joins a shortcut, or the sum would double with every block."""
    if role in ("weight", "linear weight"):  # behind a ReLU, which halves the power; or not
        gain = 2 if role == "weight" else 1
        return rng.standard_normal(shape, np.float32) * np.float32(math.sqrt(gain / math.prod(shape[1:])))
    if role == "variance":
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if role == "scale":
        return rng.uniform(*(0.2, 0.6) if residual else (0.7, 1.3), shape).astype(np.float32)
    if role == "bias":
        return rng.standard_normal(shape, np.float32) * np.float32(0.1)
    raise ValueError(f"a constant of shape {shape} is no known kind of weight")


class _Builder:
    """Makes a network node by node; every method returns the name of its result."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._bounds = [self._store(np.array(bound, np.float32)) for bound in (0, 6)]

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node."""
        name = f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def convolution(
        self,
        x: str,
        channels: int,
        filters: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        activation: str = "",
        residual: bool = False,
    ) -> str:
        """Add a convolution, its batch normalisation and an activation."""
        weight = self._random("weight", (filters, channels // groups, kernel, kernel))
        x = self.node(
            "Conv", x, weight, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups
        )  # fmt: skip
        scale = self._random("scale", (filters,), residual)
        x = self.node("BatchNormalization", x, scale, *(self._random(role, (filters,)) for role in ("bias", "bias", "variance")))
        if activation:
            x = self.node(activation, x, *(self._bounds if activation == "Clip" else ()))
        return x

    def classifier(self, x: str, channels: int, name: str) -> Any:
        """Add the head for 1,000 classes and return the model."""
        x = self.node("Flatten", self.node("GlobalAveragePool", x))
        x = self.node("Gemm", x, self._random("weight", (1000, channels)), self._random("bias", (1000,)), transB=1)
        x = self.node("Softmax", x, axis=1)
        image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [_BATCH, 3, 224, 224])
        result = helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, [_BATCH, 1000])
        graph = helper.make_graph(self._nodes, name, [image], [result], self._weights)
        return _checked(graph, [helper.make_opsetid("", 13)])

    def _random(self, role: str, shape: tuple[int, ...], residual: bool = False) -> str:
        return self._store(_weight(self._rng, role, residual, shape))

    def _store(self, value: np.ndarray) -> str:
        name = f"constant_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(value, name))
        return name


def _checked(graph: Any, opsets: Any) -> Any:
    model = helper.make_model(graph, opset_imports=list(opsets), ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return model
