"""Two-dimensional convolution: check the arguments, choose a variant, call it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ... import checks, window
from ...plans import Plans, forward_plan, on_memory
from ...registry import PRECISIONS, Operation
from . import problem as _problem
from ._bias_gradient import sum_over_pixels
from ._prepared import PreparedConv2d
from .problem import Conv2dProblem, checked_problem

__all__ = [
    "OPERATION", "Conv2dProblem", "PreparedConv2d", "conv2d", "conv2d_backward", "conv2d_input", "conv2d_weight", "prepare_conv2d",
]  # fmt: skip

# The candidates of automatic choice, which compares their costs; `bench.peers` shows the choice beside the measured times.
OPERATION = Operation(__name__, ("winograd", "depthwise", "grouped", "direct", "bfloat16", "amx", "im2col", "reference"), _problem)

_FORWARD, _INPUT, _WEIGHT = Plans(), Plans(), Plans()


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    precision: str = "high",
    layout: str = "NCHW",
) -> np.ndarray:
    """Convolve images with filters (cross-correlation, as in `torch.nn.functional.conv2d`).

    y[n,k,p,q] = bias[k] + sum over c,r,s of x[n, c, p*stride + r*dilation - padding, ...] * weight[k,c,r,s]

    Parameters
    ----------
    input : (N, C, H, W) float32 or float64
        Or (C, H, W); with ``layout="NHWC"`` (N, H, W, C) or (H, W, C). Any strides; never written to.
    weight : (K, C / groups, R, S), the input's dtype
    bias : (K,), the input's dtype, optional
    stride, dilation : int or (vertical, horizontal)
    padding : int, pair, ((top, bottom), (left, right)), "valid" or "same"
        "same" gives ceil(H / stride) outputs, for any stride (torch takes it for stride 1 only); an odd total puts the extra zeros
        at the end.
    groups : int
        Divides C and K; each group of K / groups filters sees its own C / groups channels.
    algorithm : str
        "auto", or a variant of this operation; ValueError with its reason where that variant cannot.
    precision : "highest", "high" or "medium"
        What "auto" may use. "highest": sums of products in the arrays' dtype (relative error, Frobenius, up to 1e-6 in float32).
        "high": also Winograd's algorithm (up to 5e-6). "medium": also products of bfloat16 factors with float32 sums (up to 3e-3),
        where the CPU has them.
    layout : "NCHW" or "NHWC"
        Of input and output; channels-last is faster, as kernels compute in it.

    Returns
    -------
    (N, K, P, Q) ndarray of the input's dtype
        P = floor((H + top + bottom - dilation (R - 1) - 1) / stride) + 1; in `layout`, unbatched where the input was.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import conv2d
    >>> image = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> conv2d(image, np.ones((1, 1, 3, 3), np.float32))
    array([[[[45., 54.],
             [81., 90.]]]], dtype=float32)
    """
    arguments = stride, padding, dilation, groups, algorithm, precision, layout
    key = Plans.key(arguments, input, weight, bias)
    plan = _FORWARD.find(key)
    if plan is not None:
        result: np.ndarray = plan(input, weight, bias)
        return result
    call = _Call("conv2d", *arguments[:-1], checks.layout("conv2d", layout))
    x, unbatched = call.image("input", input)
    w = checks.convolved(call.op, "weight", weight, "KCRS")
    b = None if bias is None else checks.convolved(call.op, "bias", bias, "K")
    dtype = checks.same_dtype(call.op, input=x, weight=w, bias=b)
    problem = call.problem(x.shape, w.shape)
    if b is None:
        b = np.zeros(problem.K, dtype)
    checks.same_shape(call.op, "bias", b, (problem.K,), "one per filter of the weight")
    run = call.choose(problem, "forward")
    y = checks.empty_image(call.op, problem.output_shape, dtype, layout)
    x, w, b = checks.dense(x), checks.contiguous(w), checks.contiguous(b)
    if y.size:
        run(problem, x, w, b, y)
        if key is not None:
            compute = on_memory(run, problem, (x, w, b, y), images=(x, y))
            allocate = checks.allocator(call.op, call.result(y, unbatched).shape, dtype)
            _FORWARD.remember(key, forward_plan(compute, allocate, problem.K), input, weight, bias)
    return call.result(y, unbatched)


def conv2d_input(
    input_size: Any,
    weight: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    precision: str = "high",
    layout: str = "NCHW",
) -> np.ndarray:
    """Return the gradient of `conv2d` with respect to its input (`torch.nn.grad.conv2d_input`).

    Parameters
    ----------
    input_size : shape of the forward's input, in `layout`
    weight, stride, padding, dilation, groups, algorithm, precision, layout
        As given to `conv2d`.
    grad_output : (N, K, P, Q), or unbatched, in `layout`
        Gradient of the loss with respect to the forward's output.

    Returns
    -------
    ndarray of shape `input_size`

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    arguments = stride, padding, dilation, groups, algorithm, precision, layout, input_size
    key = Plans.key(arguments, weight, grad_output)
    plan = _INPUT.find(key)
    if plan is not None:
        result: np.ndarray = plan(weight, grad_output)
        return result
    call = _Call("conv2d_input", *arguments[:6], checks.layout("conv2d_input", layout))
    return _input_gradient(call, input_size, weight, grad_output, key)


