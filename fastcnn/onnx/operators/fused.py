"""What the optimiser makes of several nodes: one operator that does in one pass what they did in several.

An *epilogue* is what follows a sum: a residual that is added, then a limit from below and above. Nodes that carry one have the attributes
``low`` and ``high`` (None for no limit), and the residual as their last input where ``residual`` is true.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import checks
from ...ops.linear import linear as ops_linear
from .. import _kernels
from ..graph import OWN_DOMAIN, Node
from . import conv, matrix
from .registry import Inputs, Run, operator


@operator("Conv", domain=OWN_DOMAIN)
def convolution(node: Node, inputs: Inputs) -> Run:
    """Bind a convolution with an epilogue."""
    low, high, residual = node.get("low"), node.get("high"), node.get("residual", False)
    relu = {(None, None): 0, (0, None): 1, (0, 6): 2}.get((low, high))
    prepared = conv.prepared(node, inputs, relu) if relu is not None else None
    if prepared is not None and not residual:
        return conv.on_images(prepared, inputs[0])
    if prepared is not None and inputs[3].shape == conv.output_shape(node, inputs):
        return lambda x, w, b, other: prepared(x.transpose(0, 2, 3, 1), layout="NHWC", residual=other.transpose(0, 2, 3, 1)).transpose(
            0, 3, 1, 2
        )
    run = conv.convolution(node, inputs)
    return _added(run, low, high, inputs, in_place=True) if residual else _limited(run, low, high)


@operator("Gemm", domain=OWN_DOMAIN)
def gemm(node: Node, inputs: Inputs) -> Run:
    """Bind a product of matrices with limits."""
    return _limited(matrix.gemm(node, inputs), node.get("low"), node.get("high"))


@operator("Linear", domain=OWN_DOMAIN)
def linear(node: Node, inputs: Inputs) -> Run:
    """Bind the product of rows with a constant matrix, plus a constant row, with limits."""
    weight, bias = checks.contiguous(inputs[1].T), checks.contiguous(inputs[2])
    if inputs[0].dtype not in checks.FLOATS or inputs[0].ndim < 2 or not weight.size:
        return _limited(lambda x, w, b: np.matmul(x, w) + b, node.get("low"), node.get("high"))
    return _limited(lambda x, *_: ops_linear(checks.contiguous(x), weight, bias), node.get("low"), node.get("high"))


@operator("Affine", domain=OWN_DOMAIN)
def affine(node: Node, inputs: Inputs) -> Run:
    """Bind x * factor + shift with constants per channel, and limits."""
    low, high = node.get("low"), node.get("high")
    shape = (-1, *[1] * (inputs[0].ndim - 2))
    if _kernels.suits(inputs[0]):
        both = _both(low, high, inputs[0].dtype)
        return lambda x, factor, shift: _kernels.affine(checks.dense_as(x, "NHWC"), factor, shift, both)

    def run(x: np.ndarray, factor: np.ndarray, shift: np.ndarray) -> np.ndarray:
        y: np.ndarray = x * factor.reshape(shape)
        y += shift.reshape(shape)
        return limit(y, low, high)

    return run


@operator("Sum", domain=OWN_DOMAIN)
def summed(node: Node, inputs: Inputs) -> Run:
    """Bind a sum of two arrays with limits."""
    return _added(lambda x: x, node.get("low"), node.get("high"), inputs, in_place=False)


def _both(low: Any, high: Any, dtype: np.dtype) -> np.ndarray:
    """Return both limits as the kernels take them."""
    return np.array((-np.inf if low is None else low, np.inf if high is None else high), dtype)


def limit(y: np.ndarray, low: Any, high: Any) -> np.ndarray:
    """Limit an array in place."""
    if low is not None:
        np.maximum(y, low, out=y)
    if high is not None:
        np.minimum(y, high, out=y)
    return y


def _limited(run: Run, low: Any, high: Any) -> Run:
    return run if low is None and high is None else lambda *arrays: limit(run(*arrays), low, high)


def _added(run: Run, low: Any, high: Any, inputs: Inputs, in_place: bool) -> Run:
    """Return `run` and, behind it, the sum with the last input; `in_place` if what `run` returns may be written to."""
    other = inputs[len(inputs) - 1]
    both = _both(low, high, other.dtype)

    def add(*arrays: Any) -> np.ndarray:
        y, residual = run(*arrays[:-1]), arrays[-1]
        if y.shape == residual.shape and _kernels.suits(y) and checks.is_channels_last(y):
            residual = checks.dense_as(residual, "NHWC")
            out = y if in_place else _kernels.image(y.shape, y.dtype)
            _kernels.limited_sum(checks.flat(y), checks.flat(residual), both, checks.flat(out))
            return out
        return limit(y + residual, low, high)

    return add
