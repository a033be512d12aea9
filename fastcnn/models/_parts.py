"""What several networks share."""

from __future__ import annotations

from collections.abc import Sequence

from ..layers import Layer, MaxPool2d, Sequential


def features_of(layers: Sequence[Layer], channels: int, size: int) -> int:
    """Return how many values layers make of an image, flattened in the end."""
    (features,) = Sequential(*layers).output_shape((channels, size, size))
    return features


def pool_of(size: int, kernel: int = 2) -> list[Layer]:
    """Return a max-pooling with stride 2 for images of `size`; nothing where they are smaller than its windows."""
    return [MaxPool2d(kernel, 2)] if size >= kernel else []
