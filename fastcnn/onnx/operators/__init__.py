"""The operators of ONNX on NumPy arrays, a file per family; importing this package fills the table of `registry`."""

from . import activation, conv, elementwise, fused, loss, matrix, normalization, optimizer, pool, reduce, resize, shape, window
from .registry import Inputs, Run, find, kinds, naming

__all__ = [
    "Inputs", "Run", "activation", "conv", "elementwise", "find", "fused", "kinds", "loss", "matrix", "naming", "normalization",
    "optimizer", "pool", "reduce", "resize", "shape", "window",
]  # fmt: skip
