"""ONNX Runtime on a model of one Conv node, all optimisations, input and output bound once. It has the forward direction only."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from .contender import Builders, Contender

onnx: Any = importlib.import_module("onnx")  # have no types
onnxruntime: Any = importlib.import_module("onnxruntime")


def pin(threads: int) -> None:
    """Do nothing: a session is made for its number of threads."""


def builders(p: Any, direction: str, arguments: Sequence[np.ndarray], threads: int) -> Builders:
    """Return "onnxruntime"."""
    if direction != "forward":
        return {}
    return {"onnxruntime": functools.partial(_contender, p, arguments, threads)}


def _contender(p: Any, arguments: Sequence[np.ndarray], threads: int) -> Contender:
    x, weight, bias = (np.ascontiguousarray(array) for array in arguments)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(_model(p, weight, bias), options, providers=["CPUExecutionProvider"])
    source = onnxruntime.OrtValue.ortvalue_from_numpy(x)
    target = onnxruntime.OrtValue.ortvalue_from_shape_and_type(p.output_shape, np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", source)
    binding.bind_ortvalue_output("y", target)

    def run() -> Any:
        session.run_with_iobinding(binding)
        return target

    return Contender(run, lambda value: value.numpy())


def _model(p: Any, weight: np.ndarray, bias: np.ndarray) -> bytes:
    helper, numpy_helper, kind = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT
    node = helper.make_node(
        "Conv", ["x", "w", "b"], ["y"], kernel_shape=[p.R, p.S], strides=[p.stride_h, p.stride_w],
        pads=[p.top, p.left, p.bottom, p.right], dilations=[p.dilation_h, p.dilation_w], group=p.groups,
    )  # fmt: skip
    graph = helper.make_graph(
        [node], "conv", [helper.make_tensor_value_info("x", kind, p.input_shape)],
        [helper.make_tensor_value_info("y", kind, p.output_shape)],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)  # read by every release since 2022
    return bytes(model.SerializeToString())
