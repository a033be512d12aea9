"""Convolution, ReLU and max-pooling in one pass: what lies between them never leaves the cache."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ... import checks
from ...plans import Plans, on_memory
from ...registry import PRECISIONS, Operation
from ..conv2d import checked_problem
from . import problem as _problem
from ._pooled import windows_refuse
from .problem import Conv2dReluMaxPool2dProblem, checked_pool

__all__ = ["OPERATION", "Conv2dReluMaxPool2dProblem", "conv2d_relu_max_pool2d", "conv2d_relu_max_pool2d_backward"]

OPERATION = Operation(__name__, ("direct", "sparse", "unfused_high", "unfused", "unfused_medium", "amx", "reference"), _problem)
_FORWARD, _BACKWARD = Plans(), Plans()


def conv2d_relu_max_pool2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    pool_kernel: Any = 2,
    pool_stride: Any = None,
    pool_padding: Any = 0,
    pool_ceil_mode: bool = False,
    return_winners: bool = False,
    *,
    algorithm: str = "auto",
    precision: str = "high",
    layout: str = "NCHW",
) -> Any:
    """Return ``max_pool2d(relu(conv2d(...)))``; in one pass where windows follow one another and have no padding.

    Parameters
    ----------
    input, weight, bias, stride, padding, dilation, groups, precision, layout
        As in `conv2d`.
    pool_kernel, pool_stride, pool_padding, pool_ceil_mode
        As in `max_pool2d`; a window has at most 256 pixels.
    return_winners : bool
        Also return where in its window each maximum was found, which `conv2d_relu_max_pool2d_backward` needs.
    algorithm : str
        "auto", or a variant of this operation; ValueError with its reason where that variant cannot.

    Returns
    -------
    y : (N, K, P, Q) ndarray of the input's dtype
        NaN wins over every number.
    winners : uint8 ndarray like y, if `return_winners`
        r * pool_width + s of the maximum in its window; the first of equals in row-major order.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import conv2d_relu_max_pool2d
    >>> image = np.array([[[[1.0, 2.0], [-3.0, 4.0]]]])
    >>> conv2d_relu_max_pool2d(image, np.ones((1, 1, 1, 1)), return_winners=True)
    (array([[[[4.]]]]), array([[[[3]]]], dtype=uint8))
    """
    window, pool = (stride, padding, dilation, groups), (pool_kernel, pool_stride, pool_padding, pool_ceil_mode)
    flags = type(pool_ceil_mode) is bool and type(return_winners) is bool
    arguments = window, *pool[:3], int(pool_ceil_mode is True), algorithm, precision, layout
    key = Plans.key(arguments, input, weight, bias) if flags else None
    plan = _FORWARD.find(key)
    if plan is not None:
        return plan(input, weight, bias) if return_winners else plan(input, weight, bias)[0]
    call = _call("conv2d_relu_max_pool2d", window, pool, algorithm, precision, layout)
    x, unbatched = call.image("input", input)
    w = checks.array(call.op, "weight", weight, "KCRS")
    b = None if bias is None else checks.array(call.op, "bias", bias, "K")
    dtype = checks.same_dtype(call.op, input=x, weight=w, bias=b)
    problem = call.problem(x.shape, w.shape)
    if b is None:
        b = np.zeros(problem.conv.K, dtype)
    checks.same_shape(call.op, "bias", b, (problem.conv.K,), "one per filter of the weight")
    wanted = checks.flag(call.op, "return_winners", return_winners)
    run = call.choose(problem, "forward")
    y = checks.empty_image(call.op, problem.output_shape, dtype, layout)
    winners = checks.empty_image(call.op, problem.output_shape, np.uint8, layout)
    if y.size:
        arrays = checks.dense(x), checks.contiguous(w), checks.contiguous(b), y, winners
        run(problem, *arrays)
        if key is not None and not unbatched:
            compute = on_memory(run, problem, arrays, images=(arrays[0], y))
            _FORWARD.remember(key, _forward_plan(call, problem, compute, dtype), input, weight, bias)
    return (call.result(y, unbatched), call.result(winners, unbatched)) if wanted else call.result(y, unbatched)


def _forward_plan(call: _Call, problem: Conv2dReluMaxPool2dProblem, compute: Callable[..., None], dtype: np.dtype) -> Callable[..., Any]:
    """Return a plan of a batch, its weight and bias or None."""
    N, K, P, Q = problem.output_shape
    shape, zeros = (N, P, Q, K) if call.layout == "NHWC" else (N, K, P, Q), np.zeros(K, dtype)
    allocate, allocate_winners = checks.allocator(call.op, shape, dtype), checks.allocator(call.op, shape, np.uint8)

    def planned(input: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        y, winners = allocate(), allocate_winners()
        compute(input.ravel(), weight.ravel(), zeros if bias is None else bias, y.ravel(), winners.ravel())
        return y, winners

    return planned


def conv2d_relu_max_pool2d_backward(
    grad_output: Any,
    winners: Any,
    output: Any,
    input: Any,
    weight: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    pool_kernel: Any = 2,
    pool_stride: Any = None,
    pool_padding: Any = 0,
    pool_ceil_mode: bool = False,
    *,
    input_gradient: bool = True,
    weight_gradient: bool = True,
    algorithm: str = "auto",
    precision: str = "high",
    layout: str = "NCHW",
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Return the gradients of `conv2d_relu_max_pool2d` with respect to input, weight and bias.

    Parameters
    ----------
    grad_output : (N, K, P, Q), or unbatched, in `layout`
    winners : uint8 ndarray of the same shape
    output : ndarray of the same shape
        The two results of ``conv2d_relu_max_pool2d(..., return_winners=True)``; the gradient passes where `output` is positive (or NaN).
    input, weight, stride, padding, dilation, groups, pool_kernel, pool_stride, pool_padding, pool_ceil_mode, precision, layout
        As given to `conv2d_relu_max_pool2d`.
    input_gradient : bool
        False leaves out the input's gradient, which the first layer of a network does not need, and returns None for it.
    weight_gradient : bool
        False leaves out the gradients of weight and bias, which a frozen layer does not need, and returns None for both.
    algorithm : str
        "auto", or a variant of this operation.

    Returns
    -------
    grad_input : the input's shape, or None
    grad_weight : the weight's shape, or None
    grad_bias : (K,), or None

    Raises
    ------
    TypeError, ValueError
        Also for a winner that is no pixel of its window, or lies outside of the image.
    """
    name, window = "conv2d_relu_max_pool2d_backward", (stride, padding, dilation, groups)
    pool = pool_kernel, pool_stride, pool_padding, pool_ceil_mode
    flags = type(pool_ceil_mode) is type(input_gradient) is type(weight_gradient) is bool
    wanted = int(input_gradient is True) + 2 * int(weight_gradient is True)
    arguments = window, *pool[:3], int(pool_ceil_mode is True), algorithm, precision, layout, wanted
    key = Plans.key(arguments, grad_output, winners, output, input, weight) if flags else None
    plan = _BACKWARD.find(key)
    if plan is not None:
        result: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None] = plan(grad_output, winners, output, input, weight)
        return result
    call = _call(name, window, pool, algorithm, precision, layout)
    dy, unbatched = call.image("grad_output", grad_output)
    places = call.image("winners", winners, unbatched, (np.dtype(np.uint8),))[0]
    y, x = call.image("output", output, unbatched)[0], call.image("input", input, unbatched)[0]
    w = checks.array(call.op, "weight", weight, "KCRS")
    dtype = checks.same_dtype(call.op, grad_output=dy, output=y, input=x, weight=w)
    problem = call.problem(x.shape, w.shape)
    for argument, array in (("grad_output", dy), ("winners", places), ("output", y)):
        checks.same_shape(call.op, argument, array, problem.output_shape, "the forward's output as (N, K, P, Q)")
    for argument, flag in (("input_gradient", input_gradient), ("weight_gradient", weight_gradient)):
        checks.flag(call.op, argument, flag)
    check = _winner_check(call.op, problem)
    check(places)
    dy, places, y, x = (checks.dense(image) for image in (dy, places, y, x))
    dx = dweight = dbias = None
    plans: list[Callable[..., None] | None] = [None, None]
    plannable = key is not None and not unbatched and dy.size and x.size
    if weight_gradient:
        dweight, dbias = checks.empty(call.op, problem.weight_shape, dtype), np.empty(problem.conv.K, dtype)
        run, arrays = call.choose(problem, "backward_weight"), (x, dy, y, places, dweight, dbias)
        if dy.size and x.size:
            run(problem, *arrays)
        else:
            dweight[...], dbias[...] = 0, 0  # sums over no image
        plans[0] = on_memory(run, problem, arrays, images=(x, dy)) if plannable else None
    if input_gradient:
        dx = checks.empty_image(call.op, problem.input_shape, dtype, layout)
        run, inputs = call.choose(problem, "backward_input"), (dy, y, places, checks.contiguous(w), dx)
        if dx.size:
            run(problem, *inputs)
        plans[1] = on_memory(run, problem, inputs, images=(dy, dx)) if plannable else None
    if plannable:
        _BACKWARD.remember(key, _backward_plan(call, problem, check, plans, dtype), grad_output, winners, output, input, weight)
    return None if dx is None else call.result(dx, unbatched), dweight, dbias


