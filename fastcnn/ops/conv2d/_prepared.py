"""A convolution with fixed weights, packed or transformed once for all calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from ... import checks, machine
from ...engine.residual import adding, limit
from ...registry import PRECISIONS, Operation
from .problem import Conv2dProblem

Call = Callable[[np.ndarray, Any], np.ndarray]
_REMEMBERED = 256  # calls of one object; then it starts afresh


class PreparedConv2d:
    """`conv2d` with the weights that it was made from; see `prepare_conv2d`.

    Calling it chooses a variant for the shape of the input, as `conv2d` does, but counts no packing, which happens at the first call
    that needs it and is kept. Calls from several threads are safe: at worst two of them pack the same.

    Attributes
    ----------
    weight, bias : ndarray
        Read-only copies.
    """

    def __init__(
        self,
        operation: Operation,
        problem_of: Callable[[tuple[int, ...]], Conv2dProblem],
        weight: np.ndarray,
        bias: np.ndarray,
        algorithm: str,
        precision: str,
        relu: int,
    ) -> None:
        checks.choice("prepare_conv2d", "precision", precision, PRECISIONS)
        self._relu = relu  # 1: raises its results to 0; 2: and limits them to 6
        self._operation, self._problem_of = operation, problem_of
        self._algorithm, self._precision = algorithm, precision
        self.weight, self.bias = weight.copy(), bias.copy()
        self._flat_weight, self._own_bias = self.weight.reshape(-1), self.bias.view()
        self.weight.flags.writeable = self.bias.flags.writeable = False
        self._packed: dict[Hashable, np.ndarray] = {}
        self._calls: dict[Hashable, tuple[Call, tuple[int, ...]]] = {}  # by all that a call depends on: what computes y, and its shape

    def __call__(self, input: Any, *, layout: str = "NCHW", residual: Any = None) -> np.ndarray:
        """Return the convolution of `input` (N, C, H, W) or (C, H, W), limited if made so; in `layout`, as `conv2d`.

        Parameters
        ----------
        residual : array like the result, optional
            Is added before the limits, as most kernels store.

        Raises
        ------
        TypeError, ValueError
            The message names the argument, what was expected and what arrived.
        """
        if type(input) is np.ndarray and type(layout) is str and input.flags.carray:
            key = layout, residual is None, input.shape, input.dtype, machine.thread_limit()
            known = self._calls.get(key)
            if known is not None:
                call, shape = known
                if residual is None or (
                    type(residual) is np.ndarray and residual.shape == shape and residual.dtype == input.dtype and residual.flags.carray
                ):
                    return call(input, residual)
        op = "prepared conv2d"
        checks.layout(op, layout)
        array = checks.array(op, "input", input, (layout, layout[1:]))
        more = (
            None
            if residual is None
            else checks.contiguous(checks.array(op, "residual", residual, layout if array.ndim == 4 else layout[1:]))
        )
        checks.same_dtype(op, input=array, weight=self.weight, residual=more)
        x = checks.dense(checks.channels_first(array[None] if array.ndim == 3 else array, layout))
        problem = self._problem_of(x.shape)
        N, K, P, Q = problem.output_shape
        shape = ((N, P, Q, K) if layout == "NHWC" else (N, K, P, Q))[array.ndim == 3 :]
        if more is not None:
            checks.same_shape(op, "residual", more, shape, "the result's")
        last = checks.is_channels_last(x), layout == "NHWC" or K == 1 or P * Q == 1
        call = self._call(problem, shape, last, more is not None)
        result = call(checks.flat(x), more)
        if array is input and array.flags.carray:
            if len(self._calls) >= _REMEMBERED:
                self._calls.clear()
            self._calls[layout, residual is None, array.shape, array.dtype, machine.thread_limit()] = call, shape
        return result

    def variant(self, problem: Conv2dProblem) -> str:
        """Return the name of the variant that serves a problem."""
        if self._algorithm != "auto":
            self._operation.choose(problem, "forward", self._algorithm, "prepare_conv2d")
            return self._algorithm
        return self._operation.candidates(problem, "forward", self._precision, packed=True)[0][0]

    def _call(self, problem: Conv2dProblem, shape: tuple[int, ...], channels_last: tuple[bool, bool], residual: bool) -> Call:
        """Return what computes a result of `shape` from contiguous arrays; for the threads that the caller has now."""
        run, packed = self._run(problem, channels_last, residual)
        allocate, bias = checks.allocator("prepared conv2d", shape, self.weight.dtype), self._own_bias

        def plain(input: np.ndarray, more: None) -> np.ndarray:
            y = allocate()
            run(input.ravel(), packed, bias, y.ravel())
            return y

        def adding_to(input: np.ndarray, more: np.ndarray) -> np.ndarray:
            y = allocate()
            run(input.ravel(), packed, bias, y.ravel(), more.ravel())
            return y

        if 0 in shape:
            return lambda input, more: allocate()
        return adding_to if residual else plain

    def _run(self, problem: Conv2dProblem, channels_last: tuple[bool, bool], residual: bool) -> tuple[Callable[..., None], np.ndarray]:
        """Return a function of flat arrays (x, weight, bias, y), and the residual if there is one, and the weight that it takes."""
        variant, dtype, relu = self._operation.variants[self.variant(problem)], self.weight.dtype, self._relu
        weight = self._flat_weight
        if variant.packing is not None:
            key, pack = variant.packing(problem, dtype)
            known = self._packed.get((variant.name, key))
            weight = self._packed[variant.name, key] = pack(self._flat_weight) if known is None else known
        if variant.plan_packed is not None:
            return variant.plan_packed(problem, channels_last, dtype, relu, residual), weight
        images = (problem.input_shape, channels_last[0]), (problem.output_shape, channels_last[1])
        forward, limits, size = variant.directions["forward"], 0 if residual else relu, math.prod(problem.output_shape)

        def run(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
            in_shape, out = checks.image(x, *images[0]), checks.image(y, *images[1])
            if variant.forward_packed is not None:
                variant.forward_packed(problem, in_shape, weight, bias, out, limits)
                return
            forward(problem, in_shape, weight.reshape(problem.weight_shape), bias, out)
            limit(y, limits)

        return (adding(run, size, relu, dtype) if residual else run), weight

    def __repr__(self) -> str:
        return f"<prepared conv2d: weight {self.weight.shape} {self.weight.dtype}, packed: {sorted(map(str, self._packed))}>"
