"""A convolution with fixed weights, packed or transformed once for all calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from ... import checks, memory
from ...engine.correlate import limit
from ...registry import PRECISIONS, Operation, Variant
from .problem import Conv2dProblem

Shape = tuple[int, int, int, int]
Run = Callable[[np.ndarray, np.ndarray, "np.ndarray | None"], None]


class PreparedConv2d:
    """`conv2d` with the weights that it was made from; see `prepare_conv2d`.

    Calling it chooses a variant for the shape of the input, as `conv2d` does, but counts no packing, which happens at the first call
    that needs it and is kept. Calls from several threads are safe: at worst two of them pack the same. Made by `prepare_conv2d`, which
    checks its arguments and passes, besides, `problem_of`: from an input's shape to its problem.

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
        self._relu = relu
        self._operation, self._problem_of = operation, problem_of
        self._algorithm, self._precision = algorithm, precision
        self.weight, self.bias = weight.copy(), bias.copy()
        self._flat_weight, self._own_bias = self.weight.reshape(-1), self.bias.view()
        self.weight.flags.writeable = self.bias.flags.writeable = False
        self._packed: dict[Hashable, np.ndarray] = {}
        self._runs: dict[tuple[int, ...], tuple[Shape, Run]] = {}  # by the shape of x: the shape of y, and what computes it

    def __call__(self, input: Any, *, layout: str = "NCHW", residual: Any = None) -> np.ndarray:
        """Return the convolution of `input`, limited if made so; `layout` as in `conv2d`.

        Parameters
        ----------
        input : (N, C, H, W) or (C, H, W)
        residual : an array like the result, optional
            Is added before the limits, in the kernel where it can.

        Raises
        ------
        TypeError, ValueError
            The message names the argument, what was expected and what arrived.
        """
        op = "prepared conv2d"
        checks.layout(op, layout)
        array = checks.array(op, "input", input, (layout, layout[1:]))
        x = checks.channels_first(array[None] if array.ndim == 3 else array, layout)
        if array.dtype != self.weight.dtype:
            checks.same_dtype(op, input=x, weight=self.weight)
        known = self._runs.get(x.shape)
        if known is None:
            problem = self._problem_of(x.shape)
            known = self._runs[x.shape] = problem.output_shape, self._chosen(problem)
        shape, run = known
        y = checks.empty_image(op, shape, x.dtype, layout)
        if residual is not None:
            residual = self._residual(op, residual, y, layout, array.ndim == 3)
        if y.size:
            run(checks.dense(x), y, residual)
        result = y.transpose(0, 2, 3, 1) if layout == "NHWC" else y
        return result[0] if array.ndim == 3 else result

    def planned(self, shape: Shape, channels_last: bool, residual: bool = False) -> Callable[..., np.ndarray]:
        """Return a function of images of this shape and memory format, and of a residual if so, that checks nothing.

        It takes contiguous arrays, images (N, C, H, W) or, with `channels_last`, (N, H, W, C), and residuals (N, P, Q, K), and returns
        (N, P, Q, K). It is for the threads that the caller has now. A shape that the weights do not fit is a ValueError.
        """
        problem = self._problem_of(shape)
        N, K, P, Q = problem.output_shape
        dtype = self.weight.dtype
        allocate = checks.allocator("prepared conv2d", (N, P, Q, K), dtype)
        variant = self._operation.variants[self.variant(problem)]
        plan = None
        if variant.packed_plan is not None and N:
            plan = variant.packed_plan(problem, (channels_last, True), dtype, self._relu, residual)
        if plan is None:
            layout = "NHWC" if channels_last else "NCHW"
            return lambda x, other=None: self._by_call(x, layout, other)
        packed, bias, compute = self._packed_for(variant, problem), self._own_bias, plan
        if residual:

            def added(x: np.ndarray, other: np.ndarray) -> np.ndarray:
                y = allocate()
                compute(x.reshape(-1), packed, bias, y.reshape(-1), other.reshape(-1))
                return y

            return added

        def call(x: np.ndarray) -> np.ndarray:
            y = allocate()
            compute(x.reshape(-1), packed, bias, y.reshape(-1))
            return y

        return call

    def _by_call(self, x: np.ndarray, layout: str, residual: np.ndarray | None) -> np.ndarray:
        return self(checks.channels_first(x, layout).transpose(0, 2, 3, 1), layout="NHWC", residual=residual)

    def _packed_for(self, variant: Variant, problem: Conv2dProblem) -> np.ndarray:
        """Return the weights as a variant wants them, packed when they are first asked for."""
        assert variant.packing is not None
        key, pack = variant.packing(problem, self.weight.dtype)
        packed = self._packed.get((variant.name, key))
        if packed is None:
            packed = self._packed[variant.name, key] = memory.stored(pack(self._flat_weight))
        return packed

    def _residual(self, op: str, residual: Any, y: np.ndarray, layout: str, unbatched: bool) -> np.ndarray:
        """Return what is to be added as an array in the memory format of y."""
        array = checks.array(op, "residual", residual, layout[1:] if unbatched else layout)
        checks.same_dtype(op, residual=array, weight=self.weight)
        other = checks.channels_first(array[None] if unbatched else array, layout)
        checks.same_shape(op, "residual", other, y.shape, "the result's as (N, K, P, Q)")
        return checks.dense_as(other, layout)

    def variant(self, problem: Conv2dProblem) -> str:
        """Return the name of the variant that serves a problem."""
        if self._algorithm != "auto":
            self._operation.choose(problem, "forward", self._algorithm, "prepare_conv2d")
            return self._algorithm
        return self._operation.candidates(problem, "forward", self._precision, packed=True)[0][0]

    def _chosen(self, problem: Conv2dProblem) -> Run:
        variant = self._operation.variants[self.variant(problem)]
        forward = variant.directions["forward"]
        if variant.packing is None or variant.forward_packed is None:
            return lambda x, y, residual: self._plain(forward, problem, x, y, residual)
        packed, forward_packed = self._packed_for(variant, problem), variant.forward_packed
        if "residual" in inspect.signature(forward_packed).parameters:
            return lambda x, y, residual: forward_packed(problem, x, packed, self._own_bias, y, self._relu, residual)

        def run(x: np.ndarray, y: np.ndarray, residual: np.ndarray | None) -> None:
            forward_packed(problem, x, packed, self._own_bias, y, self._relu if residual is None else 0)
            if residual is not None:
                self._finish(y, residual)

        return run

    def _plain(
        self, forward: Callable[..., None], problem: Conv2dProblem, x: np.ndarray, y: np.ndarray, residual: np.ndarray | None
    ) -> None:
        forward(problem, x, self._flat_weight.reshape(problem.weight_shape), self._own_bias, y)
        self._finish(y, residual)

    def _finish(self, y: np.ndarray, residual: np.ndarray | None) -> None:
        """Add and limit in passes of their own."""
        if residual is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                np.add(y, residual, out=y)
        limit(y, self._relu)

    def __repr__(self) -> str:
        return f"<prepared conv2d: weight {self.weight.shape} {self.weight.dtype}, packed: {sorted(map(str, self._packed))}>"
