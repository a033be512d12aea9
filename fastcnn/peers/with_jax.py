"""JAX in NCHW and in NHWC, jitted; each gradient is the transpose of the one linear map that it belongs to."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .contender import Builders, Contender, first_to_last, last_to_first

jax: Any = importlib.import_module("jax")  # mypy may not find it
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_cpu_enable_async_dispatch", False)  # 45 us instead of 55 for a small convolution; nothing for large ones


def pin(threads: int) -> None:
    """Do nothing: XLA takes as many threads as the process had cores when JAX was imported."""


def builders(p: Any, direction: str, arguments: Sequence[np.ndarray], threads: int) -> Builders:
    """Return "jax NCHW" and "jax NHWC"."""
    return {f"jax {layout}": functools.partial(_contender, p, direction, arguments, layout) for layout in ("NCHW", "NHWC")}


def _contender(p: Any, direction: str, arguments: Sequence[np.ndarray], layout: str) -> Contender:
    last = layout == "NHWC"
    numbers = (layout, "HWIO" if last else "OIHW", layout)

    def convolve(x: Any, weight: Any) -> Any:
        return jax.lax.conv_general_dilated(
            x, weight, (p.stride_h, p.stride_w), ((p.top, p.bottom), (p.left, p.right)), rhs_dilation=(p.dilation_h, p.dilation_w),
            dimension_numbers=numbers, feature_group_count=p.groups,
        )  # fmt: skip

    def image(array: np.ndarray) -> Any:
        return jax.device_put(first_to_last(array) if last else np.ascontiguousarray(array))

    def filters(array: np.ndarray) -> Any:
        return jax.device_put(np.ascontiguousarray(array.transpose(2, 3, 1, 0) if last else array))

    def like(shape: tuple[int, ...], order: tuple[int, ...]) -> Any:
        return jax.ShapeDtypeStruct(tuple(shape[axis] for axis in order) if last else shape, np.float32)

    result: Callable[[Any], np.ndarray] = last_to_first if last else np.asarray
    if direction == "forward":
        bias = jax.device_put(arguments[2].reshape((1, 1, 1, -1) if last else (1, -1, 1, 1)))
        compiled = jax.jit(lambda x, weight, bias: convolve(x, weight) + bias)
        inputs = [image(arguments[0]), filters(arguments[1]), bias]
    elif direction == "backward_input":
        shape = like(p.input_shape, (0, 2, 3, 1))
        compiled = jax.jit(lambda dy, weight: jax.linear_transpose(lambda x: convolve(x, weight), shape)(dy)[0])
        inputs = [image(arguments[0]), filters(arguments[1])]
    else:
        shape = like(p.weight_shape, (2, 3, 1, 0))
        compiled = jax.jit(lambda x, dy: jax.linear_transpose(lambda weight: convolve(x, weight), shape)(dy)[0])
        inputs = [image(arguments[0]), image(arguments[1])]
        result = (lambda value: np.asarray(value).transpose(3, 2, 0, 1)) if last else np.asarray
    return Contender(lambda: compiled(*inputs).block_until_ready(), result)