def conv2d_weight(
    input: Any,
    weight_size: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    precision: str = "high",
    layout: str = "NCHW",
) -> np.ndarray:
    """Return the gradient of `conv2d` with respect to its weight (`torch.nn.grad.conv2d_weight`).

    Parameters
    ----------
    input, stride, padding, dilation, groups, algorithm, precision, layout
        As given to `conv2d`.
    weight_size : (K, C / groups, R, S)
    grad_output : (N, K, P, Q), or unbatched, in `layout`

    Returns
    -------
    (K, C / groups, R, S) ndarray of the input's dtype

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    arguments = stride, padding, dilation, groups, algorithm, precision, layout, weight_size
    key = Plans.key(arguments, input, grad_output)
    plan = _WEIGHT.find(key)
    if plan is not None:
        result: np.ndarray = plan(input, grad_output)
        return result
    call = _Call("conv2d_weight", *arguments[:6], checks.layout("conv2d_weight", layout))
    return _weight_gradient(call, input, weight_size, grad_output, key)


def conv2d_backward(
    grad_output: Any,
    input: Any,
    weight: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    precision: str = "high",
    layout: str = "NCHW",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of `conv2d` with respect to input, weight and bias.

    Parameters
    ----------
    grad_output : (N, K, P, Q), or unbatched, in `layout`
    input, weight, stride, padding, dilation, groups, algorithm, precision, layout
        As given to `conv2d`.

    Returns
    -------
    grad_input : the input's shape
    grad_weight : the weight's shape
    grad_bias : (K,)

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    call = _Call("conv2d_backward", stride, padding, dilation, groups, algorithm, precision, checks.layout("conv2d_backward", layout))
    w, dy = checks.convolved(call.op, "weight", weight, "KCRS"), call.image("grad_output", grad_output)[0]
    checks.same_dtype(call.op, weight=w, grad_output=dy)  # before anything is computed; the rest is checked below
    x = checks.array(call.op, "input", input, (call.layout, call.layout[1:]))
    dweight = _weight_gradient(call, x, w.shape, grad_output)
    dx = _input_gradient(call, x.shape, w, grad_output)
    return dx, dweight, _bias_gradient(call, grad_output)


def prepare_conv2d(
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    relu: bool = False,
    relu6: bool = False,
    algorithm: str = "auto",
    precision: str = "high",
) -> PreparedConv2d:
    """Return an object that convolves with this weight, which it packs or transforms once instead of at every call.

    Worth it where a weight serves many calls: Winograd's transformed filters cost as much as a small image. The weight is copied: what is
    written to the original later has no effect.

    Parameters
    ----------
    weight, bias, stride, padding, dilation, groups, algorithm, precision
        As given to `conv2d`.
    relu : bool
        Also raise the result to 0, as `conv2d_relu`: the kernels do it as they store.
    relu6 : bool
        Also raise the result to 0 and limit it to 6.

    Returns
    -------
    PreparedConv2d
        To be called with ``(input, layout="NCHW", residual=None)``; a residual, like the result, is added before the limits.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import prepare_conv2d
    >>> blur = prepare_conv2d(np.full((1, 1, 3, 3), 1 / 9, np.float32), padding=1)
    >>> blur(np.ones((1, 3, 3), np.float32))[0, 1].round(2)
    array([0.67, 1.  , 0.67], dtype=float32)
    """
    call = _Call("prepare_conv2d", stride, padding, dilation, groups, algorithm, precision)
    w = checks.contiguous(checks.convolved(call.op, "weight", weight, "KCRS"))
    b = np.zeros(len(w), w.dtype) if bias is None else checks.contiguous(checks.convolved(call.op, "bias", bias, "K"))
    checks.same_dtype(call.op, weight=w, bias=b)
    checks.same_shape(call.op, "bias", b, w.shape[:1], "one per filter of the weight")
    if not isinstance(algorithm, str) or algorithm not in ("auto", *OPERATION.variants):
        OPERATION.choose(None, "forward", algorithm, call.op)  # says what is wrong
    limits = 2 if checks.flag(call.op, "relu6", relu6) else int(checks.flag(call.op, "relu", relu))
    channels = w.shape[1] * window.integer(call.op, "groups", groups, 1)
    checked_problem(call.op, (1, channels, 2**20, 2**20), w.shape, stride, padding, dilation, groups)  # wrong windows show now
    return PreparedConv2d(OPERATION, lambda shape: call.problem(shape, w.shape), w, b, algorithm, precision, limits)


def bias_gradient(grad_output: Any, layout: str = "NCHW") -> np.ndarray:
    """Return the gradient of a per-channel bias: grad_output summed over images and pixels.

    Parameters
    ----------
    grad_output : (N, K, P, Q), or unbatched, in `layout`

    Returns
    -------
    (K,) ndarray of the same dtype
    """
    return _bias_gradient(_Call("bias_gradient", layout=checks.layout("bias_gradient", layout)), grad_output)


def _is_plain(value: Any) -> bool:
    """Whether a window's argument is an int, a word or a tuple of such and no more, so that equal ones mean the same (True == 1)."""
    return type(value) is int or type(value) is str or (type(value) is tuple and all(map(_is_plain, value)))


