"""ONNX models on our kernels, by the protocol of `onnx.backend.base.Backend`, and networks out as models (`export`).

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

from . import _required  # noqa: F401  before the others, which import onnx
from .backend import FastcnnBackend, PreparedModel
from .export import export
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
    "export",
    "is_compatible",
    "prepare",
    "run_model",
    "run_node",
    "supports_device",
]
