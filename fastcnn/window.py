"""Arithmetic of sliding windows, shared by convolution, pooling and im2col: pairs, padding, output sizes.

Everything is Python integers of any size, so that nothing wraps; what is absurd is refused before anything is allocated.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

LARGEST = 2**31 - 1  # of any size, stride or dilation: beyond it lies a mistake
_TUPLE = {1: "a tuple", 2: "a pair", 3: "a triple"}
_PAIRS = {1: "a pair in a tuple", 2: "two pairs", 3: "three pairs"}
_SIDES = {1: "((left, right),)", 2: "((top, bottom), (left, right))", 3: "((front, back), (top, bottom), (left, right))"}
_OF_CONVOLUTION = {  # torch's words
    "stride": "non-positive stride is not supported",
    "padding": "negative padding is not supported",
    "dilation": "dilation should be greater than zero",
    "groups": "non-positive groups is not supported",
}


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


def integer(op: str, name: str, value: Any, least: int, words: str = "") -> int:
    """Return `value` as an int of at least `least`; TypeError or ValueError that names the argument otherwise.

    `words` are what torch says of a smaller one, and go before ours.
    """
    number = whole(op, name, value)
    if not least <= number <= LARGEST:
        said = f"{words}: " if words and number < least else ""
        raise ValueError(f"{op}: {said}{name} must be between {least} and {LARGEST}; got {shown(number)}")
    return number


def sizes(op: str, name: str, value: Any, least: int, count: int, words: str = "") -> tuple[int, ...]:
    """Return an int for each of `count` axes from an int, a tuple of one, or as many ints; `words` as in `integer`."""
    if isinstance(value, (tuple, list)):
        if len(value) == 1:
            value = (value[0],) * count
        if len(value) != count:
            raise ValueError(f"{op}: {name} must be an int or {_TUPLE[count]} ({_joined(count, ', ')}); got {shown(value)}")
        return tuple(integer(op, name, item, least, words) for item in value)
    return (integer(op, name, value, least, words),) * count


def whole(op: str, name: str, value: Any) -> int:
    """Return `value` as an int of any size; TypeError that names the argument otherwise."""
    if type(value) is int:
        return value
    try:
        return _index(value)
    except Exception as error:  # TypeError, or whatever the caller's object raises
        raise TypeError(f"{op}: {name} must be an int; got {type(value).__name__} {shown(value)}") from error


def pair(op: str, name: str, value: Any, least: int) -> tuple[int, int]:
    """Return (height, width) from an int or a pair of ints."""
    height, width = sizes(op, name, value, least, 2)
    return height, width


class Moves(NamedTuple):
    """How a window moves: a stride, the padding before and after, and a dilation for each axis; `sides` is None for "same"."""

    stride: tuple[int, ...]
    sides: tuple[tuple[int, int], ...] | None
    dilation: tuple[int, ...]


def moves(op: str, count: int, stride: Any, padding: Any, dilation: Any, words: Mapping[str, str] = MappingProxyType({})) -> Moves:
    """Return the checked movement of a window over `count` axes; `words` are torch's, by argument, of numbers that are too small."""
    strides = sizes(op, "stride", stride, 1, count, words.get("stride", ""))
    said = words.get("padding", "")
    sides: tuple[tuple[int, int], ...] | None
    if isinstance(padding, str):
        if padding.lower() not in ("same", "valid"):
            raise ValueError(f"{op}: padding must be 'same', 'valid', an int, {_TUPLE[count]} or {_PAIRS[count]}; got {shown(padding)}")
        sides = None if padding.lower() == "same" else ((0, 0),) * count
    elif isinstance(padding, (tuple, list)) and len(padding) == count and all(isinstance(p, (tuple, list)) for p in padding):
        sides = tuple(_side(op, side, count, said) for side in padding)
    else:
        sides = tuple((before, before) for before in sizes(op, "padding", padding, 0, count, said))
    return Moves(strides, sides, sizes(op, "dilation", dilation, 1, count, words.get("dilation", "")))


