"""These operations in PyTorch: custom operators with autograd on CPU tensors, which share their memory with NumPy.

The functions have the names, arguments and semantics of `torch.nn.functional`. `conv2d`, `conv_transpose2d`, `linear` and `max_pool2d`
can be differentiated any number of times, `batch_norm` once. Each stands on operators of the namespace ``fastcnn``
(``torch.ops.fastcnn.conv2d``), which know the shapes of their results without computing them.

Examples
--------
>>> import torch
>>> from fastcnn.adapters import torch as F
>>> weight = torch.ones(2, 1, 3, 3, requires_grad=True)
>>> F.conv2d(torch.ones(1, 1, 4, 4), weight).sum().backward()
>>> weight.grad[0, 0, 0]
tensor([4., 4., 4.])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks, extras, window
from ..ops import batch_norm as _batch_norm
from ..ops import conv2d as _conv2d
from ..ops import linear as _linear
from ..ops import max_pool2d as _max_pool2d

torch = extras.require("torch", "PyTorch", "partners", __name__)

Tensor = Any
_WINDOW = "int[] stride, int[] padding, int[] dilation, int groups"
_POOL = "int[] kernel_size, int[] stride, int[] padding, int[] dilation, bool ceil_mode"


def conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Tensor:
    """Convolve; see `fastcnn.conv2d`. Tensors of shapes (N, C, H, W) or (C, H, W), (K, C/groups, R, S) and (K,)."""
    if input.ndim not in (3, 4) or weight.ndim != 4:
        shapes = f"got {tuple(input.shape)} and {tuple(weight.shape)}"
        raise ValueError(f"conv2d: input must be (N, C, H, W) or (C, H, W), and weight (K, C, R, S); {shapes}")
    v, h = window.axes("conv2d", tuple(input.shape[-2:]), tuple(weight.shape[2:]), stride, padding, dilation)
    sides = [v.before, v.after, h.before, h.after]
    result = torch.ops.fastcnn.conv2d(input, weight, bias, [v.stride, h.stride], sides, [v.dilation, h.dilation], groups)
    return result


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Convolve, transposed; see `fastcnn.functional.conv_transpose2d`.

    Tensors of shapes (N, C, H, W) or (C, H, W), (C, K/groups, R, S) and (K,). It is the gradient of `conv2d`: ``conv2d_input``.
    """
    op = "conv_transpose2d"
    if input.ndim not in (3, 4) or weight.ndim != 4:
        shapes = f"got {tuple(input.shape)} and {tuple(weight.shape)}"
        raise ValueError(f"{op}: input must be (N, C, H, W) or (C, H, W), and weight (C, K, R, S); {shapes}")
    strides, steps = window.pair(op, "stride", stride, 1), window.pair(op, "dilation", dilation, 1)
    pads, more = window.pair(op, "padding", padding, 0), window.pair(op, "output_padding", output_padding, 0)
    if any(extra >= max(move, step) for extra, move, step in zip(more, strides, steps, strict=True)):
        raise ValueError(f"{op}: output padding must be smaller than either stride or dilation; got {more} for {strides} and {steps}")
    full = [
        (size - 1) * move + step * (kernel - 1) + 1
        for size, kernel, move, step in zip(input.shape[-2:], weight.shape[2:], strides, steps, strict=True)
    ]
    filters = weight.shape[1] * groups
    checks.same_dtype(op, input=input, weight=weight, bias=bias)
    if bias is not None and bias.shape != (filters,):
        raise ValueError(f"{op}: bias must have shape {(filters,)} (one per output channel); got {tuple(bias.shape)}")
    if any(size + extra - 2 * pad < 1 for size, extra, pad in zip(full, more, pads, strict=True)):
        raise ValueError(f"{op}: padding must leave some of the output, {full[0]} x {full[1]}; got {pads}")
    whole = [*input.shape[:-3], filters, *full]
    y = torch.ops.fastcnn.conv2d_input(input, weight, whole, strides, [0, 0, 0, 0], steps, groups)
    (top, left), (bottom, right) = pads, (extra - pad for extra, pad in zip(more, pads, strict=True))
    if any((top, left, bottom, right)):
        y = torch.nn.functional.pad(y, (-left, right, -top, bottom))  # cuts, and adds behind
    return y if bias is None else y + bias[:, None, None]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply by a matrix and add a bias; see `fastcnn.linear`. Tensors of shapes (..., I), (O, I) and (O,)."""
    return torch.ops.fastcnn.linear(input, weight, bias)


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """Return the maximum of every window, with `return_indices` also where it was found; see `fastcnn.max_pool2d`."""
    kernel, pad, step = (
        list(window.pair("max_pool2d", name, value, least))
        for name, value, least in (("kernel_size", kernel_size, 1), ("padding", padding, 0), ("dilation", dilation, 1))
    )
    move = kernel if stride is None else list(window.pair("max_pool2d", "stride", stride, 1))
    y, indices = torch.ops.fastcnn.max_pool2d(input, kernel, move, pad, step, ceil_mode)
    return (y, indices) if return_indices else y


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise every channel; see `fastcnn.batch_norm`. In training the running statistics are changed in place."""
    used = (None, None) if training else (running_mean, running_var)
    y, mean, inverse = torch.ops.fastcnn.batch_norm(input, *used, weight, bias, training, eps)
    if training and running_mean is not None and running_var is not None:
        pixels = input.numel() // input.shape[1]
        with torch.no_grad():
            variance = (inverse**-2 - eps) * (pixels / (pixels - 1))
            for running, batch in ((running_mean, mean), (running_var, variance)):
                running.lerp_(batch.to(running.dtype), momentum)
    return y


