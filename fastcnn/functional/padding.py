"""Padding: `torch.nn.functional.pad`, with constants, reflections, copies of the border, and around a torus."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import checks, scalars, window

MODES = ("constant", "reflect", "replicate", "circular")
_INTEGERS = tuple(np.dtype(f"{kind}{bits}") for kind in ("int", "uint") for bits in (8, 16, 32, 64))
_NUMBERS: tuple[np.dtype, ...] = (*checks.FLOATS, *_INTEGERS, np.dtype(bool))


def pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> np.ndarray:
    """Return the input with elements added at, or with negative numbers taken from, the ends of its last axes.

    Parameters
    ----------
    input : ndarray of numbers, of any shape
        For another mode than "constant" of one or two axes more than are padded; for "reflect" and "replicate", of none but the
        batch's that is empty, before and after.
    pad : sequence of int
        (before, after) of the last axis, then of the one before it, and so on.
    mode : "constant", "reflect", "replicate" or "circular"
        What is added: `value`; the elements mirrored at the last one, of which there must be more than are added; the last element;
        the elements from the other end, of which there must be as many as are added.
    value : float
        0 where not given; for "constant" only.

    Returns
    -------
    ndarray of the input's dtype

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.functional import pad
    >>> pad(np.array([[1.0, 2.0, 3.0]]), (2, -1), "reflect")
    array([[3., 2., 1., 2.]])
    """
    op = "pad"
    x = checks.array(op, "input", input, None, _NUMBERS)
    sides = _sides(op, x.shape, pad, mode, value)
    shape = tuple(size + before + after for size, (before, after) in zip(x.shape, sides, strict=True))
    y = checks.empty(op, shape, x.dtype)
    if mode == "constant":
        filling = _filling(op, value, x.dtype)
        if any(before > 0 or after > 0 for before, after in sides):
            y[...] = filling
        inside, kept = _overlap(x.shape, sides)
        y[inside] = x[kept]
        return y
    if min(map(min, sides)) < 0:  # what is copied may be what is taken away
        for axis, (before, after) in enumerate(sides):
            if before or after:
                x = x.take(_sources(mode, x.shape[axis], before, after), axis)
        y[...] = x
        return y
    y[_overlap(x.shape, sides)[0]] = x
    for axis, (before, after) in enumerate(sides):  # borders only, of what the axes before have left there
        along, sources = np.moveaxis(y, axis, 0), _sources(mode, x.shape[axis], before, after)
        for place in (*range(before), *range(before + x.shape[axis], len(sources))):
            along[place] = along[before + sources[place]]
    return y


def _filling(op: str, value: Any, dtype: np.dtype) -> Any:
    """Return the value that is added as a number of the input's dtype; towards 0, as in torch, for integers."""
    number = 0.0 if value is None else checks.number(op, "value", value, finite=False)
    if dtype.kind == "f":
        if float(np.finfo(dtype).max) < abs(number) < math.inf:
            raise ValueError(f"{op}: value must fit the input's dtype {dtype}; got {window.shown(value)}")
        return dtype.type(number)
    if dtype.kind == "b":
        return bool(number)
    if not (math.isfinite(number) and np.iinfo(dtype).min <= int(number) <= np.iinfo(dtype).max):
        raise ValueError(f"{op}: value must fit the input's dtype {dtype}; got {window.shown(value)}")
    return dtype.type(int(number))


def pad_backward(grad_output: Any, input_shape: Any, pad: Any, mode: str = "constant", value: float | None = None) -> np.ndarray:
    """Return the gradient of `pad` with respect to its input.

    Parameters
    ----------
    grad_output : ndarray of the output's shape, float32 or float64
    input_shape : tuple of int
    pad, mode, value
        As given to `pad`; the value makes no difference.

    Returns
    -------
    ndarray of shape `input_shape` and the dtype of `grad_output`
        Every element has the sum over its copies.

    Raises
    ------
    TypeError, ValueError
        As `pad`.
    """
    op = "pad_backward"
    dy = checks.array(op, "grad_output", grad_output, None)
    given = scalars.shape(op, input_shape, "input_shape")
    sides = _sides(op, given, pad, mode, value)
    shape = tuple(size + before + after for size, (before, after) in zip(given, sides, strict=True))
    checks.same_shape(op, "grad_output", dy, shape, "the forward's output")
    if mode == "constant":
        dx = checks.empty(op, given, dy.dtype)
        dx[...] = 0
        inside, kept = _overlap(given, sides)
        dx[kept] = dy[inside]
        return dx
    checks.require_memory(op, "the result", given, dy.itemsize)
    with np.errstate(all="ignore"):
        for axis, (before, after) in reversed(list(enumerate(sides))):
            if before or after:
                dy = _gathered(dy, axis, given[axis], _sources(mode, given[axis], before, after))
    return np.array(dy, order="C")


