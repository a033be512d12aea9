"""Products of matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ... import checks
from ...ops.conv2d import prepare_conv2d
from ...ops.linear import linear
from ..graph import Node
from .registry import Inputs, Run, operator

plain_matmul: Callable[..., np.ndarray] = np.matmul


@operator("Gemm")
def gemm(node: Node, inputs: Inputs) -> Run:
    """Bind alpha A B + beta C, each of A and B transposed where it says so."""
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    a_transposed, b_transposed = node.get("transA", 0), node.get("transB", 0)
    a, b, c = inputs[0], inputs[1], inputs.get(2)
    rows = b.shape[0 if b_transposed else 1]
    fits = c is None or c.shape in ((rows,), (1, rows))
    if a.dtype in checks.FLOATS and fits and inputs.is_constant(1) and inputs.is_constant(2) and not a_transposed:
        weight = checks.contiguous(b if b_transposed else b.T)
        weight = weight if alpha == 1 else (weight * alpha).astype(b.dtype)
        bias = None if c is None else (checks.contiguous(c) * c.dtype.type(beta)).reshape(rows)
        return _by_known_matrix(a, weight, bias)

    def run(a: np.ndarray, b: np.ndarray, c: np.ndarray | None = None) -> np.ndarray:
        product = (a.T if a_transposed else a) @ (b.T if b_transposed else b)
        if alpha != 1:
            product = (product * alpha).astype(a.dtype, copy=False)
        return product if c is None else (product + (c if beta == 1 else c * beta)).astype(a.dtype, copy=False)

    return run


def _by_known_matrix(a: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> Run:
    """Return the product of arrays like `a`, and a weight (O, I) that is packed once: a convolution of pixels by 1 x 1.

    Packing at every call took 8 rows of VGG's 25,088 to 4,096 from 41 to 110 ms. A single row needs no packing: memory bounds it.
    """
    same = weight.dtype == a.dtype and (bias is None or bias.dtype == a.dtype)
    if not same or 0 in (a.size, weight.size) or a.shape[-1] != weight.shape[1] or a.size == a.shape[-1]:
        return lambda a, *_: linear(checks.contiguous(a), weight, bias)
    O, I = weight.shape
    shape = *a.shape[:-1], O
    run = prepare_conv2d(weight.reshape(O, I, 1, 1), bias).planned((1, I, 1, a.size // I), channels_last=True)
    return lambda a, *_: run(checks.contiguous(a)).reshape(shape)


@operator("MatMul")
def matmul(node: Node, inputs: Inputs) -> Run:
    """Bind NumPy's product; that of a constant matrix by `linear`."""
    a, b = inputs[0], inputs[1]
    if a.ndim >= 2 and b.ndim == 2 and a.dtype in checks.FLOATS and inputs.is_constant(1) and b.size:
        weight = checks.contiguous(b.T)
        return _by_known_matrix(a, weight, None)
    return plain_matmul


@operator("Einsum")
def einsum(node: Node, inputs: Inputs) -> Run:
    """Bind NumPy's einsum."""
    equation = node.get("equation").replace(" ", "")
    return lambda *arrays: np.einsum(equation, *arrays)