def _backward_plan(
    call: _Call, problem: Conv2dReluMaxPool2dProblem, check: Callable[..., None], plans: list[Callable[..., None] | None], dtype: np.dtype
) -> Callable[..., Any]:
    """Return a plan of batches in the call's layout (dy, winners, y, x) and the weight; `plans` compute dweight and dx, or are None."""
    K, channels_last = problem.conv.K, call.layout == "NHWC"
    N, C, H, W = problem.input_shape
    allocate = checks.allocator(call.op, problem.weight_shape, dtype)
    allocate_input = checks.allocator(call.op, (N, H, W, C) if channels_last else (N, C, H, W), dtype)
    layout, (weight_gradient, input_gradient) = call.layout, plans

    def planned(dy: np.ndarray, winners: np.ndarray, y: np.ndarray, x: np.ndarray, weight: np.ndarray) -> Any:
        check(checks.channels_first(winners, layout))
        dx = dweight = dbias = None
        errors, values, places = dy.ravel(), y.ravel(), winners.ravel()
        if weight_gradient is not None:
            dweight, dbias = allocate(), np.empty(K, dtype)
            weight_gradient(x.ravel(), errors, values, places, dweight.ravel(), dbias)
        if input_gradient is not None:
            dx = allocate_input()
            input_gradient(errors, values, places, weight.ravel(), dx.ravel())
        return dx, dweight, dbias

    return planned


