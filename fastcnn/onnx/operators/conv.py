"""Convolutions of one to three dimensions, transposed ones, and Col2Im."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import checks
from ...ops.conv2d import PreparedConv2d, conv2d, conv2d_input, prepare_conv2d
from ..graph import Node
from . import window as windows
from .registry import Inputs, Run, operator, refuse
from .window import Window

_BOTH: tuple[Any, ...] = (slice(None), slice(None))  # all images, all channels


@operator("Conv")
def convolution(node: Node, inputs: Inputs) -> Run:
    """Bind a convolution; its results of two dimensions are channels-last in memory, whatever x is."""
    x, weight = inputs[0], inputs[1]
    _require_floats(node, x)
    if weight.ndim != x.ndim or x.ndim not in (3, 4, 5):
        raise refuse(node, f"a convolution of {x.ndim - 2} dimensions")
    geometry, groups = windows.of_node(node, x.shape[2:], weight.shape[2:]), int(node.get("group", 1))
    if x.ndim == 4:
        return _planar(geometry, groups, inputs)
    return _linear(geometry, groups) if x.ndim == 3 else _volume(geometry, groups)


def prepared(node: Node, inputs: Inputs, relu: int) -> PreparedConv2d | None:
    """Return a convolution of constant weights whose kernel limits its results; None where there is none.

    `relu` 1 raises to 0, and 2 limits to 6 as well.
    """
    x, weight = inputs[0], inputs[1]
    if not (x.ndim == weight.ndim == 4 and inputs.is_constant(1) and inputs.is_constant(2) and x.dtype in checks.FLOATS):
        return None
    geometry = windows.of_node(node, x.shape[2:], weight.shape[2:])
    options = _options(geometry, int(node.get("group", 1)))
    return prepare_conv2d(weight, inputs.get(2), **options, relu=relu == 1, relu6=relu == 2)


def on_images(prepared: PreparedConv2d, x: np.ndarray, residual: bool = False) -> Run:
    """Return a function (x, weight, bias, residual) for images like x that convolves with weights that are known."""
    last = checks.is_channels_last(x)
    run = prepared.planned(x.shape, last, residual)
    if residual:
        return lambda x, w, b, other: run(_memory(x, last), _memory(other, True)).transpose(0, 3, 1, 2)
    return lambda x, *_: run(_memory(x, last)).transpose(0, 3, 1, 2)


def _memory(x: np.ndarray, channels_last: bool) -> np.ndarray:
    return checks.contiguous(x.transpose(0, 2, 3, 1) if channels_last else x)


def output_shape(node: Node, inputs: Inputs) -> tuple[int, ...]:
    """Return the shape of a convolution's result."""
    x, weight = inputs[0], inputs[1]
    return (len(x), len(weight), *windows.of_node(node, x.shape[2:], weight.shape[2:]).output)


def _options(geometry: Window, groups: int) -> dict[str, Any]:
    return {"stride": geometry.stride, "padding": geometry.pads, "dilation": geometry.dilation, "groups": groups}


def _planar(geometry: Window, groups: int, inputs: Inputs) -> Run:
    options = _options(geometry, groups)
    if inputs.is_constant(1) and inputs.is_constant(2):
        return on_images(prepare_conv2d(inputs[1], inputs.get(2), **options), inputs[0])
    return lambda x, *arrays: conv2d(x.transpose(0, 2, 3, 1), *arrays, **options, layout="NHWC").transpose(0, 3, 1, 2)


