"""The activations: names, parameters and formulas. Functions, gradients, layers, cases and tests all follow from this one list.

What computes them stands under the same names in `_formulas` (kernels) and `reference` (definitions).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ... import checks


class Number(NamedTuple):
    """A parameter that is a number."""

    name: str
    default: float
    says: str


class Word(NamedTuple):
    """A parameter that chooses between formulas: the first word is the default and the formula of the activation's own name."""

    name: str
    words: tuple[str, ...]
    says: str

    @property
    def default(self) -> str:
        """The first word."""
        return self.words[0]


class Activation(NamedTuple):
    """An activation: its formula in words, its parameters in torch's order, and what torch refuses."""

    formula: str
    parameters: tuple[Number | Word, ...] = ()
    refuses: Callable[..., str | None] | None = None  # (dtype, *parameters) -> what is wrong
    note: str = ""


def _no_range(_: Any, low: float, high: float) -> str | None:
    return f"min_val cannot be greater than max_val; got {low} and {high}" if low > high else None


def _no_alpha(dtype: np.dtype, alpha: float) -> str | None:
    if alpha == 0:
        return "alpha cannot be 0 for CELU"
    if abs(1 / alpha) > float(np.finfo(dtype).max):  # alpha itself may be rounded to 0, and 0 / 0 is NaN
        return f"1 / alpha cannot be converted to type {dtype} without overflow; got an alpha of {alpha:g}"
    return None


def _no_lambda(dtype: np.dtype, lambd: float) -> str | None:
    limit = float(np.finfo(dtype).max)
    return None if 0 <= lambd <= limit else f"lambda must be in range [0, {limit:g}] for input dtype {dtype}, but found {lambd:g}"


def overflow(dtype: np.dtype, *numbers: float) -> str | None:
    """Return what is wrong with numbers of any activation that are finite, and would not be in this dtype; torch refuses them."""
    limit = float(np.finfo(dtype).max)
    wrong = [number for number in numbers if limit < abs(number) < math.inf]
    return f"value cannot be converted to type {dtype} without overflow; got {wrong[0]:g}" if wrong else None


ACTIVATIONS = {
    "celu": Activation(
        "max(0, x) + min(0, alpha (exp(x / alpha) - 1))",
        (Number("alpha", 1.0, "not 0, nor so small that 1 / alpha overflows"),),
        _no_alpha,
        'J. T. Barron, "Continuously Differentiable Exponential Linear Units", 2017.',
    ),
    "elu": Activation(
        "x where x > 0, else alpha (exp(x) - 1)",
        (Number("alpha", 1.0, "minus the limit for x -> -inf"),),
        note='D.-A. Clevert et al., "Fast and Accurate Deep Network Learning by Exponential Linear Units (ELUs)", 2016.',
    ),
    "gelu": Activation(
        "x F(x), with F the distribution function of the standard normal",
        (Word("approximate", ("none", "tanh"), '"tanh" takes F(x) = (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2'),),
        note='D. Hendrycks & K. Gimpel, "Gaussian Error Linear Units", 2016.',
    ),
    "hardshrink": Activation("x where |x| > lambd, else 0", (Number("lambd", 0.5, "half the width of what becomes 0"),)),
    "hardsigmoid": Activation("min(max(x + 3, 0), 6) / 6"),
    "hardswish": Activation("x min(max(x + 3, 0), 6) / 6", note='A. Howard et al., "Searching for MobileNetV3", 2019, section 5.2.'),
    "hardtanh": Activation(
        "min(max(x, min_val), max_val)", (Number("min_val", -1.0, "least result"), Number("max_val", 1.0, "largest result")), _no_range
    ),
    "leaky_relu": Activation("x where x > 0, else negative_slope x", (Number("negative_slope", 0.01, "slope below 0"),)),
    "logsigmoid": Activation("log(1 / (1 + exp(-x)))"),
    "mish": Activation("x tanh(log(1 + exp(x)))", note='D. Misra, "Mish", 2019.'),
    "relu6": Activation("min(max(x, 0), 6)"),
    "selu": Activation(
        "1.0507 x where x > 0, else 1.0507 * 1.67326 (exp(x) - 1)", note='G. Klambauer et al., "Self-Normalizing Neural Networks", 2017.'
    ),
    "sigmoid": Activation("1 / (1 + exp(-x))"),
    "silu": Activation(
        "x / (1 + exp(-x))", note='S. Elfwing et al., "Sigmoid-Weighted Linear Units for Neural Network Function Approximation", 2018.'
    ),
    "softplus": Activation(
        "log(1 + exp(beta x)) / beta, and x where beta x > threshold",
        (Number("beta", 1.0, "sharpness"), Number("threshold", 20.0, "where it becomes the identity")),
    ),
    "softshrink": Activation(
        "x - lambd where x > lambd, x + lambd where x < -lambd, else 0", (Number("lambd", 0.5, "at least 0"),), _no_lambda
    ),
    "softsign": Activation("x / (1 + |x|)"),
    "tanh": Activation("tanh(x)"),
    "tanhshrink": Activation("x - tanh(x)"),
    "threshold": Activation(
        "x where x > threshold, else value",
        (Number("threshold", math.nan, "largest x that is replaced"), Number("value", math.nan, "what replaces it")),
    ),
}


def settings(op: str, name: str, given: tuple[Any, ...], named: dict[str, Any]) -> dict[str, float | str]:
    """Return the checked parameters of an activation by name; TypeError or ValueError that speaks for `op`."""
    entry = ACTIVATIONS[name]
    if len(given) > len(entry.parameters):
        raise TypeError(f"{op}: expected at most {len(entry.parameters)} parameters; got {len(given)}")
    values = dict(zip((parameter.name for parameter in entry.parameters), given, strict=False))
    for key, value in named.items():
        if key in values or key not in (parameter.name for parameter in entry.parameters):
            raise TypeError(f"{op}: {'got two values for' if key in values else 'has no'} parameter {key!r}")
        values[key] = value
    return {parameter.name: _checked(op, parameter, values) for parameter in entry.parameters}


def _checked(op: str, parameter: Number | Word, values: dict[str, Any]) -> float | str:
    if isinstance(parameter, Word):
        word = values.get(parameter.name, parameter.default)
        if not isinstance(word, str) or word not in parameter.words:
            allowed = " or ".join(parameter.words)
            raise ValueError(f"{op}: {parameter.name} argument must be either {allowed}; got {checks.window.shown(word)}")
        return word
    if parameter.name not in values and math.isnan(parameter.default):
        raise TypeError(f"{op}: {parameter.name} must be given")
    return checks.number(op, parameter.name, values.get(parameter.name, parameter.default), finite=False)


def formula(name: str, parameters: dict[str, float | str]) -> str:
    """Return the name of the formula that these parameters choose."""
    words = [parameters[p.name] for p in ACTIVATIONS[name].parameters if isinstance(p, Word) and parameters[p.name] != p.default]
    return "_".join(map(str, (name, *words)))


def numbers(parameters: dict[str, float | str]) -> tuple[float, float]:
    """Return the two numbers that a formula takes, 0 where it has none."""
    given = [value for value in parameters.values() if not isinstance(value, str)]
    return (*given, 0.0, 0.0)[:2]  # type: ignore[return-value]