def _sides(op: str, shape: tuple[int, ...], pad: Any, mode: Any, value: Any) -> list[tuple[int, int]]:
    """Return the checked (before, after) of every axis."""
    checks.choice(op, "mode", mode, MODES)
    if not isinstance(pad, (tuple, list)):
        raise TypeError(f"{op}: pad must be a sequence of int; got {type(pad).__name__}")
    numbers = [window.integer(op, f"pad[{i}]", size, -window.LARGEST) for i, size in enumerate(pad)]
    if len(numbers) % 2:
        raise ValueError(f"{op}: Padding length must be divisible by 2; got {len(numbers)} numbers")
    if len(numbers) > 2 * len(shape):
        raise ValueError(f"{op}: Padding length should be less than or equal to two times the input dimension but got {len(numbers)}")
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))[::-1]
    sides = [(0, 0)] * (len(shape) - len(pairs)) + pairs
    for axis, (size, (before, after)) in enumerate(zip(shape, sides, strict=True)):
        if size + min(before, 0) + min(after, 0) < 0:  # even where more is added than taken, as torch takes first
            raise ValueError(
                f"{op}: The input size {size}, plus negative padding {before} and {after} resulted in a negative output size, "
                f"which is invalid. Check dimension {axis} of your input."
            )
    given = 0.0 if value is None else checks.number(op, "value", value, finite=False)
    if mode == "constant":
        return sides
    if given != 0:
        raise ValueError(f"{op}: Padding mode {mode!r} doesn't take in value argument; got {window.shown(value)}")
    if not pairs or len(pairs) > 3 or len(shape) - len(pairs) not in (1, 2):
        raise ValueError(f"{op}: Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now; got {len(numbers)} numbers "
                         f"for input of shape {shape}")  # fmt: skip
    if mode != "circular" and 0 in shape[len(shape) - len(pairs) - 1 :]:
        raise ValueError(f"{op}: Expected {len(pairs) + 1}D or {len(pairs) + 2}D (batch mode) tensor with possibly 0 batch size and other "
                         f"non-zero dimensions for input, but got: {list(shape)}")  # fmt: skip
    for axis, (size, (before, after)) in enumerate(zip(shape, sides, strict=True)):
        _require_elements(op, mode, axis, shape, size, before, after)
    return sides


def _require_elements(op: str, mode: str, axis: int, shape: tuple[int, ...], size: int, before: int, after: int) -> None:
    """Raise where an axis has too few elements for what shall be added to it, or taken from it."""
    if mode != "circular" and (before or after) and size + before + after < 1:
        raise ValueError(f"{op}: input of shape {list(shape)} is too small: padding of ({before}, {after}) leaves nothing of axis {axis}")
    most = max(before, after)
    if most <= 0:
        return
    if mode == "reflect" and most >= size:
        raise ValueError(
            f"{op}: Padding size should be less than the corresponding input dimension, but got: padding ({before}, {after}) "
            f"at dimension {axis} of input {list(shape)}"
        )
    if mode == "circular" and most > size + min(before, 0) + min(after, 0):
        raise ValueError(f"{op}: Padding value causes wrapping around more than once; got ({before}, {after}) for size {size}")


def _sources(mode: str, size: int, before: int, after: int) -> np.ndarray:
    """Return which element every element of a padded axis is a copy of."""
    place = np.arange(-before, size + after)
    if mode == "replicate":
        return place.clip(0, size - 1)
    if mode == "reflect":
        return size - 1 - np.abs(size - 1 - np.abs(place))
    first, kept = max(0, -before), size + min(before, 0) + min(after, 0)  # what is taken away is not wrapped around
    return first + (place - first) % max(kept, 1)


def _gathered(dy: np.ndarray, axis: int, size: int, sources: np.ndarray) -> np.ndarray:
    """Return for every element of an axis the sum over its copies."""
    dx = np.zeros((*dy.shape[:axis], size, *dy.shape[axis + 1 :]), dy.dtype)
    inner, outer = np.moveaxis(dx, axis, 0), np.moveaxis(dy, axis, 0)
    _, firsts = np.unique(sources, return_index=True)
    inner[sources[firsts]] = outer[firsts]
    for place in np.setdiff1d(np.arange(len(sources)), firsts):  # borders are short
        inner[sources[place]] += outer[place]
    return dx


def _overlap(shape: tuple[int, ...], sides: list[tuple[int, int]]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return where in the output, and where in the input, the elements lie that both have."""
    inside = tuple(slice(max(before, 0), size + before + min(after, 0)) for size, (before, after) in zip(shape, sides, strict=True))
    kept = tuple(slice(max(-before, 0), size + min(after, 0)) for size, (before, after) in zip(shape, sides, strict=True))
    return inside, kept
