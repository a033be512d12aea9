"""Checks of arrays at the public boundary, and the wording of errors. Behind it kernels trust what they get.

Numba checks neither bounds nor, once a function is compiled, byte order and alignment: an array that slips past this file in the
wrong form is read as garbage. So every array becomes a native, aligned, exact `ndarray` in one of two memory formats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from . import machine, memory, window

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
LAYOUTS = ("NCHW", "NHWC")


class Words(NamedTuple):
    """What torch says of an array that does not fit, to stand beside our words."""

    dtype: str = ""  # after the dtypes that fit
    rank: Callable[[int], str] = lambda ndim: ""  # of so many axes; before what is expected


_NO_WORDS = Words()


def array(
    op: str,
    name: str,
    value: Any,
    dims: str | tuple[str, ...] | None,
    dtypes: tuple[np.dtype, ...] | None = FLOATS,
    words: Words = _NO_WORDS,
) -> np.ndarray:
    """Return `value` as an ndarray that kernels may read: native byte order, aligned, of an allowed dtype and rank.

    Parameters
    ----------
    value : ndarray, or an object with ``__array__``, ``__array_interface__`` or ``__dlpack__`` (a CPU tensor, say)
        What shares its memory with NumPy is not copied.
    dims : str, tuple of str, or None
        The accepted shapes in axis letters, e.g. ``("NCHW", "CHW")``; None accepts any.
    dtypes : tuple of dtype, or None
        None leaves the dtype to the caller.
    words : Words
        Torch's words for the errors.

    Raises
    ------
    TypeError
        Not an array (lists and scalars are no arrays), a masked array, an array on another device or whose gradient another library
        tracks, or a dtype that the operation does not compute in.
    ValueError
        Another rank.
    """
    accepted = (dims,) if isinstance(dims, str) else dims or ()
    known = type(value) is np.ndarray and (dtypes is FLOATS or dtypes is None) and value.dtype in FLOATS
    if known and (dims is None or value.ndim in map(len, accepted)) and _is_ready(value):
        return value  # what most calls bring
    if not isinstance(value, np.ndarray):
        value = _foreign(op, name, value)
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{op}: {name} must not be a masked array (its mask would be ignored); use .filled()")
    value = np.asarray(value)
    if dims is not None and value.ndim not in [len(d) for d in accepted]:
        expected = " or ".join(shape_of_letters(d) for d in accepted)
        raise ValueError(f"{op}: {words.rank(value.ndim)}{name} must be {expected}; got shape {value.shape}")
    native = value.dtype.newbyteorder("=")
    if dtypes is not None and native not in dtypes:
        raise TypeError(f"{op}: {name} must have dtype {' or '.join(str(d) for d in dtypes)}{words.dtype}; got {value.dtype}")
    if not value.flags.c_contiguous:
        require_memory(op, name, value.shape, native.itemsize)  # a broadcast view may stand for more than fits; it will be copied
    if value.dtype != native or not value.flags.aligned:
        value = value.astype(native)
    return value


def convolved(op: str, name: str, value: Any, dims: str | tuple[str, ...]) -> np.ndarray:
    """Return an image, weight or bias of a convolution as `array` does; errors have torch's words for it."""
    return array(op, name, value, dims, words=_OF_A_WEIGHT if name == "weight" else _OF_CONVOLUTION)


def _of_rank(ndim: int) -> str:
    if ndim < 3:
        return "weight should have at least three dimensions: "
    return f"Expected {ndim}-dimensional input for {ndim}-dimensional weight: "


_OF_CONVOLUTION = Words(", and those of all arrays should be the same")
_OF_A_WEIGHT = _OF_CONVOLUTION._replace(rank=_of_rank)


_CPU = 1  # DLPack's number of the main memory


def _foreign(op: str, name: str, value: Any) -> np.ndarray:
    """Return the array of another library as NumPy's, on the same memory where that library can share it."""
    if isinstance(value, (np.generic, type)) or not any(hasattr(value, p) for p in ("__array__", "__array_interface__", "__dlpack__")):
        raise TypeError(f"{op}: {name} must be a NumPy array; got {type(value).__name__}")
    try:
        if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
            return np.asanyarray(value)
        device = value.__dlpack_device__()
        if device[0] != _CPU:
            raise BufferError(f"it lies on DLPack's device {device}, and not in the CPU's memory")
        return np.from_dlpack(value)
    except Exception as error:
        raise TypeError(f"{op}: {name} cannot be read as an array: {error}") from error


