"""What the optimiser makes of several nodes: one operator that does in one pass what they did in several.

An *epilogue* is what follows a sum: a residual that is added, then a limit from below and above. Nodes that carry one have the attributes
``low`` and ``high`` (None for no limit), and the residual as their last input where ``residual`` is true.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import checks
from ...ops.linear import linear as ops_linear
from ..graph import OWN_DOMAIN, Node
from . import conv, matrix
from .registry import Inputs, Run, operator


@operator("Conv", domain=OWN_DOMAIN)
def convolution(node: Node, inputs: Inputs) -> Run:
    """Bind a convolution with an epilogue."""
    low, high, residual = node.get("low"), node.get("high"), node.get("residual", False)
    if not residual and low == 0:
        run = conv.convolution(node, inputs, relu=True)
        return run if high is None else _limited(run, None, high)
    run = conv.convolution(node, inputs)
    return _added(run, low, high) if residual else _limited(run, low, high)


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

    def run(x: np.ndarray, factor: np.ndarray, shift: np.ndarray) -> np.ndarray:
        y: np.ndarray = x * factor.reshape(shape)
        y += shift.reshape(shape)
        return limit(y, low, high)

    return run


@operator("Sum", domain=OWN_DOMAIN)
def summed(node: Node, inputs: Inputs) -> Run:
    """Bind a sum of two arrays with limits."""
    return _limited(np.add, node.get("low"), node.get("high"))


def limit(y: np.ndarray, low: Any, high: Any) -> np.ndarray:
    """Limit an array in place."""
    if low is not None:
        np.maximum(y, low, out=y)
    if high is not None:
        np.minimum(y, high, out=y)
    return y


def _limited(run: Run, low: Any, high: Any) -> Run:
    return run if low is None and high is None else lambda *arrays: limit(run(*arrays), low, high)


def _added(run: Run, low: Any, high: Any) -> Run:
    def add(*arrays: Any) -> np.ndarray:
        y, residual = run(*arrays[:-1]), arrays[-1]
        same = y.shape == np.broadcast_shapes(y.shape, residual.shape)
        return limit(np.add(y, residual, out=y) if same else y + residual, low, high)

    return add