def axes(
    op: str, size: tuple[int, ...], kernel: tuple[int, ...], stride: Any, padding: Any, dilation: Any, ceil_mode: bool = False
) -> tuple[Axis, ...]:
    """Return the checked axes of a window that moves over an image, the outermost first.

    Parameters
    ----------
    size : (W,), (H, W) or (D, H, W)
        Must not be 0.
    padding : int, tuple of ints, tuple of (before, after), "valid" or "same"
        "same" gives ceil(size / stride) outputs; an odd total puts the extra element at the end (TensorFlow's rule).

    Raises
    ------
    TypeError, ValueError
        A number is not an integer, out of range, or the kernel is larger than the padded input (in `ceil_mode`: gives no window).
    """
    return axes_of(op, size, kernel, moves(op, len(size), stride, padding, dilation), ceil_mode)


def axes_of(op: str, size: tuple[int, ...], kernel: tuple[int, ...], moves: Moves, ceil_mode: bool = False) -> tuple[Axis, ...]:
    """Return the axes of a window whose movement is checked; errors as in `axes`."""
    if min(size) == 0:
        raise ValueError(f"{op}: {_joined(len(size), ' and ')} of the input must not be 0; got {_product(size)}")
    strides, sides, dilations = moves
    if sides is None:
        sides = tuple(map(_same, size, kernel, strides, dilations))
    found = tuple(Axis(*given) for given in zip(size, kernel, strides, *zip(*sides, strict=True), dilations, strict=True))
    if any((axis.ceil_output if ceil_mode else axis.output) < 1 for axis in found):
        padded = _product(axis.size + axis.before + axis.after for axis in found)
        raise ValueError(
            f"{op}: Calculated padded input size per channel: ({padded}). Kernel size: ({_product(axis.extent for axis in found)}). "
            "Kernel size can't be greater than actual input size"
        )
    return found


def convolution(
    op: str, x: tuple[int, ...], w: tuple[int, ...], stride: Any, padding: Any, dilation: Any, groups: Any
) -> tuple[tuple[Axis, ...], int]:
    """Return (the axes, groups) of a convolution of an input (N, C, ...) with a weight (K, C / groups, ...).

    Raises
    ------
    TypeError, ValueError
        In torch's words, and checked in its order, where they do not fit.
    """
    movement = convolution_moves(op, len(x) - 2, stride, padding, dilation)
    groups = convolution_groups(op, w, groups)
    if w[1] * groups != x[1]:
        raise ValueError(
            f"{op}: Given groups={groups}, weight of size {list(w)}, expected input{list(x)} to have {w[1] * groups} "
            f"channels, but got {x[1]} channels instead"
        )
    return axes_of(op, x[2:], w[2:], movement), groups


def convolution_moves(op: str, count: int, stride: Any, padding: Any, dilation: Any) -> Moves:
    """Return how the window of a convolution moves over `count` axes; errors have torch's words."""
    return moves(op, count, stride, padding, dilation, _OF_CONVOLUTION)


def convolution_groups(op: str, w: tuple[int, ...], groups: Any) -> int:
    """Return the checked groups of a weight of shape w, which must have no size 0."""
    groups = integer(op, "groups", groups, 1, _OF_CONVOLUTION["groups"])
    if min(w) == 0:
        raise ValueError(f"{op}: weight must have no size 0; got shape {w}")
    if w[0] < groups:
        raise ValueError(
            f"{op}: Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size {list(w)} instead"
        )
    if w[0] % groups:
        raise ValueError(f"{op}: Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got {list(w)}")
    return int(groups)


def _joined(count: int, last: str) -> str:
    """Return the names of so many axes, the last two joined by `last`; as a tuple shows them where that is a comma."""
    *names, width = ("depth", "height", "width")[-count:]
    if not names:
        return "width," if last == ", " else width
    return f"{', '.join(names)}{last}{width}"


def _product(numbers: Iterable[int]) -> str:
    return " x ".join(map(str, numbers))


def largest_share(size: int, windows: int) -> int:
    """Return how many elements a window has at most, of windows from floor(i size / windows) to ceil((i + 1) size / windows)."""
    return -(-size // windows) + bool(size % windows) if windows else 1


def _same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2


def _side(op: str, value: Any, count: int, words: str) -> tuple[int, int]:
    if len(value) != 2:
        raise ValueError(f"{op}: padding must be {_SIDES[count]}; got a side {shown(value)}")
    return integer(op, "padding", value[0], 0, words), integer(op, "padding", value[1], 0, words)


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