def _is_ready(value: np.ndarray) -> bool:
    """Whether an array is aligned, writable, and contiguous as it is or as channels-last images."""
    return value.flags.carray or (value.ndim == 4 and value.transpose(0, 2, 3, 1).flags.carray)


def same_dtype(op: str, **arrays: np.ndarray | None) -> np.dtype:
    """Return the dtype that all arrays share; TypeError where they differ (never a silent promotion)."""
    given = {name: a.dtype for name, a in arrays.items() if a is not None}
    if len(set(given.values())) > 1:
        raise TypeError(f"{op}: expected arrays of one dtype; got {', '.join(f'{name} {dtype}' for name, dtype in given.items())}")
    return next(iter(given.values()))


def same_shape(op: str, name: str, value: np.ndarray, shape: tuple[int, ...], why: str) -> None:
    """Raise ValueError unless `value` has `shape`; `why` says where that shape comes from."""
    if value.shape != shape:
        raise ValueError(f"{op}: {name} must have shape {shape} ({why}); got {value.shape}")


def shape(op: str, name: str, value: Any, letters: str) -> tuple[int, ...]:
    """Return a checked shape argument with one size, at least 0, per axis letter."""
    if not isinstance(value, (tuple, list)) or len(value) != len(letters):
        raise ValueError(f"{op}: {name} must be a shape {shape_of_letters(letters)}; got {window.shown(value)}")
    return tuple(window.integer(op, f"{name}[{i}]", size, 0) for i, size in enumerate(value))


def layout(op: str, value: Any) -> str:
    """Return a checked `layout` argument."""
    return choice(op, "layout", value, LAYOUTS)


def choice(op: str, name: str, value: Any, accepted: tuple[str, ...]) -> str:
    """Return a checked argument that is one of a few words."""
    if not isinstance(value, str) or value not in accepted:
        raise ValueError(f"{op}: {name} must be one of {accepted}; got {window.shown(value)}")
    return value


