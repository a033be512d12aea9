"""Arithmetic of sliding windows, shared by convolution, pooling and im2col: pairs, padding, output sizes.

Everything is Python integers of any size, so that nothing wraps; what is absurd is refused before anything is allocated.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

LARGEST = 2**31 - 1  # of any size, stride or dilation: beyond it lies a mistake


class Axis(NamedTuple):
    """One spatial axis of a window: `size` input elements, a `kernel`, and how it moves."""

    size: int
    kernel: int
    stride: int
    before: int
    after: int
    dilation: int

    @property
    def extent(self) -> int:
        """Input elements that a window spans: dilation (kernel - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def output(self) -> int:
        """Number of windows: floor((size + padding - extent) / stride) + 1."""
        return (self.size + self.before + self.after - self.extent) // self.stride + 1

    @property
    def ceil_output(self) -> int:
        """Number of windows, rounded up; the last one must start inside the input or the padding before it (torch's rule)."""
        count = -((self.extent - self.size - self.before - self.after) // self.stride) + 1
        return count - 1 if (count - 1) * self.stride >= self.size + self.before else count


def integer(op: str, name: str, value: Any, least: int) -> int:
    """Return `value` as an int of at least `least`; TypeError or ValueError that names the argument otherwise."""
    number = whole(op, name, value)
    if not least <= number <= LARGEST:
        raise ValueError(f"{op}: {name} must be between {least} and {LARGEST}; got {shown(number)}")
    return number


def whole(op: str, name: str, value: Any) -> int:
    """Return `value` as an int of any size; TypeError that names the argument otherwise."""
    if type(value) is int:
        return value
    try:
        return _index(value)
    except TypeError:
        raise TypeError(f"{op}: {name} must be an int; got {type(value).__name__} {shown(value)}") from None


def pair(op: str, name: str, value: Any, least: int) -> tuple[int, int]:
    """Return (height, width) from an int or a pair of ints."""
    if isinstance(value, (tuple, list)):
        if len(value) == 1:
            value = (value[0], value[0])
        if len(value) != 2:
            raise ValueError(f"{op}: {name} must be an int or a pair (height, width); got {shown(value)}")
        return integer(op, name, value[0], least), integer(op, name, value[1], least)
    number = integer(op, name, value, least)
    return number, number


def axes(
    op: str, size: tuple[int, int], kernel: tuple[int, int], stride: Any, padding: Any, dilation: Any, ceil_mode: bool = False
) -> tuple[Axis, Axis]:
    """Return the checked vertical and horizontal axis of a window that moves over an image.

    Parameters
    ----------
    size : (H, W)
        Must not be 0.
    padding : int, pair, ((top, bottom), (left, right)), "valid" or "same"
        "same" gives ceil(size / stride) outputs; an odd total puts the extra element at the end (TensorFlow's rule).

    Raises
    ------
    TypeError, ValueError
        A number is not an integer, out of range, or the kernel is larger than the padded input (in `ceil_mode`: gives no window).
    """
    if min(size) == 0:
        raise ValueError(f"{op}: height and width of the input must not be 0; got {size[0]} x {size[1]}")
    strides, dilations = pair(op, "stride", stride, 1), pair(op, "dilation", dilation, 1)
    if isinstance(padding, str):
        if padding.lower() not in ("same", "valid"):
            raise ValueError(f"{op}: padding must be 'same', 'valid', an int, a pair or two pairs; got {shown(padding)}")
        if padding.lower() == "valid":
            sides = ((0, 0), (0, 0))
        else:
            sides = (_same(size[0], kernel[0], strides[0], dilations[0]), _same(size[1], kernel[1], strides[1], dilations[1]))
    elif isinstance(padding, (tuple, list)) and len(padding) == 2 and all(isinstance(p, (tuple, list)) for p in padding):
        sides = (_side(op, padding[0]), _side(op, padding[1]))
    else:
        top, left = pair(op, "padding", padding, 0)
        sides = ((top, top), (left, left))
    found = tuple(Axis(*given) for given in zip(size, kernel, strides, *zip(*sides, strict=True), dilations, strict=True))
    if any((axis.ceil_output if ceil_mode else axis.output) < 1 for axis in found):
        padded = " x ".join(str(axis.size + axis.before + axis.after) for axis in found)
        extent = " x ".join(str(axis.extent) for axis in found)
        raise ValueError(
            f"{op}: Calculated padded input size per channel: ({padded}). Kernel size: ({extent}). "
            "Kernel size can't be greater than actual input size"
        )
    return found[0], found[1]


def largest_share(size: int, windows: int) -> int:
    """Return how many elements a window has at most, of windows from floor(i size / windows) to ceil((i + 1) size / windows)."""
    return -(-size // windows) + bool(size % windows) if windows else 1


def _same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2


def _side(op: str, value: Any) -> tuple[int, int]:
    if len(value) != 2:
        raise ValueError(f"{op}: padding must be ((top, bottom), (left, right)); got a side {shown(value)}")
    return integer(op, "padding", value[0], 0), integer(op, "padding", value[1], 0)


def _index(value: Any) -> int:
    """Return an integer of any kind, NumPy's included, as int; TypeError for what is none, booleans too."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError("a bool is no size")
    return operator.index(value)


def shown(value: Any) -> str:
    """Return how a wrong argument looks, cut to a line: a message of megabytes helps nobody."""
    if isinstance(value, int) and abs(value) >= 2**256:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."
