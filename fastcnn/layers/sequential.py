"""Layers one after the other."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import checks
from . import fused
from .base import Layer
from .nested import Nested


@functools.lru_cache(maxsize=1024)
def _name_of(position: int, name: str) -> str:
    """Return a parameter's name in a network; the same word at every step, whose hash is known."""
    return f"{position}.{name}"


class Sequential(Nested):
    """A chain of layers; parameters are named ``0.weight``, ``0.bias``, ``3.weight`` ... as in `torch.nn.Sequential`.

    Parameters
    ----------
    *layers : Layer
    fuse : bool
        Compute a `Conv2d` with the `ReLU` and the `MaxPool2d` that follow it in one pass, where that is faster, and a batch
        normalisation with its `ReLU`; results agree within rounding. Subclasses of these layers are never fused.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.layers import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential
    >>> net = Sequential(Conv2d(1, 8, 3, rng=0), ReLU(), MaxPool2d(2), Flatten(), Linear(1352, 10, rng=1))
    >>> net(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    """

    def __init__(self, *layers: Layer, fuse: bool = True) -> None:
        self.fuse = checks.flag("Sequential", "fuse", fuse)
        for position, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"Sequential: argument {position} must be a Layer; got {type(layer).__name__}")
        super().__init__({str(i): layer for i, layer in enumerate(layers)})
        self.layers = layers
        ends = list(itertools.accumulate(fused.plan(layers) if self.fuse else [1] * len(layers)))
        self._runs = [layers[first:end] for first, end in zip([0, *ends], ends, strict=False)]

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        saved: list[Any] = []
        for run in self._runs:
            if len(run) == 1:
                x, kept = run[0].apply(x)
                saved.append(kept)
            else:
                x, several = fused.apply(run, x)
                saved.extend(several)
        return x, saved

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        grads: dict[str, np.ndarray] = {}
        gradient: np.ndarray | None = dy
        first = 0 if input_gradient else self._first_trainable()
        for i in range(len(self.layers) - 1, first - 1, -1):
            if saved[i] is None:
                continue  # fused with the layer before it
            assert gradient is not None  # only the last one asked may be None
            wanted, kept = input_gradient or i > first, saved[i]
            if isinstance(kept, fused.Saved):
                gradient, own = fused.pull_back(self.layers[i : i + kept.length], kept, gradient, wanted)
            else:
                gradient, own = self.layers[i].pull_back(kept, gradient, wanted)
            for name, grad in own.items():
                grads[_name_of(i, name)] = grad
        return (gradient if input_gradient else None), grads

    def _first_trainable(self) -> int:
        """Return the first layer whose gradient anybody needs."""
        return next((i for i, layer in enumerate(self.layers) if layer.params and layer.trainable), len(self.layers))

    def inputs_inside(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        found = {}
        for name, layer in self.children().items():
            found[name] = shape
            shape = layer.output_shape(shape)
        return found

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        for layer in self.layers:
            shape = layer.output_shape(shape)
        return shape

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, position: int) -> Layer:
        return self.layers[position]