def pays(input_shape: tuple[int, ...], weight_shape: tuple[int, ...], window: dict[str, Any], pool: tuple[Any, ...]) -> bool:
    """Whether channels-last images are faster here than operation by operation; `pool` is (kernel, stride, padding, ceil_mode).

    False also for arguments that do not fit together: whoever computes the parts one by one will hear what is wrong.
    """
    arguments = window["stride"], window["padding"], window["dilation"], window["groups"]
    try:
        return _pays(input_shape, weight_shape, arguments, pool)
    except TypeError:  # a list, say, which has no hash
        return _pays.__wrapped__(input_shape, weight_shape, arguments, pool)


@functools.lru_cache(maxsize=1024, typed=True)
def _pays(input_shape: tuple[int, ...], weight_shape: tuple[int, ...], arguments: tuple[Any, ...], pool: tuple[Any, ...]) -> bool:
    N, H, W, C = input_shape
    call = _Call("conv2d_relu_max_pool2d", arguments, pool, "auto", "high", "NHWC")
    try:
        return windows_refuse(call.problem((N, C, H, W), weight_shape).pool) is None
    except (TypeError, ValueError):
        return False


def in_one_pass(
    input_shape: tuple[int, ...], weight_shape: tuple[int, ...], window: dict[str, Any], pool: tuple[Any, ...], precision: str
) -> bool:
    """Whether automatic choice computes channels-last images in one pass: `pays`, and no faster convolution stands against it."""
    if not pays(input_shape, weight_shape, window, pool):
        return False
    N, H, W, C = input_shape
    arguments = window["stride"], window["padding"], window["dilation"], window["groups"]
    problem = _Call("conv2d_relu_max_pool2d", arguments, pool, "auto", precision, "NHWC").problem((N, C, H, W), weight_shape)
    return OPERATION.candidates(problem, "forward", precision)[0][0] in ("direct", "amx")


