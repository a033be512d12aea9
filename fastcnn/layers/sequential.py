"""Layers one after the other."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import checks
from . import fused
from .base import Layer, Self


@functools.lru_cache(maxsize=1024)
def _name_of(position: int, name: str) -> str:
    """Return a parameter's name in a network; the same word at every step, whose hash is known."""
    return f"{position}.{name}"


class Sequential(Layer):
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
        super().__init__()
        self.fuse = checks.flag("Sequential", "fuse", fuse)
        for position, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"Sequential: argument {position} must be a Layer; got {type(layer).__name__}")
        self.layers = layers
        ends = list(itertools.accumulate(fused.plan(layers) if self.fuse else [1] * len(layers)))
        self._runs = [layers[first:end] for first, end in zip([0, *ends], ends, strict=False)]
        self.params = {f"{i}.{name}": param for i, layer in enumerate(layers) for name, param in layer.params.items()}
        self.buffers = {f"{i}.{name}": buffer for i, layer in enumerate(layers) for name, buffer in layer.buffers.items()}

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

    @property
    def trainable(self) -> bool:
        """Whether training changes any of the layers; assigned, it is passed on to all of them, as by `freeze` and `unfreeze`."""
        return any(layer.trainable for layer in self.layers if layer.params)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.layers:
            layer.trainable = value

    @property
    def trainable_params(self) -> dict[str, np.ndarray]:
        return {f"{i}.{name}": param for i, layer in enumerate(self.layers) for name, param in layer.trainable_params.items()}

    def use(self: Self, precision: str) -> Self:
        for layer in self.layers:  # type: ignore[attr-defined]
            layer.use(precision)
        return super().use(precision)

    def train(self: Self, mode: bool = True) -> Self:
        for layer in self.layers:  # type: ignore[attr-defined]
            layer.train(mode)
        return super().train(mode)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        for layer in self.layers:
            shape = layer.output_shape(shape)
        return shape

    def flops(self, shape: tuple[int, ...]) -> int:
        total = 0
        for layer in self.layers:
            total += layer.flops(shape)
            shape = layer.output_shape(shape)
        return total

    def summary(self, shape: tuple[int, ...]) -> str:
        """Return a table of layers: output shapes for an input of `shape` (no batch axis), parameters, FLOPs of a sample.

        Raises
        ------
        ValueError
            The layers do not fit together, or the input.
        """
        rows = [("layer", "output shape", "parameters", "FLOPs")]
        total = self.flops(shape)
        for i, layer in enumerate(self.layers):
            flops = layer.flops(shape)
            shape = layer.output_shape(shape)
            rows.append((f"{i} {layer!r}", str(shape), f"{layer.parameter_count:,}", f"{flops:,}"))
        rows.append(("total", "", f"{self.parameter_count:,}", f"{total:,}"))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in rows]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, position: int) -> Layer:
        return self.layers[position]

    def __repr__(self) -> str:
        return "Sequential(\n" + "".join(f"  {i}: {layer!r}\n" for i, layer in enumerate(self.layers)) + ")"
