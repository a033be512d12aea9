"""Activations: `torch.nn.functional`'s elementwise functions on NumPy arrays, each made of its entry in the table."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ... import checks
from ...plans import Plans
from ...registry import Operation
from . import problem as _problem
from ._table import ACTIVATIONS, Word, formula, numbers, overflow, settings
from .problem import ActivationProblem

__all__ = [
    "ACTIVATIONS",
    "FUNCTIONS",
    "OPERATION",
    "ActivationProblem",
    "celu",
    "celu_backward",
    "elu",
    "elu_backward",
    "gelu",
    "gelu_backward",
    "hardshrink",
    "hardshrink_backward",
    "hardsigmoid",
    "hardsigmoid_backward",
    "hardswish",
    "hardswish_backward",
    "hardtanh",
    "hardtanh_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "logsigmoid",
    "logsigmoid_backward",
    "mish",
    "mish_backward",
    "relu6",
    "relu6_backward",
    "selu",
    "selu_backward",
    "settings",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softplus",
    "softplus_backward",
    "softshrink",
    "softshrink_backward",
    "softsign",
    "softsign_backward",
    "tanh",
    "tanh_backward",
    "tanhshrink",
    "tanhshrink_backward",
    "threshold",
    "threshold_backward",
]

OPERATION = Operation(__name__, ("direct", "reference"), _problem)
_PLAIN = (float, str)

Function = Callable[..., np.ndarray]


class Pair(NamedTuple):
    """The public function of an activation, and its gradient."""

    forward: Function
    backward: Function


def _functions(name: str) -> Pair:
    """Make the functions of an entry of the table."""
    op, op_backward = name, f"{name}_backward"
    forward_plans, backward_plans = Plans(), Plans()

    def forward(input: Any, *parameters: Any, algorithm: str = "auto", **named: Any) -> np.ndarray:
        key = _key(forward_plans, algorithm, parameters, named, input)
        plan = forward_plans.find(key)
        if plan is not None:
            return plan(input)
        x = checks.array(op, "input", input, None)
        memory = checks.memory_order(x)
        problem = _checked(op, name, x, parameters, named)
        compute = _bound(op, problem, "forward", algorithm, memory)
        forward_plans.remember(key, compute, input)
        return checks.like(compute(memory), x)

    def backward(grad_output: Any, input: Any, *parameters: Any, algorithm: str = "auto", **named: Any) -> np.ndarray:
        key = _key(backward_plans, algorithm, parameters, named, grad_output, input)
        plan = backward_plans.find(key)
        if plan is not None:
            return plan(grad_output, input)
        x = checks.array(op_backward, "input", input, None)
        dy = checks.array(op_backward, "grad_output", grad_output, None)
        checks.same_dtype(op_backward, grad_output=dy, input=x)
        checks.same_shape(op_backward, "grad_output", dy, x.shape, "the input's shape")
        memory, errors = checks.memory_order(x), checks.memory_order(dy, as_in=x)
        problem = _checked(op_backward, name, x, parameters, named)
        compute = _bound(op_backward, problem, "backward_input", algorithm, memory)
        backward_plans.remember(key, compute, grad_output, input)
        return checks.like(compute(errors, memory), x)

    _describe(forward, op, name, ("input",), _FORWARD_DOC)
    _describe(backward, op_backward, name, ("grad_output", "input"), _BACKWARD_DOC)
    return Pair(forward, backward)


def _key(plans: Plans, algorithm: Any, parameters: tuple[Any, ...], named: dict[str, Any], *arrays: Any) -> Any:
    """Return what a call depends on; numbers stand as words, as 1.0 would equal True."""
    given = (*parameters, *named.values())
    if not all(type(value) in _PLAIN or (type(value) is int and -(2**63) <= value < 2**63) for value in given):
        return None
    return plans.key((algorithm, tuple(named), tuple(map(repr, given))), *arrays)


def _checked(op: str, name: str, x: np.ndarray, parameters: tuple[Any, ...], named: dict[str, Any]) -> ActivationProblem:
    """Return the problem of a call."""
    given = settings(op, name, parameters, named)
    refuses = ACTIVATIONS[name].refuses
    reason = (refuses(x.dtype, *given.values()) if refuses else None) or overflow(x.dtype, *numbers(given))
    if reason:
        raise ValueError(f"{op}: {reason}")
    return ActivationProblem(formula(name, given), x.size, *numbers(given))


def _bound(op: str, problem: ActivationProblem, direction: str, algorithm: str, result: np.ndarray) -> Function:
    """Return a function of contiguous arrays as large as `result`, which it returns anew."""
    run = OPERATION.choose(problem, direction, algorithm, op)
    allocate = checks.allocator(op, result.shape, result.dtype)

    def compute(*arrays: np.ndarray) -> np.ndarray:
        y = allocate()
        run(problem, *[array.reshape(-1) for array in arrays], y.reshape(-1))
        return y

    return compute


# --- Documentation -------------------------------------------------------------------------------------------------------

_FORWARD_DOC = """Return {formula}, for every element x.

