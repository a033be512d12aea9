"""Fully connected layers, and the flattening in front of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks, scalars, window
from ..engine.transposed import transposition
from ..init import Initializer, initial, torch_default
from ..ops.linear import linear, linear_input, linear_weight
from ..plans import Plans
from .base import Layer, channels_first


class Linear(Layer):
    """y = x W' + b; see `fastcnn.linear`. Parameters as in `torch.nn.Linear`.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    dtype : float32 or float64
    rng : Generator, seed or None
        For the initial values.
    init : str or callable
        A name of `fastcnn.init.INITIALIZERS`, or what draws the weight from (shape, rng, dtype). By default weight and bias are torch's;
        with any other the bias begins at 0.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | int | None = None,
        init: Initializer | str = torch_default,
    ) -> None:
        super().__init__()
        shape = (
            window.integer("Linear", "out_features", out_features, 1),
            window.integer("Linear", "in_features", in_features, 1),
        )
        self.params.update(initial("Linear", shape, bias, init, scalars.generator("Linear", rng), dtype))

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        return linear(x, self.params["weight"], self.params.get("bias"), precision=self.precision), x

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        grads = {}
        if self.trainable:
            dweight, dbias = linear_weight(dy, saved, self.params["weight"], precision=self.precision)
            grads = {"weight": dweight, "bias": dbias} if "bias" in self.params else {"weight": dweight}
        return (linear_input(dy, self.params["weight"], precision=self.precision) if input_gradient else None), grads

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        O, I = self.params["weight"].shape
        shape = scalars.shape("Linear", shape)
        if shape[-1:] != (I,):
            raise ValueError(f"Linear: input must be (N, {I}); got shape (N, {', '.join(map(str, shape))})")
        return (*shape[:-1], O)

    def flops(self, shape: tuple[int, ...]) -> int:
        return 2 * math.prod(shape[:-1]) * self.params["weight"].size

    def _describe(self) -> str:
        O, I = self.params["weight"].shape
        return f"{I} -> {O}"


class Flatten(Layer):
    """(N, C, H, W) to (N, C*H*W), channels slowest, as in torch."""

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        pixels = x.transpose(0, 2, 3, 1) if type(x) is np.ndarray and x.ndim == 4 else None
        key = None if pixels is None else Plans.key((), pixels)
        plan = _TO_PLANES.find(key)
        if plan is not None:
            return plan(pixels), (x.shape, True)
        x = checks.array("Flatten", "input", x, None, None)
        if x.dtype.kind not in "fiub":
            raise TypeError(f"Flatten: input must be numbers; got dtype {x.dtype}")
        if x.ndim == 0:
            raise ValueError("Flatten: input must have a batch axis; got a single number")
        n, features = len(x), math.prod(x.shape[1:])
        if not _is_transposed(x):
            return x.reshape(n, features), (x.shape, False)
        _, c, h, w = x.shape
        plan = _copier(transposition((n, h * w, c), x.dtype), checks.allocator("Flatten", (n, features), x.dtype))
        _TO_PLANES.remember(key, plan, x)
        return plan(checks.contiguous(x.transpose(0, 2, 3, 1))), (x.shape, True)

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        shape, transposed = saved
        if not input_gradient:
            return None, {}
        key = Plans.key(shape, dy) if transposed else None
        plan = _TO_PIXELS.find(key)
        if plan is None:
            dy = checks.array("Flatten", "gradient", dy, None, None)
            if not transposed or dy.dtype not in checks.FLOATS:
                return dy.reshape(shape), {}
            n, c, h, w = shape
            plan = _copier(transposition((n, c, h * w), dy.dtype), checks.allocator("Flatten", (n, h, w, c), dy.dtype))
            _TO_PIXELS.remember(key, plan, dy)
            dy = checks.contiguous(dy.reshape(shape))
        return channels_first(plan(dy)), {}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (math.prod(shape),)


_TO_PLANES, _TO_PIXELS = Plans(), Plans()


def _copier(run: Callable[..., None], allocate: Callable[[], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a plan that copies an array into a new one."""

    def copied(x: np.ndarray) -> np.ndarray:
        y = allocate()
        run(x.ravel(), y.ravel())
        return y

    return copied


def _is_transposed(x: np.ndarray) -> bool:
    """Whether these are images whose channels-last memory must be reordered."""
    return x.ndim == 4 and x.dtype in checks.FLOATS and not x.flags.c_contiguous and checks.is_channels_last(x) and x.size > 0
