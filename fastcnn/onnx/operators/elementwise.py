"""Arithmetic, comparisons and elementary functions, value by value, with broadcasting."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..graph import Node
from .registry import Inputs, Run, operator, plain, refuse

plain(
    Abs=np.abs, Neg=np.negative, Exp=np.exp, Log=np.log, Sqrt=np.sqrt, Floor=np.floor, Ceil=np.ceil, Round=np.rint, Sign=np.sign,
    Sin=np.sin, Cos=np.cos, Tan=np.tan, Asin=np.arcsin, Acos=np.arccos, Atan=np.arctan, Sinh=np.sinh, Cosh=np.cosh, Asinh=np.arcsinh,
    Acosh=np.arccosh, Atanh=np.arctanh, Reciprocal=np.reciprocal, Not=np.logical_not, IsNaN=np.isnan, Where=np.where,
    BitwiseAnd=np.bitwise_and, BitwiseOr=np.bitwise_or, BitwiseXor=np.bitwise_xor, BitwiseNot=np.invert,
)  # fmt: skip


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind == "f":
        return np.divide(a, b)
    quotient = np.abs(a) // np.abs(b)  # rounded towards zero, as in C
    return np.where((a < 0) != (b < 0), -quotient, quotient).astype(a.dtype) if a.dtype.kind == "i" else quotient


_BINARY: dict[str, Run] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _divide,
    "Pow": lambda base, exponent: np.power(base, exponent).astype(base.dtype, copy=False),
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
    "Equal": np.equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
}


@operator(*_BINARY)
def binary(node: Node, inputs: Inputs) -> Run:
    """Bind a function of two arrays; before opset 7 the second one began at an axis of the first."""
    function, axis = _BINARY[node.kind], node.get("axis")
    if node.version >= 7 or axis is None:
        return function
    a, b = inputs[0], inputs[1]
    shape = b.shape + (1,) * (a.ndim - axis % a.ndim - b.ndim)
    return lambda a, b: function(a, b.reshape(shape))


def _mean(*arrays: np.ndarray) -> np.ndarray:
    return functools.reduce(np.add, arrays) / len(arrays)


_SEVERAL: dict[str, Run] = {"Sum": np.add, "Max": np.maximum, "Min": np.minimum}


@operator(*_SEVERAL)
def several(node: Node, inputs: Inputs) -> Run:
    """Bind a function of two arrays that is applied to any number of them."""
    function = _SEVERAL[node.kind]
    if len(inputs) == 2:
        return function
    return lambda *arrays: functools.reduce(function, arrays)


plain(Mean=_mean)


@operator("Mod")
def modulo(node: Node, inputs: Inputs) -> Run:
    """Bind the remainder, with the divisor's sign or, with fmod, the dividend's."""
    return np.fmod if node.get("fmod", 0) else np.mod


@operator("BitShift")
def bit_shift(node: Node, inputs: Inputs) -> Run:
    """Bind a shift of unsigned numbers."""
    if inputs[0].dtype.kind != "u":
        raise refuse(node, "a shift of signed numbers")
    return np.left_shift if node.get("direction") == "LEFT" else np.right_shift


@operator("IsInf")
def is_inf(node: Node, inputs: Inputs) -> Run:
    """Bind the test for infinities of either sign or one."""
    negative, positive = node.get("detect_negative", 1), node.get("detect_positive", 1)

    def run(x: np.ndarray) -> np.ndarray:
        result: np.ndarray = np.isinf(x)
        if not negative:
            result &= x > 0
        return result if positive else result & (x < 0)

    return run


@operator("Clip")
def clip(node: Node, inputs: Inputs) -> Run:
    """Bind a limit from below and from above; both by attributes before opset 11."""
    if node.version < 11:
        low, high = np.asarray(node.get("min", -np.inf)), np.asarray(node.get("max", np.inf))
        return lambda x: limited(x, low.astype(x.dtype), high.astype(x.dtype))
    return limited


def limited(x: np.ndarray, low: Any = None, high: Any = None) -> np.ndarray:
    """Return x, at least `low` and at most `high`, which wins; NaN stays NaN."""
    if low is not None:
        x = np.maximum(x, low)
    return x if high is None else np.minimum(x, high)
