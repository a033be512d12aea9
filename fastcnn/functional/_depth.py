"""Three-dimensional convolution by the two-dimensional one: the taps of the depth become channels.

    y[n,k,o,p,q] = sum over (c,t),r,s of folded[(n,o), (c,t), p + r, q + s] * w[k, (c,t), r, s]
    folded[(n,o), (c,t), h, w] = x[n, c, o + t, h, w]

An output slice sees T slices of the input as one image of C * T channels, and the weight lies in memory as that image's weight does. So
all of a sum is made in registers, and Winograd's algorithm applies; the copies cost a 1 / (2 K R S)-th of the products. Sums of one
two-dimensional convolution per tap pass over the output T times, and pack shorter sums. Slices are folded a few at a time, which bounds
the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .. import memory
from ..ops.conv2d import conv2d, conv2d_input, conv2d_weight
from ..window import Axis
from ._problem import Convolution

_FOLDED_BYTES = 2**24  # of folded slices at once


class Part(NamedTuple):
    """Some images of the batch, and a range of their output slices."""

    images: slice
    first: int
    last: int


class Folding:
    """The three directions of a convolution over three axes, on batches of any strides."""

    def __init__(self, problem: Convolution) -> None:
        p = self._problem = problem
        self._depth = p.axes[0]
        self._slices = p._replace(C=p.C * self._depth.kernel, axes=p.axes[1:])  # N of a part is its number of slices

    def forward(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        """Return y."""
        p, y = self._problem, memory.empty(self._problem.output_shape, x.dtype)
        x = x.reshape(p.input_shape)
        filters = weight.reshape(self._slices.weight_shape)
        for part in self._parts(x.itemsize):
            images = conv2d(self._fold(x, part), filters, bias, **self._slices.arguments)
            y[part.images, :, part.first : part.last] = images.reshape(-1, part.last - part.first, p.K, *y.shape[3:]).swapaxes(1, 2)
        return y

    def backward_input(self, weight: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Return dx."""
        dy = dy.reshape(self._problem.output_shape)
        dx = memory.empty(self._problem.input_shape, dy.dtype)
        dx.fill(0)
        filters = weight.reshape(self._slices.weight_shape)
        for part in self._parts(dy.itemsize):
            errors = _slices(dy, part)
            size = len(errors), *self._slices.input_shape[1:]
            self._unfold(conv2d_input(size, filters, errors, **self._slices.arguments), dx, part)
        return dx

    def backward_weight(self, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Return dweight."""
        p, size = self._problem, self._slices.weight_shape
        total = np.zeros(size, x.dtype)
        x, dy = x.reshape(p.input_shape), dy.reshape(p.output_shape)
        for part in self._parts(x.itemsize):
            with np.errstate(over="ignore", invalid="ignore"):
                total += conv2d_weight(self._fold(x, part), size, _slices(dy, part), **self._slices.arguments)
        return total.reshape(p.weight_shape)

    def _parts(self, itemsize: int) -> Iterator[Part]:
        """Yield parts that fill `_FOLDED_BYTES`, but hold a slice at least; one of no images where the batch is empty."""
        p, outputs = self._problem, self._depth.output
        slices = max(1, _FOLDED_BYTES // (self._slices.C * p.axes[1].size * p.axes[2].size * itemsize))
        images, deep = max(1, slices // outputs), min(slices, outputs)
        for n in range(0, max(p.N, 1), images):
            for first in range(0, outputs, deep):
                yield Part(slice(n, min(n + images, p.N)), first, min(first + deep, outputs))

    def _fold(self, x: np.ndarray, part: Part) -> np.ndarray:
        """Return the input of a part's slices, (slices, C * T, H, W)."""
        source = x[part.images].swapaxes(1, 2)
        folded = memory.empty(self._folded_shape(part), x.dtype)
        for t in range(self._depth.kernel):
            outputs, inputs = met(self._depth, t, part)
            folded[:, : outputs.start, :, t] = 0
            folded[:, outputs.stop :, :, t] = 0
            folded[:, outputs, :, t] = source[:, inputs]
        return folded.reshape(-1, *self._slices.input_shape[1:])

    def _unfold(self, folded: np.ndarray, dx: np.ndarray, part: Part) -> None:
        """Add what is laid out as by `_fold` to the input's gradient."""
        target, taps = dx[part.images].swapaxes(1, 2), folded.reshape(self._folded_shape(part))
        with np.errstate(over="ignore", invalid="ignore"):
            for t in range(self._depth.kernel):
                outputs, inputs = met(self._depth, t, part)
                target[:, inputs] += taps[:, outputs, :, t]

    def _folded_shape(self, part: Part) -> tuple[int, ...]:
        """Return (images, output slices, C, T, H, W)."""
        p, images = self._problem, part.images.stop - part.images.start
        return images, part.last - part.first, p.C, self._depth.kernel, *p.input_shape[3:]


def met(depth: Axis, t: int, part: Part) -> tuple[slice, slice]:
    """Return (the outputs of a part, counted from its first, whose tap t lies inside the input; the input slices that they meet)."""
    offset = t * depth.dilation - depth.before
    first = min(max(part.first, -(offset // depth.stride)), part.last)
    last = max(first, min(part.last, (depth.size - 1 - offset) // depth.stride + 1))
    start = first * depth.stride + offset
    stop = (last - 1) * depth.stride + offset + 1 if last > first else start
    return slice(first - part.first, last - part.first), slice(start, stop, depth.stride)


def _slices(dy: np.ndarray, part: Part) -> np.ndarray:
    """Return a part of (N, K, O, P, Q) as images (slices, K, P, Q)."""
    slices = dy[part.images, :, part.first : part.last].swapaxes(1, 2)
    return slices.reshape(-1, *slices.shape[2:])