Parameters
----------
input : ndarray of any shape, float32 or float64
{parameters}algorithm : str
    "auto", or a variant of the operation `activation`.

Returns
-------
ndarray of the input's shape and dtype
    A channels-last (N, C, H, W) view comes back as one: the memory order is kept.

Raises
------
TypeError, ValueError
    The message names the argument, what was expected and what arrived.
{references}"""

_BACKWARD_DOC = """Return the gradient of `{name}` with respect to its input.

Parameters
----------
grad_output : ndarray of the input's shape and dtype
input : ndarray
    The forward's.
{parameters}algorithm : str
    "auto", or a variant of the operation `activation`.

Returns
-------
ndarray of the input's shape and dtype

Raises
------
TypeError, ValueError
    The message names the argument, what was expected and what arrived.
"""


def _describe(function: Any, op: str, name: str, arrays: tuple[str, ...], text: str) -> None:
    """Give a function the name, signature and docstring that follow from the table."""
    entry = ACTIVATIONS[name]
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(array, positional, annotation=Any) for array in arrays]
    for parameter in entry.parameters:
        default = inspect.Parameter.empty if parameter.default != parameter.default else parameter.default
        annotation = str if isinstance(parameter, Word) else float
        parameters.append(inspect.Parameter(parameter.name, positional, default=default, annotation=annotation))
    parameters.append(inspect.Parameter("algorithm", inspect.Parameter.KEYWORD_ONLY, default="auto", annotation=str))
    function.__signature__ = inspect.Signature(parameters, return_annotation=np.ndarray)
    function.__name__ = function.__qualname__ = op
    function.__doc__ = text.format(
        name=name,
        formula=entry.formula,
        parameters="".join(f"{_kind(p)}\n    {p.says[0].upper()}{p.says[1:]}.\n" for p in entry.parameters),
        references=f"\nReferences\n----------\n{entry.note}\n" if entry.note else "",
    )


def _kind(parameter: Any) -> str:
    if isinstance(parameter, Word):
        return f"{parameter.name} : " + " or ".join(f'"{word}"' for word in parameter.words)
    return f"{parameter.name} : float"


FUNCTIONS = {name: _functions(name) for name in ACTIVATIONS}

celu, celu_backward = FUNCTIONS["celu"]
elu, elu_backward = FUNCTIONS["elu"]
gelu, gelu_backward = FUNCTIONS["gelu"]
hardshrink, hardshrink_backward = FUNCTIONS["hardshrink"]
hardsigmoid, hardsigmoid_backward = FUNCTIONS["hardsigmoid"]
hardswish, hardswish_backward = FUNCTIONS["hardswish"]
hardtanh, hardtanh_backward = FUNCTIONS["hardtanh"]
leaky_relu, leaky_relu_backward = FUNCTIONS["leaky_relu"]
logsigmoid, logsigmoid_backward = FUNCTIONS["logsigmoid"]
mish, mish_backward = FUNCTIONS["mish"]
relu6, relu6_backward = FUNCTIONS["relu6"]
selu, selu_backward = FUNCTIONS["selu"]
sigmoid, sigmoid_backward = FUNCTIONS["sigmoid"]
silu, silu_backward = FUNCTIONS["silu"]
softplus, softplus_backward = FUNCTIONS["softplus"]
softshrink, softshrink_backward = FUNCTIONS["softshrink"]
softsign, softsign_backward = FUNCTIONS["softsign"]
tanh, tanh_backward = FUNCTIONS["tanh"]
tanhshrink, tanhshrink_backward = FUNCTIONS["tanhshrink"]
threshold, threshold_backward = FUNCTIONS["threshold"]
