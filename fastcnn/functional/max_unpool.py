"""The inverse of max-pooling: values go back to where they were found, by the indices that max-pooling returned."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import checks, pools
from ..ops.max_pool2d import INDEX
from ..pools import Batch
from ..window import shown


def max_unpool1d(input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None) -> np.ndarray:
    """Return signals that hold every value at its index, and 0 elsewhere; as `max_unpool2d`, for (N, C, Q) or (C, Q).

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return _unpool(_Unpooling("max_unpool1d", 1, "NCHW"), input, indices, (kernel_size, stride, padding, output_size))


def max_unpool1d_backward(
    grad_output: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> np.ndarray:
    """Return the gradient of `max_unpool1d`, as `max_unpool2d_backward` that of `max_unpool2d`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return _gather(_Unpooling("max_unpool1d_backward", 1, "NCHW"), grad_output, indices, (kernel_size, stride, padding, output_size))


def max_unpool2d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None, *, layout: str = "NCHW"
) -> np.ndarray:
    """Return images that hold every value at its index, and 0 elsewhere: y[n, c, indices[n,c,p,q]] = x[n,c,p,q].

    Parameters
    ----------
    input : (N, C, P, Q) or (C, P, Q) float32 or float64, in `layout`
    indices : int64 ndarray of the input's shape
        h * W + w in the output, as `max_pool2d` returns them; of values with the same index the last one stays.
    kernel_size, stride, padding : int or pair
        Of the pooling that is undone.
    output_size : tuple, optional
        (H, W), or the whole shape of the output; (P - 1) * stride + kernel_size - 2 * padding unless given, from which it may differ by
        less than the stride.
    layout : "NCHW" or "NHWC"

    Returns
    -------
    (N, C, H, W) ndarray of the input's dtype, in `layout`

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived; also for an index outside the output.
    """
    return _unpool(_Unpooling("max_unpool2d", 2, layout), input, indices, (kernel_size, stride, padding, output_size))


def max_unpool2d_backward(
    grad_output: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None, *, layout: str = "NCHW"
) -> np.ndarray:
    """Return the gradient of `max_unpool2d`: every value has that of the pixel where it went.

    Parameters
    ----------
    grad_output : (N, C, H, W) or (C, H, W) float32 or float64, in `layout`
    indices, kernel_size, stride, padding, output_size, layout
        As given to `max_unpool2d`.

    Returns
    -------
    ndarray of the indices' shape

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived; also for an index outside the output.
    """
    return _gather(_Unpooling("max_unpool2d_backward", 2, layout), grad_output, indices, (kernel_size, stride, padding, output_size))


def max_unpool3d(input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None) -> np.ndarray:
    """Return volumes that hold every value at its index, and 0 elsewhere; as `max_unpool2d`, for (N, C, O, P, Q) or (C, O, P, Q).

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return _unpool(_Unpooling("max_unpool3d", 3, "NCHW"), input, indices, (kernel_size, stride, padding, output_size))


def max_unpool3d_backward(
    grad_output: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> np.ndarray:
    """Return the gradient of `max_unpool3d`, as `max_unpool2d_backward` that of `max_unpool2d`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    return _gather(_Unpooling("max_unpool3d_backward", 3, "NCHW"), grad_output, indices, (kernel_size, stride, padding, output_size))


class _Unpooling(NamedTuple):
    """How a public function was called: its name, for errors, the axes of pixels, and the layout."""

    op: str
    rank: int
    layout: str

    def size(self, pooled: tuple[int, ...], window: tuple[Any, ...]) -> tuple[int, ...]:
        """Return the checked size of what is unpooled from (N, C, ...) values of shape `pooled`."""
        kernel_size, stride, padding, output_size = window
        kernel, before = (
            pools.sizes(self.op, "kernel_size", kernel_size, 1, self.rank),
            pools.sizes(self.op, "padding", padding, 0, self.rank),
        )
        strides = kernel if stride is None else pools.sizes(self.op, "stride", stride, 1, self.rank)
        usual = tuple((n - 1) * s + k - 2 * p for n, s, k, p in zip(pooled[2:], strides, kernel, before, strict=True))
        size = usual if output_size is None else self._given(output_size, usual, strides)
        if min(size) < 1:
            raise ValueError(f"{self.op}: the output must have at least one pixel; its size would be {size}")
        return size

    def _given(self, output_size: Any, usual: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
        if not isinstance(output_size, (tuple, list)) or len(output_size) not in (self.rank, self.rank + 2):
            expected = f"output_size should be a sequence containing {self.rank} or {self.rank + 2} elements"
            raise ValueError(f"{self.op}: {expected}; got {shown(output_size)}")
        size = checks.shape(self.op, "output_size", tuple(output_size[-self.rank :]), "DHW"[-self.rank :])
        for axis, (length, near, stride) in enumerate(zip(size, usual, strides, strict=True)):
            if not near - stride < length < near + stride:
                between = f"dim {axis} must be between {near - stride} and {near + stride}, both excluded"
                raise ValueError(f"{self.op}: invalid output_size {shown(output_size)} ({between})")
        return size

    def flat(self, value: np.ndarray) -> np.ndarray:
        """Return (N, C, ...) values with one axis of pixels, which is the axis `pixels`."""
        count = math.prod(value.shape[2:])
        if self.layout == "NHWC":
            return checks.contiguous(value.transpose(0, 2, 3, 1)).reshape(value.shape[0], count, value.shape[1])
        return checks.contiguous(value).reshape(*value.shape[:2], count)

    @property
    def pixels(self) -> int:
        """The axis of pixels of what `flat` returns."""
        return 1 if self.layout == "NHWC" else 2

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return a new (N, C, ...) array in the layout."""
        if self.layout == "NHWC":
            return checks.empty_image(self.op, (shape[0], shape[1], shape[2], shape[3]), dtype, "NHWC")
        return checks.empty(self.op, shape, dtype)

    def inside(self, indices: Batch, size: tuple[int, ...]) -> np.ndarray:
        """Return the indices, flat, none of which is outside of `size`."""
        found, pixels = self.flat(indices.value), math.prod(size)
        if found.size and not (found.min() >= 0 and found.max() < pixels):
            wrong = found.min() if found.min() < 0 else found.max()
            raise ValueError(
                f"{self.op}: Found an invalid max index: {wrong}; indices must be between 0 and {pixels - 1}, of an output {size}"
            )
        return found


def _unpool(call: _Unpooling, input: Any, indices: Any, window: tuple[Any, ...]) -> np.ndarray:
    x = pools.batch(call.op, "input", input, call.rank, call.layout)
    where = pools.batch(call.op, "indices", indices, call.rank, call.layout, INDEX)
    if where.unbatched != x.unbatched or where.value.shape != x.value.shape:
        shapes = f"[{', '.join(map(str, x.value.shape))}]), but got indices tensor with shape {where.value.shape}"
        raise ValueError(f"{call.op}: Expected shape of indices to be same as that of the input tensor ({shapes}")
    pools.require_pixels(call.op, x.value.shape)
    size = call.size(x.value.shape, window)
    places = call.inside(where, size)
    y = call.empty((*x.value.shape[:2], *size), x.value.dtype)
    y.fill(0)
    np.put_along_axis(call.flat(y), places, call.flat(x.value), call.pixels)
    return x.result(y)


def _gather(call: _Unpooling, grad_output: Any, indices: Any, window: tuple[Any, ...]) -> np.ndarray:
    dy = pools.batch(call.op, "grad_output", grad_output, call.rank, call.layout)
    where = pools.batch(call.op, "indices", indices, call.rank, call.layout, INDEX)
    pools.require_pixels(call.op, where.value.shape)
    size = call.size(where.value.shape, window)
    checks.same_shape(call.op, "grad_output", dy.value, (*where.value.shape[:2], *size), "the forward's output as (N, C, ...)")
    dx = call.empty(where.value.shape, dy.value.dtype)
    call.flat(dx)[...] = np.take_along_axis(call.flat(dy.value), call.inside(where, size), call.pixels)
    return where.result(dx)