def flag(op: str, name: str, value: Any) -> bool:
    """Return a checked argument that is a bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{op}: {name} must be a bool; got {type(value).__name__}")
    return bool(value)


def changeable(op: str, name: str, value: Any) -> None:
    """Raise where an argument, if it is given, cannot be changed in place."""
    if value is not None and not isinstance(value, np.ndarray):
        raise TypeError(f"{op}: {name} must be a NumPy array; got {type(value).__name__}")
    if value is not None and not value.flags.writeable:
        raise ValueError(f"{op}: {name} must be writeable, as training changes it; got a read-only array")


def number(op: str, name: str, value: Any, finite: bool = True) -> float:
    """Return a checked number as a float; with `finite` neither NaN nor infinite."""
    if type(value) is float and (math.isfinite(value) or not finite):
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{op}: {name} must be a float; got {type(value).__name__}")
    try:
        given = float(value)
    except OverflowError:
        given = -math.inf if value < 0 else math.inf
    if finite and not math.isfinite(given):
        raise ValueError(f"{op}: {name} must be finite; got {window.shown(value)}")
    return given


def channels_first(value: np.ndarray, layout: str) -> np.ndarray:
    """Return an (N, H, W, C) array as an (N, C, H, W) view; an NCHW array as it is."""
    return value.transpose(0, 3, 1, 2) if layout == "NHWC" else value


def dense(value: np.ndarray) -> np.ndarray:
    """Return an (N, C, H, W) array whose memory is contiguous as NCHW or as NHWC, copying only what is neither.

    A read-only array comes back as a view that NumPy calls writable, because Numba would compile every kernel again
    for read-only arguments; kernels never write to their inputs.
    """
    if not value.flags.c_contiguous and not is_channels_last(value):
        value = np.ascontiguousarray(value)
    return value if value.flags.writeable else _as_writable(value)


def dense_as(value: np.ndarray, layout: str) -> np.ndarray:
    """Return an (N, C, H, W) array whose memory is contiguous in `layout`, copying where it is not; see `dense`."""
    if layout == "NHWC":
        return contiguous(value.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return contiguous(value)


def contiguous(value: np.ndarray) -> np.ndarray:
    """Return a C-contiguous array that Numba takes for writable, copying only what is not contiguous."""
    if not value.flags.c_contiguous:  # ascontiguousarray would give an array without axes one
        value = np.ascontiguousarray(value)
    return value if value.flags.writeable else _as_writable(value)


def memory_order(value: np.ndarray, as_in: np.ndarray | None = None) -> np.ndarray:
    """Return an array for elementwise work, C-contiguous: a channels-last (N, C, H, W) view as its (N, H, W, C) memory.

    `as_in` orders the array as `memory_order(as_in)` is, whatever its own memory.
    """
    pattern = value if as_in is None else as_in
    return contiguous(value.transpose(0, 2, 3, 1) if _is_image_in_channels_last(pattern) else value)


def like(values: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """Return an array ordered as `memory_order(pattern)` with the axes of `pattern`."""
    return values.transpose(0, 3, 1, 2) if _is_image_in_channels_last(pattern) else values


def _is_image_in_channels_last(value: np.ndarray) -> bool:
    return value.ndim == 4 and not value.flags.c_contiguous and is_channels_last(value)


def is_channels_last(value: np.ndarray) -> bool:
    """Whether an (N, C, H, W) array lies in memory as a contiguous (N, H, W, C) one."""
    return bool(value.transpose(0, 2, 3, 1).flags.c_contiguous)


def flat(value: np.ndarray) -> np.ndarray:
    """Return the memory of a `dense` array as one axis, without a copy."""
    view = value if value.flags.c_contiguous else value.transpose(0, 2, 3, 1)
    return view.reshape(-1)


def image(values: np.ndarray, shape: tuple[int, ...], channels_last: bool) -> np.ndarray:
    """Return the `flat` memory of an (N, C, H, W) array as that array."""
    n, c, h, w = shape
    return values.reshape(n, h, w, c).transpose(0, 3, 1, 2) if channels_last else values.reshape(shape)


def strides(value: np.ndarray) -> tuple[int, int, int, int]:
    """Return the strides (n, c, h, w) of a `dense` array in elements.

    They come from the shape: NumPy may give an axis of length 1 any stride. What is both NCHW and NHWC (C = 1, or H = W = 1)
    counts as NHWC, which needs no conversion.
    """
    return strides_of(value.shape, is_channels_last(value))


def strides_of(shape: tuple[int, ...], channels_last: bool) -> tuple[int, int, int, int]:
    """Return the strides (n, c, h, w) in elements of an (N, C, H, W) array that is contiguous as NHWC or as NCHW."""
    _, c, h, w = shape
    return (h * w * c, 1, w * c, c) if channels_last else (c * h * w, h * w, w, 1)


def empty(op: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return a new array; ValueError for one larger than the machine's memory, before anything is allocated."""
    dtype = np.dtype(dtype)
    require_memory(op, "the result", shape, dtype.itemsize)
    return memory.empty(shape, dtype)


def allocator(op: str, shape: tuple[int, ...], dtype: Any) -> Callable[[], np.ndarray]:
    """Return a function that returns a new array; ValueError for one larger than the machine's memory."""
    dtype = np.dtype(dtype)
    require_memory(op, "the result", shape, dtype.itemsize)
    return memory.allocator(shape, dtype)


def require_memory(op: str, name: str, shape: tuple[int, ...], itemsize: int) -> None:
    """Raise ValueError where an array of `shape` does not fit the machine's memory; lengths of 0 count as 1, as in NumPy."""
    size = itemsize
    for length in shape:
        size *= max(length, 1)
    if size > machine.memory_bytes():
        needed, present = size / 2**30, machine.memory_bytes() / 2**30
        raise ValueError(f"{op}: {name} of shape {shape} would take {needed:,.0f} GiB; this machine has {present:,.0f}")


def empty_image(op: str, shape: tuple[int, int, int, int], dtype: Any, layout: str) -> np.ndarray:
    """Return a new (N, C, H, W) array, contiguous in `layout`."""
    n, c, h, w = shape
    if layout == "NHWC":
        return empty(op, (n, h, w, c), dtype).transpose(0, 3, 1, 2)
    return empty(op, shape, dtype)


def shape_of_letters(letters: str) -> str:
    """Return axis letters as a shape: "NCHW" -> "(N, C, H, W)"."""
    return f"({', '.join(letters)}{',' if len(letters) == 1 else ''})"


class _ArrayInterface:
    """Carries an array's memory as writable; NumPy keeps this object, and through it the array, alive as the base."""

    def __init__(self, value: np.ndarray) -> None:
        interface = dict(value.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
        self.base = value


def _as_writable(value: np.ndarray) -> np.ndarray:
    return np.asarray(_ArrayInterface(value))
