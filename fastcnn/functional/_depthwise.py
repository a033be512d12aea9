"""Three-dimensional depthwise convolution: a two-dimensional one for each tap of the depth, summed.

Folding the taps into channels, as `_depth` does, would leave the kernels of depthwise convolution for those of groups of T channels, which
take 2 to 5 times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import memory
from ..ops.conv2d import conv2d, conv2d_input, conv2d_weight
from ._depth import Folding, Part, met
from ._problem import Convolution


class Summing:
    """The three directions of a depthwise convolution over three axes, on batches of any strides.

    Zeros of the padding times an infinite factor are NaN; here slices of the padding take no part, and `Folding` serves such factors.
    """

    def __init__(self, problem: Convolution) -> None:
        self._problem = problem
        self._arguments = problem._replace(axes=problem.axes[1:]).arguments

    def forward(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        """Return y."""
        p = self._problem
        if not _is_finite(weight):
            return Folding(p).forward(x, weight, bias)
        slices = _by_slice(x.reshape(p.input_shape))
        y = _filled(p.output_shape, x.dtype, 0 if bias is None else bias[:, None, None])
        for taps, outputs, inputs in self._taps(weight):
            part = slices[:, inputs]
            with np.errstate(over="ignore", invalid="ignore"):
                y[:, outputs] += conv2d(_images(part), taps, **self._arguments).reshape(*part.shape[:2], *y.shape[2:])
        return _by_channel(y)

    def backward_input(self, weight: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Return dx."""
        p = self._problem
        errors, dx = _by_slice(dy.reshape(p.output_shape)), _filled(p.input_shape, dy.dtype, 0)
        for taps, outputs, inputs in self._taps(weight):
            part, target = errors[:, outputs], dx[:, inputs]
            size = target.shape[0] * target.shape[1], *target.shape[2:]
            with np.errstate(over="ignore", invalid="ignore"):
                target += conv2d_input(size, taps, _images(part), **self._arguments).reshape(target.shape)
        return _by_channel(dx)

    def backward_weight(self, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Return dweight."""
        p = self._problem
        if not _is_finite(dy):
            return Folding(p).backward_weight(x, dy)
        slices, errors = _by_slice(x.reshape(p.input_shape)), _by_slice(dy.reshape(p.output_shape))
        dweight = np.empty(p.weight_shape, x.dtype)
        for target, outputs, inputs in self._taps(dweight):
            target[...] = conv2d_weight(_images(slices[:, inputs]), target.shape, _images(errors[:, outputs]), **self._arguments)
        return dweight

    def _taps(self, weight: np.ndarray) -> Iterator[tuple[np.ndarray, slice, slice]]:
        """Yield (a view of the weight at a tap of the depth, the output slices that it reaches, the input slices that it meets)."""
        p = self._problem
        whole = Part(slice(0, p.N), 0, p.axes[0].output)
        for t in range(p.axes[0].kernel):
            yield weight[:, :, t], *met(p.axes[0], t, whole)


def _filled(shape: tuple[int, ...], dtype: np.dtype, values: Any) -> np.ndarray:
    """Return images of this shape, slice by slice, that hold `values`."""
    n, channels, depth, *size = shape
    slices = memory.empty((n, depth, channels, *size), dtype)
    slices[...] = values
    return slices


def _by_slice(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images.swapaxes(1, 2))


def _by_channel(slices: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(slices.swapaxes(1, 2))


def _images(slices: np.ndarray) -> np.ndarray:
    """Return (N, D, C, H, W) as images (N * D, C, H, W)."""
    return slices.reshape(slices.shape[0] * slices.shape[1], *slices.shape[2:])


def _is_finite(values: np.ndarray) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()))
