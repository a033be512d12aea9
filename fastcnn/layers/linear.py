"""Fully connected layers, and the flattening in front of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import checks, window
from ..init import he_normal
from ..ops.linear import linear, linear_input, linear_weight
from .base import Layer, generator


class Linear(Layer):
    """y = x W' + b; see `fastcnn.linear`. Parameters as in `torch.nn.Linear`.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    dtype : float32 or float64
    rng : Generator, seed or None
        For the initial weight: He's normal distribution; the bias starts at 0.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        super().__init__()
        shape = (
            window.integer("Linear", "out_features", out_features, 1),
            window.integer("Linear", "in_features", in_features, 1),
        )
        self.params["weight"] = he_normal(shape, generator(rng), dtype)
        if bias:
            self.params["bias"] = np.zeros(shape[0], dtype)

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        return linear(x, self.params["weight"], self.params.get("bias")), x

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        dweight, dbias = linear_weight(dy, saved, self.params["weight"])
        grads = {"weight": dweight, "bias": dbias} if "bias" in self.params else {"weight": dweight}
        return (linear_input(dy, self.params["weight"]) if input_gradient else None), grads

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        O, I = self.params["weight"].shape
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
        x = checks.array("Flatten", "input", x, None, None)
        if x.ndim == 0:
            raise ValueError("Flatten: input must have a batch axis; got a single number")
        return x.reshape(len(x), math.prod(x.shape[1:])), x.shape

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        return (dy.reshape(saved) if input_gradient else None), {}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (math.prod(shape),)
