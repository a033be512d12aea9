"""The activations as kernels of one element: without calls, and with selections for branches, so that loops over them become vector code.

An entry of `FORMULAS` makes, for a dtype T and its elementary functions f, the pair ``value(x, a, b)`` and ``pull(dy, x, a, b)``, the
gradient; a and b are the activation's numbers. Constants are of T: with a plain 0.5 a float32 would be computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...engine.elementary import Elementary

Pair = tuple[Callable[..., Any], Callable[..., Any]]
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def _celu(T: Any, f: Elementary) -> Pair:
    exp, expm1 = f.exp, f.expm1

    def value(x, a, b):
        negative = a * expm1(x / a)
        return x if x >= T(0) else negative  # 0 stays, whatever a is

    def pull(dy, x, a, b):
        negative = dy * exp(x / a)
        return negative if x <= T(0) else dy  # dy for NaN, as in torch

    return value, pull


def _elu(T: Any, f: Elementary) -> Pair:
    exp, expm1 = f.exp, f.expm1

    def value(x, a, b):
        negative = a * expm1(x)
        return x if x >= T(0) else negative  # 0 stays, whatever a is

    def pull(dy, x, a, b):
        negative = dy * (a * exp(x))
        return negative if x <= T(0) else dy

    return value, pull


def _selu(T: Any, f: Elementary) -> Pair:
    exp, expm1 = f.exp, f.expm1
    scale, negative_scale = T(_SELU_SCALE), T(_SELU_SCALE * _SELU_ALPHA)

    def value(x, a, b):
        negative = negative_scale * expm1(x)
        return scale * x if x > T(0) else negative

    def pull(dy, x, a, b):
        negative = dy * (negative_scale * exp(x))
        return negative if x <= T(0) else dy * scale

    return value, pull


def _gelu(T: Any, f: Elementary) -> Pair:
    exp, normal = f.exp, f.normal
    density = T(1 / math.sqrt(2 * math.pi))

    def value(x, a, b):
        return x * normal(x)

    def pull(dy, x, a, b):
        return dy * (normal(x) + x * (density * exp(T(-0.5) * x * x)))

    return value, pull


def _gelu_tanh(T: Any, f: Elementary) -> Pair:
    exp, sigmoid = f.exp, f.sigmoid  # (1 + tanh z) / 2 = sigmoid(2 z), which loses nothing where tanh z is near -1
    linear, cubic = T(2 * math.sqrt(2 / math.pi)), T(2 * math.sqrt(2 / math.pi) * 0.044715)

    def value(x, a, b):
        return x * sigmoid(x * (linear + cubic * x * x))

    def pull(dy, x, a, b):
        e = exp(-abs(x * (linear + cubic * x * x)))
        share = T(1) / (T(1) + e)
        return dy * share * ((T(1) if x >= T(0) else e) + x * (e * share) * (linear + T(3) * cubic * x * x))

    return value, pull


def _hardshrink(T: Any, f: Elementary) -> Pair:
    def value(x, a, b):
        return T(0) if x >= -a and x <= a else x

    def pull(dy, x, a, b):
        return T(0) if x >= -a and x <= a else dy

    return value, pull


def _softshrink(T: Any, f: Elementary) -> Pair:
    def value(x, a, b):
        return x - a if x > a else (x + a if x < -a else x * T(0))

    def pull(dy, x, a, b):
        return T(0) if x >= -a and x <= a else dy

    return value, pull


def _hardsigmoid(T: Any, f: Elementary) -> Pair:
    sixth = T(1 / 6)

    def value(x, a, b):
        y = x + T(3)
        return (T(0) if y < T(0) else (T(6) if y > T(6) else y)) * sixth

    def pull(dy, x, a, b):
        return dy * sixth if x > T(-3) and x < T(3) else T(0)

    return value, pull


def _hardswish(T: Any, f: Elementary) -> Pair:
    sixth, third = T(1 / 6), T(1 / 3)

    def value(x, a, b):
        y = x + T(3)
        return x * (T(0) if y < T(0) else (T(6) if y > T(6) else y)) * sixth

    def pull(dy, x, a, b):
        inner = dy * (x * third + T(0.5))
        return T(0) if x <= T(-3) else (inner if x < T(3) else dy)

    return value, pull


def _hardtanh(T: Any, f: Elementary) -> Pair:
    def value(x, a, b):
        lifted = a if (x < a) | (a != a) else x  # a limit that is NaN makes all results NaN, as in torch
        return b if (lifted > b) | (b != b) else lifted

    def pull(dy, x, a, b):
        return T(0) if x <= a or x >= b else dy

    return value, pull


def _relu6(T: Any, f: Elementary) -> Pair:
    def value(x, a, b):
        return T(0) if x < T(0) else (T(6) if x > T(6) else x)

    def pull(dy, x, a, b):
        return T(0) if x <= T(0) or x >= T(6) else dy

    return value, pull


def _leaky_relu(T: Any, f: Elementary) -> Pair:
    def value(x, a, b):
        return x if x > T(0) else a * x

    def pull(dy, x, a, b):
        return dy if x > T(0) else a * dy

    return value, pull


def _threshold(T: Any, f: Elementary) -> Pair:
    def value(x, a, b):
        return b if x <= a else x

    def pull(dy, x, a, b):
        return T(0) if x <= a else dy

    return value, pull


def _logsigmoid(T: Any, f: Elementary) -> Pair:
    exp, log1p, sigmoid = f.exp, f.log1p, f.sigmoid

    def value(x, a, b):
        return (T(0) if x > T(0) else x) - log1p(exp(-abs(x)))

    def pull(dy, x, a, b):
        return dy * sigmoid(-x)

    return value, pull


def _softplus(T: Any, f: Elementary) -> Pair:
    exp, log1p, sigmoid = f.exp, f.log1p, f.sigmoid

    def value(x, a, b):
        z = x * a
        y = ((T(0) if z < T(0) else z) + log1p(exp(-abs(z)))) / a
        return x if z > b else y

    def pull(dy, x, a, b):
        inner = dy * sigmoid(x * a)
        return dy if x * a > b else inner

    return value, pull


def _mish(T: Any, f: Elementary) -> Pair:
    exp = f.exp

    # tanh(log(1 + exp x)) = p / (p + q), by powers of exp(-|x|), which does not overflow

    def value(x, a, b):
        e = exp(-abs(x))
        p = e * (e + T(2)) if x < T(0) else T(1) + T(2) * e
        q = T(2) if x < T(0) else T(2) * e * e
        return x * (p / (p + q))

    def pull(dy, x, a, b):
        e = exp(-abs(x))
        p = e * (e + T(2)) if x < T(0) else T(1) + T(2) * e
        q = T(2) if x < T(0) else T(2) * e * e
        slope = x * (T(1) if x >= T(0) else e) / (T(1) + e)
        total = p + q
        return dy * (p / total + slope * (q * (total + p) / (total * total)))

    return value, pull


def _sigmoid(T: Any, f: Elementary) -> Pair:
    exp, sigmoid = f.exp, f.sigmoid

    def value(x, a, b):
        return sigmoid(x)

    def pull(dy, x, a, b):
        e = exp(-abs(x))
        return dy * (e / ((T(1) + e) * (T(1) + e)))

    return value, pull


def _silu(T: Any, f: Elementary) -> Pair:
    exp, sigmoid = f.exp, f.sigmoid

    def value(x, a, b):
        return x * sigmoid(x)

    def pull(dy, x, a, b):
        e = exp(-abs(x))
        share = T(1) / (T(1) + e)
        return dy * share * ((T(1) if x >= T(0) else e) + x * (e * share))

    return value, pull


def _softsign(T: Any, f: Elementary) -> Pair:
    def value(x, a, b):
        return x / (T(1) + abs(x))

    def pull(dy, x, a, b):
        d = T(1) + abs(x)
        return dy / (d * d)

    return value, pull


def _tanh(T: Any, f: Elementary) -> Pair:
    exp, tanh = f.exp, f.tanh

    def value(x, a, b):
        return tanh(x)

    def pull(dy, x, a, b):  # 1 - tanh^2 without the cancellation
        e = exp(T(-2) * abs(x))
        return dy * (T(4) * e / ((T(1) + e) * (T(1) + e)))

    return value, pull


def _tanhshrink(T: Any, f: Elementary) -> Pair:
    tanh = f.tanh

    def value(x, a, b):
        return x - tanh(x)

    def pull(dy, x, a, b):
        y = tanh(x)
        return dy * (y * y)

    return value, pull


FORMULAS: dict[str, Callable[[Any, Elementary], Pair]] = {
    "celu": _celu,
    "elu": _elu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "hardshrink": _hardshrink,
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "hardtanh": _hardtanh,
    "leaky_relu": _leaky_relu,
    "logsigmoid": _logsigmoid,
    "mish": _mish,
    "relu6": _relu6,
    "selu": _selu,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "softplus": _softplus,
    "softshrink": _softshrink,
    "softsign": _softsign,
    "tanh": _tanh,
    "tanhshrink": _tanhshrink,
    "threshold": _threshold,
}