@functools.lru_cache(maxsize=1024)
def _known_problem(op: str, x: tuple[int, ...], weight: tuple[int, ...], window: tuple[Any, ...]) -> Conv2dProblem:
    return checked_problem(op, x, weight, *window)


class _Call(NamedTuple):
    """How a public function was called: its name, for errors, and the arguments that all of them share."""

    op: str
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: Any = 1
    algorithm: Any = "auto"
    precision: Any = "high"
    layout: str = "NCHW"

    def image(self, name: str, value: Any, unbatched: bool | None = None) -> tuple[np.ndarray, bool]:
        """Return (a batch of images as an (N, C, H, W) view, whether it was a single image)."""
        batched = {False: self.layout, True: self.layout[1:]}
        array = checks.convolved(self.op, name, value, tuple(batched.values()) if unbatched is None else batched[unbatched])
        single = array.ndim == 3
        return checks.channels_first(array[None] if single else array, self.layout), single

    def problem(self, x: tuple[int, ...], weight: tuple[int, ...]) -> Conv2dProblem:
        """Return the checked problem of an input (N, C, H, W) and a weight of these shapes."""
        window = self.stride, self.padding, self.dilation, self.groups
        if all(map(_is_plain, window)):
            problem = _known_problem(self.op, x, weight, window)
        else:
            problem = checked_problem(self.op, x, weight, *window)
        if isinstance(self.algorithm, str) and self.algorithm == "reference":  # the only one that pads a whole batch
            N, C, H, W = problem.input_shape
            padded = (N, C, H + problem.top + problem.bottom, W + problem.left + problem.right)
            checks.require_memory(self.op, "the padded input", padded, 8)
        return problem

    def choose(self, problem: Conv2dProblem, direction: str) -> Callable[..., None]:
        """Return the variant's function that serves this call."""
        precision = checks.choice(self.op, "precision", self.precision, PRECISIONS)
        return OPERATION.choose(problem, direction, self.algorithm, self.op, precision)

    def result(self, image: np.ndarray, unbatched: bool) -> np.ndarray:
        """Return an (N, C, H, W) view as the caller's layout has it, C-contiguous."""
        result = image.transpose(0, 2, 3, 1) if self.layout == "NHWC" else image
        return result[0] if unbatched else result