# --- Operators: of NumPy's functions ---------------------------------------------------------------------------------------


def _operator(name: str, schema: str, function: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    """Return a custom operator that calls `function` with arrays in the place of tensors; `fake` makes results without computing them."""

    def run(*arguments: Any) -> Any:
        arrays = [value.detach().numpy() if isinstance(value, torch.Tensor) else value for value in arguments]
        results = function(*arrays)
        return tuple(map(torch.from_numpy, results)) if isinstance(results, tuple) else torch.from_numpy(results)

    operator = torch.library.custom_op(f"fastcnn::{name}", run, mutates_args=(), device_types="cpu", schema=schema)
    operator.register_fake(fake)
    return operator


def _sides(padding: list[int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the paddings (top, bottom), (left, right) of an operator's list of four."""
    top, bottom, left, right = padding
    return (top, bottom), (left, right)


def _differentiable(operator: Any, backward: Callable[..., Any], kept: Callable[..., tuple[Any, ...]]) -> None:
    """Give an operator a derivative.

    ``kept(inputs, outputs)`` returns the tensors that ``backward(needed, kept tensors, other inputs, gradients)`` takes; it returns
    the gradients of the inputs that are tensors or None, in their order. `needed` tells for each input whether anybody asks for it.
    """

    def setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        outputs = output if isinstance(output, tuple) else (output,)
        ctx.save_for_backward(*kept(inputs, outputs))
        ctx.others = [value for value in inputs if not (value is None or isinstance(value, torch.Tensor))]
        ctx.inputs = len(inputs)

    def run(ctx: Any, *gradients: Any) -> Any:
        found = tuple(backward(ctx.needs_input_grad, ctx.saved_tensors, ctx.others, gradients))
        return (*found, *[None] * (ctx.inputs - len(found)))

    operator.register_autograd(run, setup_context=setup)


def _bilinear(forward: Any, to_input: Any, to_weight: Any, to_bias: Callable[[Tensor], Tensor]) -> None:
    """Give derivatives to an operation that is linear in input and weight, and to both of its gradients, which are so too.

    ``forward(x, w, bias)``, ``to_input(dy, w, x's shape)`` and ``to_weight(dy, x, w's shape)``, each with the window behind.
    """

    def of_forward(needed: Any, kept: Any, window: Any, gradients: Any) -> Any:
        (x, w), (dy,) = kept, gradients
        yield to_input(dy, w, list(x.shape), *window) if needed[0] else None
        yield to_weight(dy, x, list(w.shape), *window) if needed[1] else None
        yield to_bias(dy) if needed[2] else None

    def of_to_input(needed: Any, kept: Any, others: Any, gradients: Any) -> Any:
        (dy, w), (_, *window), (g,) = kept, others, gradients
        yield forward(g, w, None, *window) if needed[0] else None
        yield to_weight(dy, g, list(w.shape), *window) if needed[1] else None

    def of_to_weight(needed: Any, kept: Any, others: Any, gradients: Any) -> Any:
        (dy, x), (_, *window), (g,) = kept, others, gradients
        yield forward(x, g, None, *window) if needed[0] else None
        yield to_input(dy, g, list(x.shape), *window) if needed[1] else None

    for operator, derivative in ((forward, of_forward), (to_input, of_to_input), (to_weight, of_to_weight)):
        _differentiable(operator, derivative, lambda inputs, outputs: inputs[:2])


def _new_convolution(x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    v, h = window.axes("conv2d", tuple(x.shape[-2:]), tuple(w.shape[2:]), tuple(stride), _sides(padding), tuple(dilation))
    return x.new_empty((*x.shape[:-3], w.shape[0], v.output, h.output))


_bilinear(
    _operator(
        "conv2d",
        f"(Tensor input, Tensor weight, Tensor? bias, {_WINDOW}) -> Tensor",
        lambda x, w, b, stride, padding, *rest: _conv2d.conv2d(x, w, b, stride, _sides(padding), *rest),
        _new_convolution,
    ),
    _operator(
        "conv2d_input",
        f"(Tensor grad_output, Tensor weight, SymInt[] input_size, {_WINDOW}) -> Tensor",
        lambda dy, w, size, stride, padding, *rest: _conv2d.conv2d_input(size, w, dy, stride, _sides(padding), *rest),
        lambda dy, w, size, *window: dy.new_empty(size),
    ),
    _operator(
        "conv2d_weight",
        f"(Tensor grad_output, Tensor input, SymInt[] weight_size, {_WINDOW}) -> Tensor",
        lambda dy, x, size, stride, padding, *rest: _conv2d.conv2d_weight(x, size, dy, stride, _sides(padding), *rest),
        lambda dy, x, size, *window: dy.new_empty(size),
    ),
    lambda dy: dy.sum((-4, -2, -1) if dy.ndim == 4 else (-2, -1)),
)

_bilinear(
    _operator(
        "linear",
        "(Tensor input, Tensor weight, Tensor? bias) -> Tensor",
        _linear.linear,
        lambda x, w, bias: x.new_empty((*x.shape[:-1], w.shape[0])),
    ),
    _operator(
        "linear_input",
        "(Tensor grad_output, Tensor weight, SymInt[] input_size) -> Tensor",
        lambda dy, w, size: _linear.linear_input(dy, w),
        lambda dy, w, size: dy.new_empty(size),
    ),
    _operator(
        "linear_weight",
        "(Tensor grad_output, Tensor input, SymInt[] weight_size) -> Tensor",
        lambda dy, x, size: _linear.linear_weight(dy, x, np.empty(size, x.dtype))[0],  # which looks at the weight's shape
        lambda dy, x, size: dy.new_empty(size),
    ),
    lambda dy: dy.sum_to_size(dy.shape[-1]),
)


# --- Max-pooling -----------------------------------------------------------------------------------------------------------


def _new_pooled(x: Any, *pool: Any) -> Any:
    like_torch = torch.nn.functional.max_pool2d(x, *map(_tuple_of_list, pool))  # without computing: x has no values
    return x.new_empty(like_torch.shape), x.new_empty(like_torch.shape, dtype=torch.int64)


def _tuple_of_list(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _pooled(x: Any, *pool: Any) -> Any:
    kernel, stride, padding, dilation, ceil_mode = pool
    return _max_pool2d.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode, return_indices=True)


_pool = _operator("max_pool2d", f"(Tensor input, {_POOL}) -> (Tensor, Tensor)", _pooled, _new_pooled)
_unpool = _operator(
    "max_pool2d_backward",
    f"(Tensor grad_output, Tensor indices, SymInt[] input_shape, {_POOL}) -> Tensor",
    _max_pool2d.max_pool2d_backward,
    lambda dy, indices, shape, *pool: dy.new_empty(shape),
)


def _pool_backward(needed: Any, kept: Any, pool: Any, gradients: Any) -> Any:
    indices, x = kept
    yield _unpool(gradients[0], indices, list(x.shape), *pool)


def _unpool_backward(needed: Any, kept: Any, others: Any, gradients: Any) -> Any:
    (indices,), (g,) = kept, gradients
    places = indices.flatten(-2)
    values = g.flatten(-2).gather(-1, places.clamp(min=0))
    yield torch.where(places < 0, 0, values).unflatten(-1, indices.shape[-2:])


_differentiable(_pool, _pool_backward, lambda inputs, outputs: (outputs[1], inputs[0]))
_differentiable(_unpool, _unpool_backward, lambda inputs, outputs: (inputs[1],))


# --- Batch normalisation ---------------------------------------------------------------------------------------------------


def _normalise(x: Any, mean: Any, variance: Any, weight: Any, bias: Any, training: bool, eps: float) -> Any:
    return _batch_norm.batch_norm(x, mean, variance, weight, bias, training, 0.0, eps, return_saved=True)


def _new_statistics(x: Any, *rest: Any) -> Any:
    return torch.empty_like(x, memory_format=torch.contiguous_format), *(x.new_empty(x.shape[1], dtype=torch.float64) for _ in range(2))


_norm = _operator(
    "batch_norm",
    "(Tensor input, Tensor? running_mean, Tensor? running_var, Tensor? weight, Tensor? bias, bool training, float eps)"
    " -> (Tensor, Tensor, Tensor)",
    _normalise,
    _new_statistics,
)
_norm_backward = _operator(
    "batch_norm_backward",
    "(Tensor grad_output, Tensor input, Tensor mean, Tensor inverse_deviation, Tensor? weight, bool training) -> (Tensor, Tensor, Tensor)",
    lambda dy, x, mean, inverse, weight, training: _batch_norm.batch_norm_backward(dy, x, mean, inverse, weight, None, training),
    lambda dy, x, *rest: (torch.empty_like(x, memory_format=torch.contiguous_format), *(x.new_empty(x.shape[1]) for _ in range(2))),
)


def _norm_gradients(needed: Any, kept: Any, others: Any, gradients: Any) -> Any:
    x, mean, inverse, weight = kept
    dx, dweight, dbias = _norm_backward(gradients[0], x, mean, inverse, weight, others[0])
    return dx, None, None, dweight if needed[3] else None, dbias if needed[4] else None


_differentiable(_norm, _norm_gradients, lambda inputs, outputs: (inputs[0], outputs[1], outputs[2], inputs[3]))
