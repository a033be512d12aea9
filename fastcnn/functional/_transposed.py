"""Transposed convolutions: the gradient of a convolution with respect to its input, as an operation of its own.

What a convolution's input is to its output, the output of the transposed one is to its input. `output_padding` enlarges the output at the
end. As far as the padding after reaches, that only means less padding; beyond it lie zeros that no input reaches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import checks, window
from ..plans import Plans
from ..window import Axis
from . import _planar
from ._convolution import Call, bias_gradient_of, check_bias, unbatching
from ._problem import Convolution

_WEIGHT = {1: "CKS", 2: "CKRS", 3: "CKTRS"}
_FORWARD, _BACKWARD = Plans(), Plans()


class Transposed(NamedTuple):
    """A transposed convolution: the convolution behind it, over as much of the output as it reaches, and the whole output."""

    convolution: Convolution
    output_shape: tuple[int, ...]

    @property
    def reached(self) -> tuple[slice, ...]:
        """The part of the output that the convolution reaches."""
        return slice(None), slice(None), *(slice(0, max(axis.size, 0)) for axis in self.convolution.axes)

    @property
    def reaches_all(self) -> bool:
        """Whether no zeros are left at the end."""
        return self.convolution.input_shape == self.output_shape

    @property
    def reaches_none(self) -> bool:
        """Whether all of the output is zeros: one input, far in the padding before, and much output padding."""
        return min(axis.size for axis in self.convolution.axes) < 1


def transposed(call: Call, input: Any, weight: Any, bias: Any, output_padding: Any) -> np.ndarray:
    """Return the transposed convolution of a batch or a single image."""
    key = Plans.key((*call, output_padding), input, weight, bias)
    plan = _FORWARD.find(key)
    if plan is None:
        x, single = call.image("input", input)
        w = checks.convolved(call.op, "weight", weight, _WEIGHT[call.dims])
        b = None if bias is None else checks.convolved(call.op, "bias", bias, "K")
        dtype = checks.same_dtype(call.op, input=x, weight=w, bias=b)
        problem = _problem(call, x.shape, w.shape, output_padding)
        check_bias(call.op, b, problem.convolution.C)
        checks.require_memory(call.op, "the result", problem.output_shape, dtype.itemsize)
        plan = unbatching(_forward(problem), single)
        y = call.run(plan, x, w, b)
        _FORWARD.remember(key, plan, input, weight, bias)
        return y
    result: np.ndarray = plan(input, weight, bias)
    return result


def transposed_gradients(
    call: Call, grad_output: Any, input: Any, weight: Any, output_padding: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of a transposed convolution with respect to its input, its weight and its bias."""
    key = Plans.key((*call, output_padding), grad_output, input, weight)
    plan = _BACKWARD.find(key)
    if plan is not None:
        found: tuple[np.ndarray, np.ndarray, np.ndarray] = plan(grad_output, input, weight)
        return found
    x, single = call.image("input", input)
    dy, _ = call.image("grad_output", grad_output, single)
    w = checks.convolved(call.op, "weight", weight, _WEIGHT[call.dims])
    checks.same_dtype(call.op, grad_output=dy, input=x, weight=w)
    problem = _problem(call, x.shape, w.shape, output_padding)
    call.check_output(dy, problem.output_shape)
    run = _backward(problem, single)
    gradients: tuple[np.ndarray, np.ndarray, np.ndarray] = call.run(run, dy, x, w)
    _BACKWARD.remember(key, run, grad_output, input, weight)
    return gradients


def _problem(call: Call, x: tuple[int, ...], w: tuple[int, ...], output_padding: Any) -> Transposed:
    """Return the checked problem of a batch and a weight of these shapes."""
    op, dims = call.op, call.dims
    if isinstance(call.padding, str):
        window.integer(op, "padding", call.padding, 0)  # says that it must be an int
    strides, sides, dilations = window.convolution_moves(op, dims, call.stride, call.padding, call.dilation)
    more = window.sizes(op, "output_padding", output_padding, 0, dims, "negative output_padding is not supported")
    groups = window.convolution_groups(op, w, call.groups)
    if x[1] != w[0]:
        raise ValueError(
            f"{op}: Given transposed=1, weight of size {list(w)}, expected input{list(x)} to have {w[0]} channels, "
            f"but got {x[1]} channels instead"
        )
    if min(x[2:]) == 0:
        raise ValueError(f"{op}: the sizes of the input's axes must not be 0; got {x[2:]}")
    axes, sizes = [], []
    for size, kernel, stride, (before, after), dilation, extra in zip(x[2:], w[2:], strides, sides or (), dilations, more, strict=True):
        if extra >= max(stride, dilation):
            raise ValueError(f"{op}: output padding must be smaller than either stride or dilation, but got output_padding: {more}")
        last = (size - 1) * stride + dilation * (kernel - 1) + 1 - before  # one past what the taps reach
        sizes.append(last - after + extra)
        axes.append(Axis(last - max(after - extra, 0), kernel, stride, before, max(after - extra, 0), dilation))
    if min(sizes) < 1:
        given, found = (" x ".join(map(str, shape)) for shape in (x[2:], sizes))
        raise ValueError(
            f"{op}: Given input size per channel: ({given}). Calculated output size per channel: ({found}). Output size is too small"
        )
    convolution = Convolution(x[0], w[1] * groups, w[0], tuple(axes), groups, call.algorithm, call.precision)
    return Transposed(convolution, (x[0], convolution.C, *sizes))


def _forward(p: Transposed) -> Callable[..., np.ndarray]:
    """Return a function of (x, weight, bias or None)."""
    compute = None if p.reaches_none else _planar.backward_input(p.convolution)
    shape, reached, reaches_all, ones = p.output_shape, p.reached, p.reaches_all, (1,) * len(p.convolution.axes)

    def run(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        if compute is not None and reaches_all:
            y = compute(weight, x)
        else:
            y = np.zeros(shape, x.dtype)
            if compute is not None:
                y[reached] = compute(weight, x)
        if bias is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                y += bias.reshape(-1, *ones)
        return y

    return run


def _backward(p: Transposed, single: bool) -> Callable[..., Any]:
    """Return a function of (dy, x, weight) that returns all gradients."""
    convolution = p.convolution
    if p.reaches_none:
        sizes = convolution.output_shape[single:], convolution.weight_shape
        return lambda dy, x, weight: (*(np.zeros(size, x.dtype) for size in sizes), bias_gradient_of(dy.reshape(p.output_shape)))
    shape, reached, reaches_all = p.output_shape, p.reached, p.reaches_all
    forward, weight_gradient = _planar.forward(convolution), _planar.backward_weight(convolution)

    def run(dy: np.ndarray, x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        errors = dy.reshape(shape)
        met = errors if reaches_all else errors[reached]
        dx, dweight = forward(met, weight, None), weight_gradient(met, x)
        return dx[0] if single else dx, dweight, bias_gradient_of(errors)

    return run