def _input_gradient(call: _Call, input_size: Any, weight: Any, grad_output: Any, key: Any = None) -> np.ndarray:
    dy, unbatched = call.image("grad_output", grad_output)
    letters = call.layout[1:] if unbatched else call.layout
    sizes = dict(zip(letters, checks.shape(call.op, "input_size", input_size, letters), strict=True))
    w = checks.convolved(call.op, "weight", weight, "KCRS")
    dtype = checks.same_dtype(call.op, weight=w, grad_output=dy)
    problem = call.problem(tuple(sizes.get(letter, 1) for letter in "NCHW"), w.shape)
    checks.same_shape(call.op, "grad_output", dy, problem.output_shape, "the forward's output as (N, K, P, Q)")
    run = call.choose(problem, "backward_input")
    dx = checks.empty_image(call.op, problem.input_shape, dtype, call.layout)
    dy, w = checks.dense(dy), checks.contiguous(w)
    if dx.size:
        run(problem, dy, w, dx)
        if key is not None:
            compute = on_memory(run, problem, (dy, w, dx), images=(dy, dx))
            allocate = checks.allocator(call.op, call.result(dx, unbatched).shape, dtype)
            _INPUT.remember(key, _input_plan(compute, allocate), weight, grad_output)
    return call.result(dx, unbatched)


def _input_plan(compute: Callable[..., None], allocate: Callable[[], np.ndarray]) -> Callable[..., np.ndarray]:
    def call(weight: np.ndarray, grad_output: np.ndarray) -> np.ndarray:
        dx = allocate()
        compute(grad_output.ravel(), weight.ravel(), dx.ravel())
        return dx

    return call


def _weight_gradient(call: _Call, input: Any, weight_size: Any, grad_output: Any, key: Any = None) -> np.ndarray:
    x, unbatched = call.image("input", input)
    dy, _ = call.image("grad_output", grad_output, unbatched)
    dtype = checks.same_dtype(call.op, input=x, grad_output=dy)
    problem = call.problem(x.shape, checks.shape(call.op, "weight_size", weight_size, "KCRS"))
    checks.same_shape(call.op, "grad_output", dy, problem.output_shape, "the forward's output as (N, K, P, Q)")
    run = call.choose(problem, "backward_weight")
    allocate = checks.allocator(call.op, problem.weight_shape, dtype)
    dweight, x, dy = allocate(), checks.dense(x), checks.dense(dy)
    run(problem, x, dy, dweight)
    if key is not None and x.size and dy.size:
        compute = on_memory(run, problem, (x, dy, dweight), images=(x, dy))
        _WEIGHT.remember(key, _weight_plan(compute, allocate), input, grad_output)
    return dweight


def _weight_plan(compute: Callable[..., None], allocate: Callable[[], np.ndarray]) -> Callable[..., np.ndarray]:
    def call(input: np.ndarray, grad_output: np.ndarray) -> np.ndarray:
        dweight = allocate()
        compute(input.ravel(), grad_output.ravel(), dweight.ravel())
        return dweight

    return call


def _bias_gradient(call: _Call, grad_output: Any) -> np.ndarray:
    dy, _ = call.image("grad_output", grad_output)
    if dy.shape[1] == 0:
        raise ValueError(f"{call.op}: grad_output must have at least one channel; got (N, K, P, Q) = {dy.shape}")
    return sum_over_pixels(checks.dense(dy))
