"""The vocabulary of calls: arrays of small numbers by shape and seed, arrays in unusual forms, and objects that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tests import _strategies

# --- Arrays: the values depend on shape and seed alone -------------------------------------------------------------------


def ints(shape: Any, dtype: str = "f4", seed: int = 0) -> np.ndarray:
    """Return whole numbers from -4 to 4: sums of their products are exact."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


def reals(shape: Any, dtype: str = "f4", seed: int = 0) -> np.ndarray:
    """Return normal numbers."""
    return np.asarray(np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def shares(shape: Any, dtype: str = "f4", seed: int = 0) -> np.ndarray:
    """Return probabilities between 0.05 and 0.95."""
    return np.asarray(np.random.default_rng(seed).uniform(0.05, 0.95, shape)).astype(dtype)


def distinct(shape: Any, dtype: str = "f4", seed: int = 0) -> np.ndarray:
    """Return numbers no two of which are equal, for maxima without ties."""
    count = int(np.prod(shape, dtype=np.int64))
    return np.random.default_rng(seed).permutation(count).reshape(shape).astype(dtype)


def labels(shape: Any, classes: int, dtype: str = "i8", seed: int = 0) -> np.ndarray:
    """Return classes from 0."""
    return np.random.default_rng(seed).integers(0, classes, shape).astype(dtype)


def places(shape: tuple[int, ...], planes: int, pixels: int, seed: int = 0) -> np.ndarray:
    """Return int64 indices below `pixels`, which differ inside a plane where there are enough; the first `planes` axes are planes."""
    rng = np.random.default_rng(seed)
    count, each = (int(np.prod(part, dtype=np.int64)) for part in (shape[:planes], shape[planes:]))
    rows = [rng.permutation(pixels)[:each] if each <= pixels else rng.integers(0, pixels, each) for _ in range(count)]
    return np.array(rows, np.int64).reshape(shape)


def put(array: np.ndarray, value: float) -> np.ndarray:
    """Return a copy whose last element is `value`."""
    changed = array.copy()
    changed.reshape(-1)[-1:] = value
    return changed


def stretched(array: np.ndarray, axis: int = 0, length: int = 2**31) -> np.ndarray:
    """Return a view with stride 0 along an axis: an array of terabytes that takes no memory."""
    axis %= max(array.ndim, 1)
    one = array[(slice(None),) * axis + (slice(0, 1),)] if array.ndim else array[None]
    return np.broadcast_to(one, (*one.shape[:axis], length, *one.shape[axis + 1 :]))


def cut(array: np.ndarray, axis: int = 0, size: int = 0) -> np.ndarray:
    """Return the first `size` elements along an axis."""
    return array[(slice(None),) * (axis % max(array.ndim, 1)) + (slice(0, size),)] if array.ndim else array


def longer(array: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return one element more along an axis."""
    return np.concatenate([array, cut(array, axis, 1)], axis % array.ndim) if array.ndim else array[None]


def dropped(array: np.ndarray) -> np.ndarray:
    """Return an axis less: the first element."""
    return array[0] if array.ndim and len(array) else np.zeros((), array.dtype)


# --- Forms ---------------------------------------------------------------------------------------------------------------


class Tagged(np.ndarray):
    """A subclass that must not be computed with: its arithmetic fails."""

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a subclass reached a computation")


class Box:
    """What a CPU tensor of another library is: an object with `__array__`."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.array


class Broken:
    """What fails when it is read."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise RuntimeError("this array cannot be read")

    def __index__(self) -> int:
        raise RuntimeError("this number cannot be read")

    def __float__(self) -> float:
        raise RuntimeError("this number cannot be read")


def _unaligned(array: np.ndarray) -> np.ndarray:
    view = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def _read_only(array: np.ndarray) -> np.ndarray:
    frozen = array.copy()
    frozen.flags.writeable = False
    return frozen


def _odd_strides(array: np.ndarray) -> np.ndarray:
    strides = [stride if size > 1 else 12 * array.itemsize for size, stride in zip(array.shape, array.strides, strict=True)]
    return as_strided(array.copy(), array.shape, strides)


def _field(array: np.ndarray) -> np.ndarray:
    records = np.zeros(array.shape, [("tag", np.uint8), ("value", array.dtype)])
    records["value"] = array
    return records["value"]


FORMS = {
    **{name: form for name, form in _strategies.FORMS.items() if name != "channels last"},
    "unaligned": _unaligned,
    "read-only": _read_only,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "odd strides": _odd_strides,
    "field": _field,
    "subclass": lambda a: a.copy().view(Tagged),
    "box": lambda a: Box(a.copy()),
    "stride 0": lambda a: np.broadcast_to(a[:1], a.shape) if a.ndim and len(a) else a,
}


def form(name: str, array: np.ndarray) -> Any:
    """Return an array in another form, with the same values."""
    return FORMS[name](array)
