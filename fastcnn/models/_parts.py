"""What several networks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import scalars, window
from ..layers import Layer, MaxPool2d, Sequential


def features_of(layers: Sequence[Layer], channels: int, size: int) -> int:
    """Return how many values layers make of an image, flattened in the end."""
    (features,) = Sequential(*layers).output_shape((channels, size, size))
    return features


def pool_of(size: int, kernel: int = 2) -> list[Layer]:
    """Return a max-pooling with stride 2 for images of `size`; nothing where they are smaller than its windows."""
    return [MaxPool2d(kernel, 2)] if size >= kernel else []


def checked(op: str, size: Any, channels: Any, classes: Any, rng: Any) -> tuple[int, int, int, np.random.Generator]:
    """Return the checked arguments that all networks have: pixels a side, channels, classes, and what draws the weights."""
    numbers = (window.integer(op, name, value, 1) for name, value in (("size", size), ("channels", channels), ("classes", classes)))
    return (*numbers, scalars.generator(op, rng))  # type: ignore[return-value]


def positive_ints(op: str, name: str, value: Any) -> tuple[int, ...]:
    """Return a checked tuple or list of ints of at least 1."""
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{op}: {name} must be a sequence of int; got {type(value).__name__}")
    return tuple(window.integer(op, f"{name}[{i}]", number, 1) for i, number in enumerate(value))
