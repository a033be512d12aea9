"""Exponentials and their kin without branches or calls, so that LLVM turns a loop over them into vector code.

``elementary(dtype)`` returns them for one dtype, in which all arithmetic stays: kernels that a loop calls once an element. They are within
2 ulp. Exponentials that would be subnormal are 0, those in the last factor of 2 before the largest number are infinite. NaN stays NaN.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import machine
from ..jit import kernel


class Elementary(NamedTuple):
    """The functions for one dtype."""

    exp: Any
    expm1: Any  # e^x - 1
    log1p: Any  # log(1 + x) for 0 <= x <= 1
    sigmoid: Any  # 1 / (1 + e^-x)
    tanh: Any
    normal: Any  # the distribution function of the standard normal: (1 + erf(x / sqrt 2)) / 2


class _Format(NamedTuple):
    """What a floating-point format needs of the constants below."""

    bits: int
    mantissa: int
    bias: int
    least: float  # below it e^x is 0
    most: float  # above it e^x is infinite
    high: float  # ln 2 to so many bits that n high is exact
    low: float  # and the rest of it
    exp_terms: int  # of Taylor's series on +-ln 2 / 2
    log_terms: int  # of atanh's series on 0 .. 1/3


_FORMATS = {
    "float32": _Format(32, 23, 127, -87.0, 88.3, 0.693359375, -2.12194440e-4, 8, 8),
    "float64": _Format(64, 52, 1023, -708.0, 709.4, 6.93147180369123816490e-01, 1.90821492927058770002e-10, 14, 17),
}

_UNROLLED = 12  # coefficients

# (1 + z) exp(z^2) erfc(z) as a polynomial of t = (z - 2.5) / (z + 2.5), for all z >= 0: Chebyshev interpolation of scipy.special.erfcx.
_ERFC_CENTRE = 2.5
_ERFC = {
    "float32": (
        0.737822271, -0.247046766, 0.0763445409, 0.0162988935, -0.0315247828, 0.014379805, -0.00084430543, -0.00173949261, 0.000338574273,
        0.000227229007, -4.15092321e-05, -2.48795927e-05,
    ),
    "float64": (
        0.7378222742140025, -0.2470467485156822, 0.07634432682189603, 0.01629843332153011, -0.031522258480248054, 0.014383596069700948,
        -0.0008552365971320557, -0.0017530816750662408, 0.0003601233331202533, 0.0002516251881486488, -6.133219946723303e-05,
        -4.746080076860603e-05, 6.91550886138826e-06, 1.0219805517488264e-05, 3.840747998119014e-07, -2.1067131679240936e-06,
        -5.779841232740232e-07, 3.5112912312643925e-07, 2.1552807575950943e-07, -3.7514437347644276e-08, -4.75833850499914e-08,
        1.4789796399266626e-09, 5.1374781370464436e-09,
    ),
}  # fmt: skip


@functools.cache
def elementary(dtype: str) -> Elementary:
    """Return the functions for "float32" or "float64"."""
    shape, T = _FORMATS[dtype], np.dtype(dtype).type
    power_of_two, fma = _power_of_two(shape), _multiply_add()
    shifter = T(1.5 * 2.0**shape.mantissa)  # x + shifter is x rounded to an integer, in the last bits
    per_ln2, high, low, least, most = map(T, (1 / math.log(2), -shape.high, -shape.low, shape.least, shape.most))
    zero, one, two, infinity = map(T, (0, 1, 2, math.inf))
    fraction = polynomial([1 / math.factorial(k) for k in range(2, shape.exp_terms)], dtype)
    series = polynomial([2 / (2 * k + 1) for k in range(shape.log_terms)], dtype)

    def kind(name: str) -> Callable[[Any], Any]:
        return kernel(specialisation=(name, dtype), inline="always")

    @kind("expm1")
    def expm1(x):
        bounded = least if x < least else (most if x > most else x)
        shifted = fma(bounded, per_ln2, shifter)
        n = shifted - shifter
        r = fma(n, low, fma(n, high, bounded))
        scale = power_of_two(shifted)
        value = fma(scale, fma(r * r, fraction(r), r), scale - one)
        return infinity if x > most else value

    @kind("exp")
    def exp(x):
        bounded = least if x < least else (most if x > most else x)
        shifted = fma(bounded, per_ln2, shifter)
        n = shifted - shifter
        r = fma(n, low, fma(n, high, bounded))
        scale = power_of_two(shifted)
        value = fma(scale, fma(r * r, fraction(r), r), scale)
        return zero if x < least else (infinity if x > most else value)

    @kind("log1p")
    def log1p(x):
        s = x / (two + x)
        return s * series(s * s)

    root_half, centre, half, farthest = T(math.sqrt(0.5)), T(_ERFC_CENTRE), T(0.5), T(30)
    scaled_erfc = polynomial(_ERFC[dtype], dtype)

    @kind("normal")
    def normal(x):
        z = abs(x) * root_half
        z = farthest if z > farthest else z  # infinity over infinity would be NaN
        share = half / ((one + z) * (z + centre))  # one division for two
        below = exp(-z * z) * scaled_erfc(two * share * (one + z) * (z - centre)) * (share * (z + centre))
        return below if x < zero else one - below

    @kind("sigmoid")
    def sigmoid(x):
        e = exp(-abs(x))
        return (one if x >= zero else e) / (one + e)

    @kind("tanh")
    def tanh(x):
        e = expm1(-two * abs(x))
        size = -e / (two + e)
        return -size if x < zero else size

    return Elementary(exp, expm1, log1p, sigmoid, tanh, normal)


def polynomial(coefficients: Sequence[float], dtype: str) -> Any:
    """Return a kernel ``p(x)`` with these coefficients, the constant one first."""
    fma = _multiply_add()
    values = tuple(map(np.dtype(dtype).type, coefficients))
    if len(values) > _UNROLLED:  # LLVM leaves longer loops as they are, and the caller's scalar
        half = len(values) // 2
        low, high = polynomial(values[:half], dtype), polynomial(values[half:], dtype)

        @kernel(specialisation=(values, dtype), inline="always")
        def halves(x):
            raised = x
            for _ in range(half - 1):
                raised *= x
            return fma(raised, high(x), low(x))

        return halves
    last, others = values[-1], values[-2::-1]

    @kernel(specialisation=(values, dtype), inline="always")
    def evaluate(x):
        total = last
        for c in others:
            total = fma(total, x, c)
        return total

    return evaluate


def _power_of_two(shape: _Format) -> Any:
    """Return an intrinsic: 2^n of a float whose last bits hold n, as adding 1.5 * 2^mantissa leaves them."""
    machine.numba()
    from llvmlite import ir
    from numba.extending import intrinsic

    integer = ir.IntType(shape.bits)

    @intrinsic
    def power_of_two(typingctx: Any, shifted: Any) -> Any:
        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            exponent = b.shl(b.bitcast(args[0], integer), ir.Constant(integer, shape.mantissa))
            return b.bitcast(b.add(exponent, ir.Constant(integer, shape.bias << shape.mantissa)), args[0].type)

        return shifted(shifted), codegen

    return power_of_two


@functools.cache
def _multiply_add() -> Any:
    """Return an intrinsic ``fma(a, b, c)``: a b + c, in one instruction and one rounding where the CPU has it."""
    machine.numba()
    from llvmlite import ir
    from numba.core import cgutils
    from numba.extending import intrinsic

    @intrinsic
    def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = args[0].type
            name = "llvm.fmuladd.f32" if kind == ir.FloatType() else "llvm.fmuladd.f64"
            return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name), args)

        return a(a, a, a), codegen

    return fma
