"""Pooling over windows or whole images, and the way back by indices."""

from __future__ import annotations

import math

import numpy as np

from ... import checks
from ...functional import adaptive_avg_pool2d
from .. import _kernels
from ..graph import Node
from . import window as windows
from .registry import Inputs, Run, operator, refuse
from .window import Window


@operator("MaxPool")
def max_pool(node: Node, inputs: Inputs) -> Run:
    """Bind the maximum of every window, and where in the whole array it was."""
    x = inputs[0]
    geometry = windows.of_node(node, x.shape[2:])
    if len(node.outputs) > 1 and node.outputs[1]:
        column_major = bool(node.get("storage_order", 0))
        return lambda x: _with_indices(x, geometry, column_major)
    if _kernels.suits(x):
        record = _kernels.pool_geometry(x.shape[1], geometry.axes, geometry.output)
        return lambda x: _kernels.max_pool(record, checks.dense_as(x, "NHWC"))
    lowest = _lowest(x.dtype)
    taps = tuple(range(-len(geometry.axes), 0))
    return lambda x: geometry.views(x, lowest).max(taps)


def _lowest(dtype: np.dtype) -> float:
    return -np.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


def _with_indices(x: np.ndarray, geometry: Window, column_major: bool) -> tuple[np.ndarray, np.ndarray]:
    N, C, *sizes = x.shape
    windows_ = geometry.views(x, _lowest(x.dtype)).reshape(N, C, *geometry.output, -1)
    plane = np.arange(math.prod(sizes)).reshape(sizes, order="F" if column_major else "C")
    numbers = geometry.views(np.broadcast_to(plane, (1, 1, *sizes)), -1).reshape(1, 1, *geometry.output, -1)
    inside = numbers >= 0
    masked = np.where(inside, windows_, _lowest(x.dtype))
    best = np.expand_dims(np.where(np.isnan(masked), np.inf, masked).argmax(-1) if x.dtype.kind == "f" else masked.argmax(-1), -1)
    start = (np.arange(N * C) * math.prod(sizes)).reshape(N, C, *[1] * len(sizes))
    places = np.take_along_axis(np.broadcast_to(numbers, windows_.shape), best, -1)[..., 0] + start
    return np.take_along_axis(windows_, best, -1)[..., 0], places.astype(np.int64, copy=False)


@operator("AveragePool")
def average_pool(node: Node, inputs: Inputs) -> Run:
    """Bind the mean of every window, over all taps inside of the array or, where it says so, of its padding too."""
    geometry = windows.of_node(node, inputs[0].shape[2:])
    x, counts = inputs[0], geometry.counts(bool(node.get("count_include_pad", 0))).astype(inputs[0].dtype)
    if _kernels.suits(x):
        return _average(x, geometry, 1 / counts)
    taps = tuple(range(-len(geometry.axes), 0))

    def run(x: np.ndarray) -> np.ndarray:
        total: np.ndarray = geometry.views(x, 0).sum(taps, dtype=x.dtype)
        total /= counts
        return total

    return run


def _average(x: np.ndarray, geometry: Window, shares: np.ndarray) -> Run:
    record = _kernels.pool_geometry(x.shape[1], geometry.axes, geometry.output)
    return lambda x: _kernels.average_pool(record, checks.dense_as(x, "NHWC"), shares)


@operator("LpPool")
def lp_pool(node: Node, inputs: Inputs) -> Run:
    """Bind the p-norm of every window."""
    geometry, p = windows.of_node(node, inputs[0].shape[2:]), int(node.get("p", 2))
    taps = tuple(range(-len(geometry.axes), 0))
    return lambda x: (np.abs(geometry.views(x, 0)) ** p).sum(taps, dtype=x.dtype) ** x.dtype.type(1 / p)


@operator("GlobalAveragePool")
def global_average_pool(node: Node, inputs: Inputs) -> Run:
    """Bind the mean of every plane."""
    x = inputs[0]
    if _kernels.suits(x):
        if checks.is_channels_last(x):
            return lambda x: adaptive_avg_pool2d(x.transpose(0, 2, 3, 1), 1, layout="NHWC").transpose(0, 3, 1, 2)
        return lambda x: adaptive_avg_pool2d(x, 1)
    axes = tuple(range(2, inputs[0].ndim))
    return lambda x: x.mean(axes, keepdims=True, dtype=x.dtype)


@operator("GlobalMaxPool")
def global_max_pool(node: Node, inputs: Inputs) -> Run:
    """Bind the maximum of every plane."""
    axes = tuple(range(2, inputs[0].ndim))
    return lambda x: x.max(axes, keepdims=True)


@operator("GlobalLpPool")
def global_lp_pool(node: Node, inputs: Inputs) -> Run:
    """Bind the p-norm of every plane."""
    axes, p = tuple(range(2, inputs[0].ndim)), int(node.get("p", 2))
    return lambda x: (np.abs(x) ** p).sum(axes, keepdims=True, dtype=x.dtype) ** x.dtype.type(1 / p)


@operator("MaxUnpool")
def max_unpool(node: Node, inputs: Inputs) -> Run:
    """Bind zeros with the values at the places that pooling found them in; the places count in the array that was pooled.

    An `output_shape` larger than that array takes the values' places with it, row by row.
    """
    x = inputs[0]
    kernel = node.get("kernel_shape")
    count = x.ndim - 2
    strides, pads = node.get("strides") or (1,) * count, node.get("pads") or (0,) * (2 * count)
    if len(kernel) != count:
        raise refuse(node, "a kernel of another rank than the input")
    sizes = [(n - 1) * s + k - pads[i] - pads[i + count] for i, (n, s, k) in enumerate(zip(x.shape[2:], strides, kernel, strict=True))]
    wanted = inputs.integers(2) or (*x.shape[:2], *sizes)
    pooled = (*x.shape[:2], *sizes)
    if len(wanted) != x.ndim or any(target < size for target, size in zip(wanted, pooled, strict=True)):
        raise ValueError(f"{node}: output_shape must be at least {pooled}; got {wanted}")
    corner = tuple(slice(0, size) for size in pooled)

    def run(x: np.ndarray, indices: np.ndarray, *_: np.ndarray) -> np.ndarray:
        y = np.zeros(wanted, x.dtype)
        inner = np.zeros(pooled, x.dtype)
        inner.reshape(-1)[indices.reshape(-1)] = x.reshape(-1)  # NumPy checks the indices
        y[corner] = inner
        return y

    return run
