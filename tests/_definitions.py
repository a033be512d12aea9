"""Convolutions over any number of axes by their definition, in float64, with nothing of fastcnn; and what a gradient must be."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

Sides = Sequence[tuple[int, int]]


def convolution(
    x: np.ndarray, weight: np.ndarray, bias: Any, stride: Sequence[int], sides: Sides, dilation: Sequence[int], groups: int
) -> np.ndarray:
    """Return a batch convolved tap by tap; `sides` is (before, after) for each axis."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), *sides))
    shapes = padded.shape[2:], weight.shape[2:]
    sizes = [(size - d * (kernel - 1) - 1) // s + 1 for size, kernel, s, d in zip(*shapes, stride, dilation, strict=True)]
    y = np.zeros((len(x), len(weight), *sizes))
    for channels, filters in _groups(x.shape[1], len(weight), groups):
        for tap, places in _taps(weight.shape[2:], sizes, stride, dilation):
            taps = weight[(filters, slice(None), *tap)].astype(np.float64)
            y[:, filters] += np.einsum("nc...,kc->nk...", padded[(slice(None), channels, *places)], taps)
    return y if bias is None else y + bias.astype(np.float64).reshape(-1, *[1] * len(sizes))


def transposed(
    x: np.ndarray,
    weight: np.ndarray,
    bias: Any,
    stride: Sequence[int],
    sides: Sides,
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
) -> np.ndarray:
    """Return a batch transposed-convolved: every input element adds its filters, then the sides are cut off."""
    shapes = x.shape[2:], weight.shape[2:]
    reach = [(size - 1) * s + d * (kernel - 1) + 1 for size, kernel, s, d in zip(*shapes, stride, dilation, strict=True)]
    y = np.zeros((len(x), weight.shape[1] * groups, *(a + b for a, b in zip(reach, output_padding, strict=True))))
    for channels, filters in _groups(len(weight), y.shape[1], groups):
        for tap, places in _taps(weight.shape[2:], x.shape[2:], stride, dilation):
            taps = weight[(channels, slice(None), *tap)].astype(np.float64)
            y[(slice(None), filters, *places)] += np.einsum("nc...,ck->nk...", x[:, channels].astype(np.float64), taps)
    inside = (slice(before, size - after) for (before, after), size in zip(sides, y.shape[2:], strict=True))
    y = y[(slice(None), slice(None), *inside)]
    return y if bias is None else y + bias.astype(np.float64).reshape(-1, *[1] * len(reach))


def _groups(channels: int, filters: int, groups: int) -> Iterator[tuple[slice, slice]]:
    for group in range(groups):
        yield tuple(slice(group * count // groups, (group + 1) * count // groups) for count in (channels, filters))


def _taps(kernel: Sequence[int], sizes: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Iterator[tuple[Any, Any]]:
    """Yield (a tap's place in the kernel, the places that it meets at every step of the window)."""
    for tap in itertools.product(*map(range, kernel)):
        yield tap, tuple(slice(t * d, t * d + (size - 1) * s + 1, s) for t, size, s, d in zip(tap, sizes, stride, dilation, strict=True))


def agree(got: np.ndarray, want: np.ndarray, scale: np.ndarray | float, terms: float = 1.0) -> None:
    """Assert that `got` is `want` in its own precision; sums of `terms` products whose absolute values add up to `scale` round so much."""
    assert got.shape == want.shape
    limit = 8 * (1 + terms) * np.finfo(got.dtype).eps * np.max(scale, initial=1.0)
    np.testing.assert_allclose(got, want, rtol=0, atol=limit)


def require_gradients(
    forward: Callable[..., np.ndarray], arrays: Sequence[np.ndarray], gradients: Callable[[np.ndarray], Sequence[np.ndarray]], seed: int = 0
) -> None:
    """Assert gradients by central differences along random directions of all float64 arrays, one after the other.

    `forward` takes the arrays; `gradients` the gradient of its result, and returns theirs.
    """
    rng = np.random.default_rng(seed)
    dy = rng.standard_normal(forward(*arrays).shape)
    for number, gradient in enumerate(gradients(dy)):
        assert gradient.shape == arrays[number].shape
        direction, step = rng.standard_normal(gradient.shape), 1e-4
        ends = []
        for sign in (step, -step):
            moved = list(arrays)
            moved[number] = arrays[number] + sign * direction
            ends.append(np.sum(forward(*moved) * dy))
        slope = (ends[0] - ends[1]) / (2 * step)
        size = np.sqrt(np.sum(gradient**2) * np.sum(direction**2)) + 1e-30
        assert abs(slope - np.sum(gradient * direction)) <= 1e-6 * max(size, 1e-3), f"gradient {number}"
