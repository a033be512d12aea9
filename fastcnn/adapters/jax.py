"""These operations in JAX, by callbacks to the CPU with gradients of their own: they work under `jit`, `grad`, and, one by one, `vmap`.

The functions have the names, arguments and semantics of `torch.nn.functional`; arrays are JAX's, of float32 or, with JAX's x64 mode,
float64. `conv2d`, `linear` and `relu` can be differentiated any number of times in reverse, `max_pool2d` once; forward mode is not
defined. Only the CPU is served: on another device each call would carry the arrays there and back.

Examples
--------
>>> import jax
>>> import jax.numpy as jnp
>>> from fastcnn.adapters.jax import conv2d
>>> image = jnp.arange(9.0).reshape(1, 1, 3, 3)
>>> loss = jax.jit(jax.grad(lambda weight: (conv2d(image, weight) ** 2).sum()))
>>> loss(jnp.ones((1, 1, 2, 2))).tolist()
[[[[336.0, 464.0], [720.0, 848.0]]]]
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks, extras, window
from ..ops import conv2d as _conv2d
from ..ops import linear as _linear
from ..ops import max_pool2d as _max_pool2d
from ..ops import relu as _relu

jax = extras.require("jax", "JAX", "partners", __name__)

Array = Any
Pool = tuple[Any, Any, Any, Any, bool]


def conv2d(
    input: Array, weight: Array, bias: Array | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Array:
    """Convolve; see `fastcnn.conv2d`. Arrays of shapes (N, C, H, W) or (C, H, W), (K, C/groups, R, S) and (K,)."""
    y = _convolve(_frozen((stride, padding, dilation, groups)), input, weight)
    return _with_bias("conv2d", y, bias, (-1, 1, 1))


def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    """Multiply by a matrix and add a bias; see `fastcnn.linear`. Arrays of shapes (..., I), (O, I) and (O,)."""
    return _with_bias("linear", _multiply((), input, weight), bias, (-1,))


def relu(input: Array) -> Array:
    """Return max(x, 0); see `fastcnn.relu`."""
    return _rectify(input)


def max_pool2d(input: Array, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> Array:
    """Return the maximum of every window; see `fastcnn.max_pool2d`."""
    return _pool(_frozen((kernel_size, stride, padding, dilation, ceil_mode)), input)


def _with_bias(op: str, y: Array, bias: Array | None, shape: tuple[int, ...]) -> Array:
    if bias is None:
        return y
    filters = y.shape[-len(shape)]
    if bias.shape != (filters,):
        raise ValueError(f"{op}: bias must have shape {(filters,)} (one per row of the weight); got {bias.shape}")
    _require_floats(op, input=y, bias=bias)
    return y + bias.reshape(shape)


def _frozen(value: Any) -> Any:
    """Return lists as tuples, which JAX can hash."""
    return tuple(map(_frozen, value)) if isinstance(value, (tuple, list)) else value


def _call(function: Callable[..., Any], like: Any, *arrays: Any) -> Any:
    """Return what a NumPy function returns for these arrays; `like` has the shapes and dtypes."""
    return jax.pure_callback(lambda *given: function(*map(np.asarray, given)), like, *arrays, vmap_method="sequential")


def _require_floats(op: str, **arrays: Any) -> None:
    """Raise TypeError unless all arrays are of one dtype that is computed in: while JAX traces, and not in a callback."""
    dtype = checks.same_dtype(op, **arrays)
    if dtype not in checks.FLOATS:
        raise TypeError(f"{op}: input must have dtype float32 or float64; got {dtype}")


def _shaped(shape: tuple[int, ...], dtype: Any) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)


# --- Convolution and product: linear in the input and in the weight, and so are both gradients -------------------------------------


def _bilinear(
    forward: Callable[..., Any], to_input: Callable[..., Any], to_weight: Callable[..., Any]
) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Return an operation of (window, x, w) and its gradients of (window, shape, dy, w) and (window, shape, dy, x), differentiable."""
    y = jax.custom_vjp(forward, nondiff_argnums=(0,))
    dx = jax.custom_vjp(to_input, nondiff_argnums=(0, 1))
    dw = jax.custom_vjp(to_weight, nondiff_argnums=(0, 1))
    y.defvjp(
        lambda window, x, w: (y(window, x, w), (x, w)),
        lambda window, saved, g: (dx(window, saved[0].shape, g, saved[1]), dw(window, saved[1].shape, g, saved[0])),
    )
    dx.defvjp(
        lambda window, shape, dy, w: (dx(window, shape, dy, w), (dy, w)),
        lambda window, shape, saved, g: (y(window, g, saved[1]), dw(window, saved[1].shape, saved[0], g)),
    )
    dw.defvjp(
        lambda window, shape, dy, x: (dw(window, shape, dy, x), (dy, x)),
        lambda window, shape, saved, g: (y(window, saved[1], g), dx(window, saved[1].shape, saved[0], g)),
    )
    return y, dx, dw


