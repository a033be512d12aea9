"""ONNX models on our kernels: the protocol of `onnx.backend.base.Backend`.

Needs the onnx package (extra ``fastcnn[onnx]``), which `import fastcnn` does not import.

Examples
--------
>>> import numpy as np
>>> import onnx
>>> import fastcnn.onnx
>>> node = onnx.helper.make_node("Relu", ["x"], ["y"])
>>> fastcnn.onnx.run_node(node, [np.array([-1, 2], np.float32)])[0]
array([0., 2.], dtype=float32)
"""

from __future__ import annotations

try:
    import onnx as _onnx  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("fastcnn.onnx needs the onnx package: pip install 'fastcnn[onnx]'", name="onnx") from error

from .backend import FastcnnBackend, PreparedModel
from .graph import UnsupportedError

is_compatible = FastcnnBackend.is_compatible
prepare = FastcnnBackend.prepare
run_model = FastcnnBackend.run_model
run_node = FastcnnBackend.run_node
supports_device = FastcnnBackend.supports_device

__all__ = [
    "FastcnnBackend",
    "PreparedModel",
    "UnsupportedError",
    "is_compatible",
    "prepare",
    "run_model",
    "run_node",
    "supports_device",
]
