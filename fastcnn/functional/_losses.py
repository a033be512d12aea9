"""What losses share: shapes that broadcast, weights, and the reduction to one number with the way back."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..window import shown

REDUCTIONS = ("mean", "sum", "none")


def reduction(op: str, value: Any, accepted: tuple[str, ...] = REDUCTIONS) -> str:
    """Return a checked `reduction`, refused in torch's words."""
    if not isinstance(value, str) or value not in accepted:
        text = value if isinstance(value, str) and len(value) < 60 else shown(value)
        raise ValueError(f"{op}: {text} is not a valid value for reduction, which must be one of {accepted}")
    return value


class Operands(NamedTuple):
    """Predictions and targets brought to one shape, and the shapes that they had."""

    input: np.ndarray
    target: np.ndarray
    shapes: tuple[tuple[int, ...], tuple[int, ...]]

    def gradients(self, *values: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return gradients in the shapes of the operands and in their dtype: sums over the axes that were stretched."""
        return tuple(np.asarray(summed_to(v, shape), self.input.dtype, order="C") for v, shape in zip(values, self.shapes, strict=True))


def operands(op: str, input: Any, target: Any, warn: bool = True) -> Operands:
    """Return checked predictions and targets of one dtype; other shapes than equal ones broadcast, with torch's warning where asked."""
    x, t = checks.array(op, "input", input, None), checks.array(op, "target", target, None)
    checks.same_dtype(op, input=x, target=t)
    shapes = x.shape, t.shape
    if x.shape != t.shape:
        both = broadcast_shape(op, x.shape, t.shape)
        checks.require_memory(op, "the broadcast input", both, x.itemsize)
        if warn:
            warnings.warn(
                f"{op}: Using a target size {t.shape} that is different to the input size {x.shape}. This will likely lead to incorrect "
                "results due to broadcasting. Please ensure they have the same size.",
                stacklevel=4,
            )
        x, t = np.broadcast_to(x, both), np.broadcast_to(t, both)
    return Operands(x, t, shapes)


def equal_operands(op: str, input: Any, target: Any, message: str) -> tuple[np.ndarray, np.ndarray]:
    """Return checked predictions and targets of one dtype and shape; `message` has places for the shapes of target and input."""
    x, t = checks.array(op, "input", input, None), checks.array(op, "target", target, None)
    checks.same_dtype(op, input=x, target=t)
    if x.shape != t.shape:
        raise ValueError(f"{op}: {message.format(target=t.shape, input=x.shape)}")
    return x, t


def broadcast_shape(op: str, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape to which both broadcast; ValueError in torch's words where there is none."""
    rank = max(len(a), len(b))
    wide = [(1,) * (rank - len(shape)) + shape for shape in (a, b)]
    for axis in range(rank - 1, -1, -1):
        one, other = wide[0][axis], wide[1][axis]
        if one != other and 1 not in (one, other):
            raise ValueError(
                f"{op}: The size of tensor a ({one}) must match the size of tensor b ({other}) at non-singleton dimension {axis}"
            )
    return tuple(other if one == 1 else one for one, other in zip(*wide, strict=True))


def summed_to(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return `value` summed over the axes along which an array of `shape` was stretched to its shape."""
    if value.shape == shape:
        return np.asarray(value)
    added = value.ndim - len(shape)
    axes = (*range(added), *(axis + added for axis, size in enumerate(shape) if size == 1 and value.shape[axis + added] != 1))
    return np.asarray(value.sum(axis=axes, keepdims=True)).reshape(shape)


def factor(op: str, name: str, value: Any, like: np.ndarray, same: bool = False) -> np.ndarray | None:
    """Return a checked array of weights that broadcasts to `like` (with `same`: has its shape), None for None."""
    if value is None:
        return None
    weight = checks.array(op, name, value, None)
    checks.same_dtype(op, **{"input": like, name: weight})
    if same and weight.shape != like.shape:
        raise ValueError(f"{op}: Weights and input must have the same size; got {weight.shape} and {like.shape}")
    if broadcast_shape(op, like.shape, weight.shape) != like.shape:
        raise ValueError(f"{op}: {name} must broadcast to the input's shape {like.shape}; got {weight.shape}")
    return weight


_BLOCK = 16_384  # elements that pass after pass is made over while they are in cache


def blocks(size: int) -> Iterator[slice]:
    """Yield the blocks of flat arrays of `size` elements."""
    for first in range(0, size, _BLOCK):
        yield slice(first, min(size, first + _BLOCK))


def reduced(losses: np.ndarray, how: str, dtype: np.dtype, count: Any = None) -> Any:
    """Return losses reduced to one number of `dtype`: their sum, over `count` (their number) for "mean"; NaN for 0 / 0."""
    losses = np.asarray(losses, dtype, order="C")  # NumPy 1 makes float64 of a scalar of float32 and a number
    if how == "none":
        return losses
    with np.errstate(all="ignore"):
        return averaged(losses.sum(), losses.size if count is None else count, how, dtype)


def averaged(total: Any, count: Any, how: str, dtype: np.dtype) -> Any:
    """Return a total, over `count` for "mean", as a number of `dtype`; NaN for 0 / 0."""
    with np.errstate(all="ignore"):
        return dtype.type(np.true_divide(total, count) if how == "mean" else total)


def output_gradient(op: str, value: Any, shape: tuple[int, ...], dtype: Any, how: str, count: Any = None) -> Any:
    """Return the gradient with respect to every loss from that of the reduced one: an array for "none", else a number of `dtype`."""
    if how == "none":
        dloss = checks.array(op, "grad_output", value, None)
        if dloss.dtype != dtype:
            raise TypeError(f"{op}: expected arrays of one dtype; got input {dtype}, grad_output {dloss.dtype}")
        checks.same_shape(op, "grad_output", dloss, shape, "reduction is 'none'")
        return dloss
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and not isinstance(value, np.ma.MaskedArray):
        checks.same_shape(op, "grad_output", value, (), f"reduction is {how!r}")
    elif isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{op}: grad_output must be a number or a float array; got {type(value).__name__}")
    size = int(np.prod(shape, dtype=object)) if count is None else count
    with np.errstate(all="ignore"):
        number = np.float64(value if isinstance(value, np.ndarray) else checks.number(op, "grad_output", value, finite=False))
        share = np.true_divide(number, size) if how == "mean" else number
        return share.astype(dtype)
