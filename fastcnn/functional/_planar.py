"""Convolutions over one to three axes by the two-dimensional one.

One axis is the width of images of height 1. Of three axes, two neighbours along which the kernel has one tap, does not stride and is not
padded are one axis in memory. Both are exact and move nothing. What remains goes to `_depth` or `_depthwise`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ..ops.conv2d import conv2d, conv2d_input, conv2d_weight
from ..window import Axis
from ._depth import Folding
from ._depthwise import Summing
from ._problem import Convolution

_ONE = Axis(1, 1, 1, 0, 0, 1)


def forward(p: Convolution) -> Callable[..., np.ndarray]:
    """Return a function of (x, weight, bias or None) that convolves a batch."""
    flat = _flattened(p)
    if flat is None:
        return _by_depth(p).forward
    compute = functools.partial(conv2d, **flat.arguments)
    return _in_shapes(flat.input_shape, flat.weight_shape, p.output_shape, compute)


def backward_input(p: Convolution) -> Callable[..., np.ndarray]:
    """Return a function of (weight, dy) that returns the gradient of the input."""
    flat = _flattened(p)
    if flat is None:
        return _by_depth(p).backward_input
    compute = functools.partial(conv2d_input, flat.input_shape, **flat.arguments)
    return _in_shapes(flat.weight_shape, flat.output_shape, p.input_shape, compute)


def backward_weight(p: Convolution) -> Callable[..., np.ndarray]:
    """Return a function of (x, dy) that returns the gradient of the weight."""
    flat = _flattened(p)
    if flat is None:
        return _by_depth(p).backward_weight
    size, arguments = flat.weight_shape, flat.arguments
    return _in_shapes(flat.input_shape, flat.output_shape, p.weight_shape, lambda x, dy: conv2d_weight(x, size, dy, **arguments))


def _in_shapes(
    first: tuple[int, ...], second: tuple[int, ...], result: tuple[int, ...], compute: Callable[..., np.ndarray]
) -> Callable[..., np.ndarray]:
    """Return a function that computes on its first two arrays in these shapes."""
    return lambda a, b, *rest: compute(a.reshape(first), b.reshape(second), *rest).reshape(result)


def _by_depth(p: Convolution) -> Folding | Summing:
    """Return the directions of a convolution whose depth is none of two axes."""
    return Summing(p) if p.C == p.groups > 1 else Folding(p)


def _flattened(p: Convolution) -> Convolution | None:
    """Return a convolution over two axes of the same memory; None where there is none."""
    if len(p.axes) == 1:
        return p._replace(axes=(_ONE, *p.axes))
    if len(p.axes) == 2:
        return p
    depth, height, width = p.axes
    if _is_still(height) and _is_still(width):
        return p._replace(axes=(depth, _ONE._replace(size=height.size * width.size)))
    if _is_still(depth) and _is_still(height):
        return p._replace(axes=(_ONE._replace(size=depth.size * height.size), width))
    return None


def _is_still(axis: Axis) -> bool:
    """Whether the convolution does nothing along this axis."""
    return axis._replace(size=1, dilation=1) == _ONE
