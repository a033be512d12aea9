"""Runs of layers that one operation computes: a convolution with its ReLU and the max-pooling behind it, a normalisation with its ReLU.

`Sequential` finds them by the exact types of its layers and computes them through here; from outside nothing changes. Max-pooling and
ReLU commute: the maximum is the same, and where it is positive so is its place (the first of equals), while elsewhere no gradient passes.
So [Conv2d, MaxPool2d, ReLU] is fused as [Conv2d, ReLU, MaxPool2d] is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..ops.conv2d_relu import conv2d_relu, conv2d_relu_backward
from ..ops.conv2d_relu_max_pool2d import conv2d_relu_max_pool2d, conv2d_relu_max_pool2d_backward, pays
from .activation import ReLU
from .base import Layer, channels_first, channels_last
from .conv2d import Conv2d
from .norm import BatchNorm, BatchNorm1d, BatchNorm2d
from .pool import MaxPool2d

_PATTERNS = ((Conv2d, ReLU, MaxPool2d), (Conv2d, MaxPool2d, ReLU), (Conv2d, ReLU), (BatchNorm2d, ReLU), (BatchNorm1d, ReLU))


class Saved(NamedTuple):
    """What the backward of fused layers needs; it stands in the place of the convolution's."""

    pixels: np.ndarray
    y: np.ndarray
    winners: np.ndarray | None
    length: int


def plan(layers: Sequence[Layer], *others: tuple[type[Layer], ...]) -> list[int]:
    """Return how many layers each step computes: those of the longest pattern, one of `others` or of ours, that begins there, or one."""
    lengths, i = [], 0
    while i < len(layers):
        kinds = tuple(type(layer) for layer in layers[i : i + 3])
        lengths.append(next((len(pattern) for pattern in (*others, *_PATTERNS) if kinds[: len(pattern)] == pattern), 1))
        i += lengths[-1]
    return lengths


def apply(layers: Sequence[Layer], x: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """Return the output of these layers for x, and an entry of `saved` for each of them."""
    conv, saved = layers[0], None
    if isinstance(conv, BatchNorm) and len(layers) == 2:
        y, kept = conv.apply(x, relu=True)  # whose pull_back knows
        return y, [kept, None]
    if isinstance(conv, Conv2d) and len(layers) > 1:
        pixels = channels_last(conv, x)
        if len(layers) == 3:
            saved = _pooled(conv, next(layer for layer in layers if isinstance(layer, MaxPool2d)), pixels)
        if saved is None and isinstance(layers[1], ReLU):
            y = conv2d_relu(pixels, conv.params["weight"], conv.params.get("bias"), **conv.window, precision=conv.precision, layout="NHWC")
            saved = Saved(pixels, y, None, 2)
    if saved is None:
        y, kept = conv.apply(x)
        return _rest(layers[1:], y, [kept])
    return _rest(layers[saved.length :], channels_first(saved.y), [saved, *[None] * (saved.length - 1)])


def _rest(layers: Sequence[Layer], x: np.ndarray, saved: list[Any]) -> tuple[np.ndarray, list[Any]]:
    for layer in layers:
        x, kept = layer.apply(x)
        saved.append(kept)
    return x, saved


def _pooled(conv: Conv2d, pool: MaxPool2d, pixels: np.ndarray) -> Saved | None:
    """Return the result of all three layers; None where they are faster apart."""
    kernel, stride, padding, dilation, ceil_mode = pool.window
    weight, bias = conv.params["weight"], conv.params.get("bias")
    if dilation not in (1, (1, 1)) or not pays(pixels.shape, weight.shape, conv.window, (kernel, stride, padding, ceil_mode)):
        return None
    y, winners = conv2d_relu_max_pool2d(
        pixels, weight, bias, **conv.window, pool_kernel=kernel, pool_stride=stride, pool_padding=padding, pool_ceil_mode=ceil_mode,
        return_winners=True, precision=conv.precision, layout="NHWC",
    )  # fmt: skip
    return Saved(pixels, y, winners, 3)


def pull_back(
    layers: Sequence[Layer], saved: Saved, dy: np.ndarray, input_gradient: bool
) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
    """Return the gradients with respect to the input (None unless asked for) and to the convolution's parameters, if it is trainable."""
    conv = layers[0]
    assert isinstance(conv, Conv2d)
    if not (input_gradient or conv.trainable):
        return None, {}
    weight, errors = conv.params["weight"], channels_last(layers[-1], dy)
    wanted = {"input_gradient": input_gradient, "weight_gradient": conv.trainable}
    shared: dict[str, Any] = {**conv.window, **wanted, "precision": conv.precision, "layout": "NHWC"}
    if saved.winners is None:
        dx, dweight, dbias = conv2d_relu_backward(errors, saved.y, saved.pixels, weight, **shared)
    else:
        kernel, stride, padding, _, ceil_mode = next(layer for layer in layers if isinstance(layer, MaxPool2d)).window
        dx, dweight, dbias = conv2d_relu_max_pool2d_backward(
            errors, saved.winners, saved.y, saved.pixels, weight, **shared,
            pool_kernel=kernel, pool_stride=stride, pool_padding=padding, pool_ceil_mode=ceil_mode,
        )  # fmt: skip
    grads = {}
    if dweight is not None and dbias is not None:
        grads = {"weight": dweight, "bias": dbias} if "bias" in conv.params else {"weight": dweight}
    return (None if dx is None else channels_first(dx)), grads