def _linear(geometry: Window, groups: int) -> Run:
    """Convolve lines as images of height 1."""
    (axis,) = geometry.axes
    options: dict[str, Any] = {
        "stride": (1, axis.stride), "padding": ((0, 0), (axis.before, axis.after)), "dilation": (1, axis.dilation), "groups": groups,
    }  # fmt: skip

    def run(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
        return conv2d(x[:, :, None], weight[:, :, None], bias, **options)[:, :, 0]

    return run


def _volume(geometry: Window, groups: int) -> Run:
    """Convolve volumes as a sum over the taps of the first axis, each of them a convolution of all planes."""
    depth, vertical, horizontal = geometry.axes
    options: dict[str, Any] = {
        "stride": geometry.stride[1:], "padding": geometry.pads[1:], "dilation": geometry.dilation[1:], "groups": groups,
    }  # fmt: skip
    count = geometry.output[0]

    def run(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
        N, C = x.shape[:2]
        padded = np.pad(x, ((0, 0), (0, 0), geometry.pads[0], (0, 0), (0, 0))).transpose(0, 2, 1, 3, 4)
        total: Any = 0
        for tap in range(depth.kernel):
            first = tap * depth.dilation
            planes = padded[:, first : first + (count - 1) * depth.stride + 1 : depth.stride].reshape(-1, C, vertical.size, horizontal.size)
            total = total + conv2d(planes, weight[:, :, tap], None if tap else bias, **options)
        volume: np.ndarray = total.reshape(N, count, *total.shape[1:]).transpose(0, 2, 1, 3, 4)
        return volume

    return run


@operator("ConvTranspose")
def transposed(node: Node, inputs: Inputs) -> Run:
    """Bind the gradient of a convolution with respect to its input, as a function of the output's."""
    x, weight = inputs[0], inputs[1]
    _require_floats(node, x)
    sizes, kernel = x.shape[2:], weight.shape[2:]
    count, groups = len(sizes), int(node.get("group", 1))
    if count not in (1, 2, 3):
        raise refuse(node, f"a transposed convolution of {count} dimensions")
    strides, dilations = (tuple(node.get(name) or (1,) * count) for name in ("strides", "dilations"))
    extra = tuple(node.get("output_padding") or (0,) * count)
    full = [(n - 1) * s + d * (k - 1) + 1 + e for n, s, d, k, e in zip(sizes, strides, dilations, kernel, extra, strict=True)]
    if node.get("output_shape") is not None:  # more than the taps reach: zeros
        full = [max(length, wanted) for length, wanted in zip(full, node.get("output_shape")[-count:], strict=True)]
    pads = _transposed_pads(node, sizes, strides, full)
    lengths = [length - before - after for length, (before, after) in zip(full, pads, strict=True)]
    if min(lengths) < 1 or min(map(min, pads)) < 0 or min(map(min, (strides, dilations, kernel))) < 1:
        raise ValueError(f"{node}: strides, dilations, pads and output_shape do not fit an input of shape {x.shape}")
    shape = (x.shape[0], weight.shape[1] * groups, *lengths)
    middle = tuple(slice(before, before + length) for (before, _), length in zip(pads, lengths, strict=True))

    def run(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
        whole = _spread(x, weight, full, strides, dilations, groups)
        y = whole[_BOTH + middle].reshape(shape)
        if bias is not None:
            y = y + bias.reshape(-1, *[1] * count)
        return y

    return run


def _spread(
    x: np.ndarray, weight: np.ndarray, full: list[int], strides: tuple[int, ...], dilations: tuple[int, ...], groups: int
) -> np.ndarray:
    """Return the sums of the taps of every input value, without cropping; sizes `full`, the rest of which is 0."""
    N, C, *sizes = x.shape
    count, K = len(full), weight.shape[1] * groups
    if count == 1:
        whole = _spread(x[:, :, None], weight[:, :, None], [1, *full], (1, *strides), (1, *dilations), groups)
        return whole[:, :, 0]
    if count == 2:
        natural = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(sizes, strides, dilations, weight.shape[2:], strict=True)]
        options: dict[str, Any] = {"stride": strides, "dilation": dilations, "groups": groups, "layout": "NHWC"}
        y = conv2d_input((N, *natural, K), weight, x.transpose(0, 2, 3, 1), **options).transpose(0, 3, 1, 2)
        late = [(0, wanted - own) for wanted, own in zip(full, natural, strict=True)]
        return np.pad(y, ((0, 0), (0, 0), *late)) if any(map(max, late)) else y
    total = np.zeros((N, K, *full), x.dtype)
    planes = x.transpose(0, 2, 1, 3, 4).reshape(-1, C, *sizes[1:])
    for tap in range(weight.shape[2]):
        spread = _spread(planes, weight[:, :, tap], full[1:], strides[1:], dilations[1:], groups)
        first = tap * dilations[0]
        part = total[:, :, first : first + (sizes[0] - 1) * strides[0] + 1 : strides[0]]
        part += spread.reshape(N, sizes[0], K, *full[1:]).transpose(0, 2, 1, 3, 4)
    return total


def _transposed_pads(node: Node, sizes: tuple[int, ...], strides: tuple[int, ...], full: list[int]) -> list[tuple[int, int]]:
    """Return what is cut before and after each axis, so that the output has the wanted size."""
    count, auto = len(sizes), node.get("auto_pad", "NOTSET")
    wanted = node.get("output_shape")
    if wanted is None and auto in ("NOTSET", "VALID"):
        pads = tuple(node.get("pads") or (0,) * (2 * count)) if auto == "NOTSET" else (0,) * (2 * count)
        return list(zip(pads[:count], pads[count:], strict=True))
    if wanted is None:
        wanted = [n * s for n, s in zip(sizes, strides, strict=True)]
    totals = [max(length - target, 0) for length, target in zip(full, wanted[-count:], strict=True)]
    if auto == "SAME_UPPER":
        return [(total // 2, total - total // 2) for total in totals]
    return [(total - total // 2, total // 2) for total in totals]


@operator("Col2Im")
def col2im(node: Node, inputs: Inputs) -> Run:
    """Bind the sum of all windows, each column of (N, C * taps, windows) one of them, at their places in an image."""
    image, block = inputs.integers(1), inputs.integers(2)
    if image is None or block is None:
        raise ValueError(f"{node}: image_shape and block_shape must be given")
    geometry = windows.of_node(node, image, block)
    N, columns, count = inputs[0].shape
    taps, windows_ = math.prod(block), math.prod(geometry.output)
    if columns % taps or count != windows_:
        raise ValueError(f"{node}: input must be (N, C * {taps}, {windows_}) for image {image} and blocks {block}; got {inputs[0].shape}")
    C = columns // taps
    padded = [axis.size + axis.before + axis.after for axis in geometry.axes]
    middle = tuple(slice(axis.before, axis.before + axis.size) for axis in geometry.axes)

    def run(x: np.ndarray, *_: np.ndarray) -> np.ndarray:
        total = np.zeros((N, C, *padded), x.dtype)
        parts = x.reshape(N, C, *block, *geometry.output)
        for tap in np.ndindex(*block):
            places = tuple(
                slice(t * axis.dilation, t * axis.dilation + (n - 1) * axis.stride + 1, axis.stride)
                for t, axis, n in zip(tap, geometry.axes, geometry.output, strict=True)
            )
            total[_BOTH + places] += parts[_BOTH + tap]
        return total[_BOTH + middle]

    return run


def _require_floats(node: Node, x: np.ndarray) -> None:
    if x.dtype not in checks.FLOATS:
        raise refuse(node, f"a convolution of {x.dtype}")