def _winner_check(op: str, problem: Conv2dReluMaxPool2dProblem) -> Callable[[np.ndarray], None]:
    """Return a function that raises ValueError for winners (N, K, P, Q) that are no pixels of their windows, or not of the image."""
    pool = problem.pool
    last = pool.R * pool.S - 1
    rows = np.arange(pool.P) * pool.stride_h - pool.pad_h
    columns = np.arange(pool.Q) * pool.stride_w - pool.pad_w
    inside = rows[0] >= 0 and columns[0] >= 0 and rows[-1] + pool.R <= pool.H and columns[-1] + pool.S <= pool.W

    def check(winners: np.ndarray) -> None:
        if not winners.size:
            return
        largest = np.maximum.reduce(winners.ravel("K"))  # in the order of the memory, which winners.max() is not
        if largest > last:
            raise ValueError(f"{op}: winners must be between 0 and {last}, the last pixel of a window; got {largest}")
        if inside:
            return
        h, w = rows[:, None] + winners // pool.S, columns + winners % pool.S
        if h.min() < 0 or w.min() < 0 or h.max() >= pool.H or w.max() >= pool.W:
            raise ValueError(f"{op}: winners must lie in the image of {pool.H} x {pool.W} pixels before pooling; one lies in the padding")

    return check


def _call(op: str, window: tuple[Any, ...], pool: tuple[Any, ...], algorithm: Any, precision: Any, layout: Any) -> _Call:
    return _Call(op, window, (*pool[:3], checks.flag(op, "pool_ceil_mode", pool[3])), algorithm, precision, checks.layout(op, layout))


class _Call(NamedTuple):
    """How a public function was called: its name, for errors, and the arguments that both of them share."""

    op: str
    window: tuple[Any, ...]  # stride, padding, dilation, groups
    pool: tuple[Any, ...]  # kernel, stride, padding, ceil_mode
    algorithm: Any
    precision: Any
    layout: str

    def image(
        self, name: str, value: Any, unbatched: bool | None = None, dtypes: tuple[np.dtype, ...] = checks.FLOATS
    ) -> tuple[np.ndarray, bool]:
        """Return (a batch of images as an (N, C, H, W) view, whether it was a single image)."""
        batched = {False: self.layout, True: self.layout[1:]}
        array = checks.array(self.op, name, value, tuple(batched.values()) if unbatched is None else batched[unbatched], dtypes)
        single = array.ndim == 3
        return checks.channels_first(array[None] if single else array, self.layout), single

    def problem(self, x: tuple[int, ...], weight: tuple[int, ...]) -> Conv2dReluMaxPool2dProblem:
        """Return the checked problem of an input (N, C, H, W) and a weight of these shapes."""
        conv = checked_problem(self.op, x, weight, *self.window)
        if isinstance(self.algorithm, str) and self.algorithm == "reference":  # the only one that pads a whole batch
            N, C, H, W = conv.input_shape
            checks.require_memory(self.op, "the padded input", (N, C, H + conv.top + conv.bottom, W + conv.left + conv.right), 8)
        return Conv2dReluMaxPool2dProblem(conv, checked_pool(self.op, conv, *self.pool))

    def choose(self, problem: Conv2dReluMaxPool2dProblem, direction: str) -> Callable[..., None]:
        """Return the variant's function that serves this call."""
        precision = checks.choice(self.op, "precision", self.precision, PRECISIONS)
        return OPERATION.choose(problem, direction, self.algorithm, self.op, precision)

    def result(self, image: np.ndarray, unbatched: bool) -> np.ndarray:
        """Return an (N, C, H, W) view as the caller's layout has it, C-contiguous."""
        result = image.transpose(0, 2, 3, 1) if self.layout == "NHWC" else image
        return result[0] if unbatched else result
