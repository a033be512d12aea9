"""OpenVINO in float32 and as it comes, which is bfloat16 on CPUs that have it. It has the forward direction only."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from .contender import Builders, Contender

openvino: Any = importlib.import_module("openvino")  # has no types
ops: Any = importlib.import_module("openvino.opset8")


def pin(threads: int) -> None:
    """Do nothing: a model is compiled for its number of threads."""


def builders(p: Any, direction: str, arguments: Sequence[np.ndarray], threads: int) -> Builders:
    """Return "openvino f32" and "openvino default"."""
    if direction != "forward":
        return {}
    precisions: dict[str, dict[str, Any]] = {"f32": {"INFERENCE_PRECISION_HINT": "f32"}, "default": {}}
    return {f"openvino {name}": functools.partial(_contender, p, arguments, threads, hint) for name, hint in precisions.items()}


def _contender(p: Any, arguments: Sequence[np.ndarray], threads: int, precision: dict[str, Any]) -> Contender:
    x, weight, bias = (np.ascontiguousarray(array) for array in arguments)
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # the worker has pinned its process
        **precision,
    }
    request = openvino.Core().compile_model(_model(p, weight, bias), "CPU", options).create_infer_request()
    source = openvino.Tensor(x, shared_memory=True)
    request.set_input_tensor(source)

    def run(x: np.ndarray = x, source: Any = source) -> Any:  # keeps the input's memory, which the request only points to
        request.infer()
        return request

    return Contender(run, lambda done: np.array(done.get_output_tensor().data))


def _model(p: Any, weight: np.ndarray, bias: np.ndarray) -> Any:
    x = ops.parameter(p.input_shape, np.float32)
    window = [p.stride_h, p.stride_w], [p.top, p.left], [p.bottom, p.right], [p.dilation_h, p.dilation_w]
    if p.groups == 1:
        y = ops.convolution(x, ops.constant(weight), *window)
    else:
        grouped = weight.reshape(p.groups, p.K // p.groups, *p.weight_shape[1:])
        y = ops.group_convolution(x, ops.constant(grouped), *window)
    return openvino.Model([ops.add(y, ops.constant(bias.reshape(1, -1, 1, 1)))], [x], "conv")
