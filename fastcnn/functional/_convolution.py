"""What all convolutions share at the boundary: calls are checked as those of `conv2d`, computed by `_planar`, and remembered."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .. import checks, window
from ..ops.conv2d import bias_gradient
from ..plans import Plans
from . import _planar
from ._problem import Convolution

IMAGE = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
WEIGHT = {1: "KCS", 2: "KCRS", 3: "KCTRS"}
OUTPUT = {1: "NKQ", 2: "NKPQ", 3: "NKOPQ"}

_Result = TypeVar("_Result")
_FORWARD, _INPUT, _WEIGHT = Plans(), Plans(), Plans()


class Call(NamedTuple):
    """How a public function was called: its name, for errors, the number of spatial axes, and the arguments that all of them share."""

    op: str
    dims: int
    stride: Any
    padding: Any
    dilation: Any
    groups: Any
    algorithm: Any
    precision: Any

    def image(self, name: str, value: Any, unbatched: bool | None = None) -> tuple[np.ndarray, bool]:
        """Return (a batch of images, whether it was a single image)."""
        batched = {False: IMAGE[self.dims], True: IMAGE[self.dims][1:]}
        array = checks.convolved(self.op, name, value, tuple(batched.values()) if unbatched is None else batched[unbatched])
        single = array.ndim == self.dims + 1
        return array[None] if single else array, single

    def weight(self, value: Any) -> np.ndarray:
        """Return the checked weight."""
        return checks.convolved(self.op, "weight", value, WEIGHT[self.dims])

    def problem(self, x: tuple[int, ...], weight: tuple[int, ...]) -> Convolution:
        """Return the checked problem of a batch and a weight of these shapes."""
        axes, groups = window.convolution(self.op, x, weight, self.stride, self.padding, self.dilation, self.groups)
        return Convolution(x[0], x[1], weight[0], axes, groups, self.algorithm, self.precision)

    def check_output(self, dy: np.ndarray, shape: tuple[int, ...]) -> None:
        """Raise ValueError where a gradient has not the shape of the output."""
        letters = checks.shape_of_letters(OUTPUT[self.dims])
        checks.same_shape(self.op, "grad_output", dy, shape, f"the forward's output as {letters}")

    def run(self, compute: Callable[..., _Result], *arrays: np.ndarray | None) -> _Result:
        """Compute; errors of the two-dimensional operations speak of this one."""
        try:
            return compute(*arrays)
        except (TypeError, ValueError) as error:
            speaker, _, message = str(error).partition(": ")
            if not speaker.startswith("conv2d"):
                raise
            raise type(error)(f"{self.op}: {message}") from error


def correlate(call: Call, input: Any, weight: Any, bias: Any) -> np.ndarray:
    """Return the convolution of a batch or a single image."""
    key = Plans.key(call, input, weight, bias)
    plan = _FORWARD.find(key)
    if plan is None:
        x, single = call.image("input", input)
        w = call.weight(weight)
        b = None if bias is None else checks.convolved(call.op, "bias", bias, "K")
        dtype = checks.same_dtype(call.op, input=x, weight=w, bias=b)
        problem = call.problem(x.shape, w.shape)
        check_bias(call.op, b, problem.K)
        checks.require_memory(call.op, "the result", problem.output_shape, dtype.itemsize)
        plan = unbatching(_planar.forward(problem), single)
        y = call.run(plan, x, w, b)
        _FORWARD.remember(key, plan, input, weight, bias)
        return y
    result: np.ndarray = plan(input, weight, bias)
    return result


def input_gradient(call: Call, input_size: Any, weight: Any, grad_output: Any) -> np.ndarray:
    """Return the gradient of a convolution with respect to its input."""
    key = Plans.key((*call, input_size), weight, grad_output)
    plan = _INPUT.find(key)
    if plan is None:
        dy, single = call.image("grad_output", grad_output)
        size = checks.shape(call.op, "input_size", input_size, IMAGE[call.dims][single:])
        w = call.weight(weight)
        dtype = checks.same_dtype(call.op, weight=w, grad_output=dy)
        problem = call.problem((1,) * single + size, w.shape)
        call.check_output(dy, problem.output_shape)
        checks.require_memory(call.op, "the result", problem.input_shape, dtype.itemsize)
        plan = unbatching(_planar.backward_input(problem), single)
        dx = call.run(plan, w, dy)
        _INPUT.remember(key, plan, weight, grad_output)
        return dx
    result: np.ndarray = plan(weight, grad_output)
    return result


def weight_gradient(call: Call, input: Any, weight_size: Any, grad_output: Any) -> np.ndarray:
    """Return the gradient of a convolution with respect to its weight."""
    key = Plans.key((*call, weight_size), input, grad_output)
    plan = _WEIGHT.find(key)
    if plan is None:
        x, single = call.image("input", input)
        dy, _ = call.image("grad_output", grad_output, single)
        dtype = checks.same_dtype(call.op, input=x, grad_output=dy)
        problem = call.problem(x.shape, checks.shape(call.op, "weight_size", weight_size, WEIGHT[call.dims]))
        call.check_output(dy, problem.output_shape)
        checks.require_memory(call.op, "the result", problem.weight_shape, dtype.itemsize)
        plan = _planar.backward_weight(problem)
        dweight = call.run(plan, x, dy)
        _WEIGHT.remember(key, plan, input, grad_output)
        return dweight
    result: np.ndarray = plan(input, grad_output)
    return result


def gradients(call: Call, grad_output: Any, input: Any, weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of a convolution with respect to its input, its weight and its bias."""
    w, (x, single), (dy, _) = call.weight(weight), call.image("input", input), call.image("grad_output", grad_output)
    checks.same_dtype(call.op, weight=w, grad_output=dy)  # before anything is computed; the rest is checked below
    dweight = weight_gradient(call, input, w.shape, grad_output)
    dx = input_gradient(call, x.shape[1:] if single else x.shape, w, grad_output)
    return dx, dweight, bias_gradient_of(dy)


def bias_gradient_of(dy: np.ndarray) -> np.ndarray:
    """Return the sums (K,) of a checked batch (N, K, ...)."""
    return bias_gradient(dy.reshape(*dy.shape[:2], 1, math.prod(dy.shape[2:])))


def check_bias(op: str, bias: np.ndarray | None, filters: int) -> None:
    """Raise ValueError unless there is a bias per filter, or none at all."""
    if bias is not None:
        checks.same_shape(op, "bias", bias, (filters,), "one per filter of the weight")


def unbatching(run: Callable[..., np.ndarray], single: bool) -> Callable[..., np.ndarray]:
    """Return a function that returns a single image where `run` returns a batch of one."""
    return (lambda *arrays: run(*arrays)[0]) if single else run
