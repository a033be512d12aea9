"""These operations as primitives of HIPS autograd: `grad` passes through them, any number of times.

The functions have the names and arguments of `torch.nn.functional`, on NumPy arrays. Arrays are positional arguments or named ones as
autograd has it: it differentiates with respect to positional ones.

Examples
--------
>>> import autograd.numpy as np
>>> from autograd import grad
>>> from fastcnn.adapters.autograd import conv2d
>>> image = np.arange(9.0).reshape(1, 1, 3, 3)
>>> grad(lambda weight: np.sum(conv2d(image, weight) ** 2))(np.ones((1, 1, 2, 2)))
array([[[[336., 464.],
         [720., 848.]]]])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import extras
from ..ops import conv2d as _conv2d
from ..ops import linear as _linear
from ..ops import max_pool2d as _max_pool2d
from ..ops import relu as _relu

_extend = extras.require("autograd.extend", "HIPS autograd", "partners", __name__)
_anp = extras.require("autograd.numpy", "HIPS autograd", "partners", __name__)
primitive, defvjp = _extend.primitive, _extend.defvjp
_getval = extras.require("autograd.tracer", "HIPS autograd", "partners", __name__).getval

conv2d = primitive(_conv2d.conv2d)
linear = primitive(_linear.linear)
relu = primitive(_relu.relu)


# --- Convolution and product: linear in the input and in the weight, and so are both gradients -------------------------------------


@primitive
def _conv2d_to_input(dy: Any, w: Any, shape: tuple[int, ...], *window: Any, **options: Any) -> np.ndarray:
    return _conv2d.conv2d_input(shape, w, dy, *window, **options)


@primitive
def _conv2d_to_weight(dy: Any, x: Any, shape: tuple[int, ...], *window: Any, **options: Any) -> np.ndarray:
    return _conv2d.conv2d_weight(x, shape, dy, *window, **options)


@primitive
def _linear_to_input(dy: Any, w: Any, shape: tuple[int, ...], **options: Any) -> np.ndarray:
    return _linear.linear_input(dy, w, **options)


@primitive
def _linear_to_weight(dy: Any, x: Any, shape: tuple[int, ...], **options: Any) -> np.ndarray:
    return _linear.linear_weight(dy, x, np.empty(shape, x.dtype), **options)[0]


def _of(y: Any, gradient: Any) -> Any:
    """Return the gradient of y in the dtype of y: autograd makes float64 of some."""
    return gradient if gradient.dtype == y.dtype else gradient.astype(y.dtype)


def _bilinear(forward: Any, to_input: Any, to_weight: Any, to_bias: Callable[[Any], Any]) -> None:
    """Give a primitive of (input, weight, bias, window) and its two gradients their derivatives."""
    defvjp(
        forward,
        lambda y, x, w, b=None, *window, **options: lambda g: to_input(_of(y, g), w, x.shape, *window, **options),
        lambda y, x, w, b=None, *window, **options: lambda g: to_weight(_of(y, g), x, w.shape, *window, **options),
        lambda y, x, w, b=None, *window, **options: lambda g: to_bias(_of(y, g)),
    )
    defvjp(
        to_input,
        lambda dx, dy, w, shape, *window, **options: lambda g: forward(_of(dx, g), w, None, *window, **options),
        lambda dx, dy, w, shape, *window, **options: lambda g: to_weight(dy, _of(dx, g), w.shape, *window, **options),
    )
    defvjp(
        to_weight,
        lambda dw, dy, x, shape, *window, **options: lambda g: forward(x, _of(dw, g), None, *window, **options),
        lambda dw, dy, x, shape, *window, **options: lambda g: to_input(dy, _of(dw, g), x.shape, *window, **options),
    )


def _image_bias(dy: Any) -> Any:
    return _anp.sum(dy, (0, 2, 3) if dy.ndim == 4 else (1, 2))


_bilinear(conv2d, _conv2d_to_input, _conv2d_to_weight, _image_bias)
_bilinear(linear, _linear_to_input, _linear_to_weight, lambda dy: _anp.sum(dy, tuple(range(dy.ndim - 1))))


# --- ReLU and max-pooling: which values pass is decided by the input, and its change changes nothing --------------------------------


@primitive
def _relu_backward(dy: Any, y: Any) -> np.ndarray:
    return _relu.relu_backward(dy, y)


defvjp(relu, lambda y, x, **options: lambda g: _relu_backward(_of(y, g), y))
defvjp(_relu_backward, lambda dx, dy, y: lambda g: _relu_backward(_of(dx, g), y), None)


def max_pool2d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> Any:
    """Return the maximum of every window; see `fastcnn.max_pool2d`."""
    window = kernel_size, stride, padding, dilation, ceil_mode
    y, places = _max_pool2d.max_pool2d(_getval(input), *window, return_indices=True)
    return _pooled(input, y, places, window)


@primitive
def _pooled(x: Any, y: np.ndarray, places: np.ndarray, window: tuple[Any, ...]) -> np.ndarray:
    """Return what was computed once with the places of the maxima, which the backward needs."""
    return y


@primitive
def _unpool(dy: Any, places: np.ndarray, shape: tuple[int, ...], window: tuple[Any, ...]) -> np.ndarray:
    return _max_pool2d.max_pool2d_backward(dy, places, shape, *window)


@primitive
def _gather(values: Any, places: np.ndarray, window: tuple[Any, ...]) -> np.ndarray:
    """Return the values at flat places of each plane; 0 where the place is -1."""
    planes, where = values.reshape(*values.shape[:-2], -1), places.reshape(*places.shape[:-2], -1)
    found = np.take_along_axis(planes, np.maximum(where, 0), -1)
    return np.where(where < 0, found.dtype.type(0), found).reshape(places.shape)


defvjp(_pooled, lambda _, x, y, places, window: lambda g: _unpool(_of(y, g), places, x.shape, window))
defvjp(_unpool, lambda dx, dy, places, shape, window: lambda g: _gather(_of(dx, g), places, window))
defvjp(_gather, lambda y, values, places, window: lambda g: _unpool(_of(y, g), places, values.shape, window))