def _conv2d_shape(x: Any, w: Any, window_: tuple[Any, ...]) -> tuple[int, ...]:
    if x.ndim not in (3, 4) or w.ndim != 4:
        raise ValueError(f"conv2d: input must be (N, C, H, W) or (C, H, W), and weight (K, C, R, S); got {x.shape} and {w.shape}")
    _require_floats("conv2d", input=x, weight=w)
    v, h = window.axes("conv2d", x.shape[-2:], w.shape[2:], *window_[:3])
    return (*x.shape[:-3], w.shape[0], v.output, h.output)


def _linear_shape(x: Any, w: Any) -> tuple[int, ...]:
    if x.ndim == 0 or w.ndim != 2 or x.shape[-1] != w.shape[1]:
        raise ValueError(f"linear: input must be (..., I) and weight (O, I); got {x.shape} and {w.shape}")
    _require_floats("linear", input=x, weight=w)
    return (*x.shape[:-1], w.shape[0])


_convolve, _, _ = _bilinear(
    lambda w_, x, w: _call(lambda x, w: _conv2d.conv2d(x, w, None, *w_), _shaped(_conv2d_shape(x, w, w_), x.dtype), x, w),
    lambda w_, shape, dy, w: _call(lambda dy, w: _conv2d.conv2d_input(shape, w, dy, *w_), _shaped(shape, dy.dtype), dy, w),
    lambda w_, shape, dy, x: _call(lambda dy, x: _conv2d.conv2d_weight(x, shape, dy, *w_), _shaped(shape, dy.dtype), dy, x),
)

_multiply, _, _ = _bilinear(
    lambda _, x, w: _call(_linear.linear, _shaped(_linear_shape(x, w), x.dtype), x, w),
    lambda _, shape, dy, w: _call(_linear.linear_input, _shaped(shape, dy.dtype), dy, w),
    lambda _, shape, dy, x: _call(lambda dy, x: _linear.linear_weight(dy, x, np.empty(shape, x.dtype))[0], _shaped(shape, dy.dtype), dy, x),
)


# --- ReLU and max-pooling: which values pass is decided by the input, and its change changes nothing --------------------------------


@jax.custom_vjp
def _rectify(x: Any) -> Any:
    _require_floats("relu", input=x)
    return _call(_relu.relu, _shaped(x.shape, x.dtype), x)


@jax.custom_vjp
def _rectify_backward(dy: Any, y: Any) -> Any:
    return _call(_relu.relu_backward, _shaped(y.shape, y.dtype), dy, y)


def _rectify_forward(x: Any) -> tuple[Any, Any]:
    y = _rectify(x)
    return y, y


_rectify.defvjp(_rectify_forward, lambda y, g: (_rectify_backward(g, y),))
_rectify_backward.defvjp(lambda dy, y: (_rectify_backward(dy, y), y), lambda y, g: (_rectify_backward(g, y), jax.numpy.zeros_like(y)))


def _pool_with_places(pool: Pool, x: Any) -> tuple[Any, Any]:
    """Return the maxima, and their places as int32, which JAX has in every mode."""
    if x.ndim not in (3, 4):
        raise ValueError(f"max_pool2d: input must be (N, C, H, W) or (C, H, W); got shape {x.shape}")
    _require_floats("max_pool2d", input=x)
    shape = (*x.shape[:-2], *_max_pool2d.pool_output(x.shape[-2:], *pool))

    def run(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y, places = _max_pool2d.max_pool2d(x, *pool, return_indices=True)
        return y, places.astype(np.int32)

    y, places = _call(run, (_shaped(shape, x.dtype), _shaped(shape, np.int32)), x)
    return y, places


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pool(pool: Pool, x: Any) -> Any:
    return _pool_with_places(pool, x)[0]


def _pool_forward(pool: Pool, x: Any) -> tuple[Any, Any]:
    y, places = _pool_with_places(pool, x)
    return y, (places, x.shape)


def _pool_backward(pool: Pool, saved: Any, g: Any) -> tuple[Any]:
    places, shape = saved
    return (_unpool(pool, shape, g, places),)


def _unpool(pool: Pool, shape: tuple[int, ...], dy: Any, places: Any) -> Any:
    return _call(
        lambda dy, places: _max_pool2d.max_pool2d_backward(dy, places.astype(np.int64), shape, *pool), _shaped(shape, dy.dtype), dy, places
    )


_pool.defvjp(_pool_forward, _pool_backward)
