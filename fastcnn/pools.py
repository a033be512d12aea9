"""Arguments of pooling over one, two or three axes: images in their forms, and the windows on them, checked in torch's words."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import checks, window
from .window import LARGEST, Axis, shown

INTEGERS = tuple(np.dtype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8))
_LETTERS = {1: "NCL", 2: "NCHW", 3: "NCDHW"}
_SIZES = {1: "an int or a tuple of one", 2: "an int or a pair (height, width)", 3: "an int or a triple (depth, height, width)"}
_RANKS = {
    1: "Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input",
    2: "Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input",
    3: "non-empty 4D or 5D (batch mode) tensor expected for input",
}
_EMPTY = {**_RANKS, 3: "Expected input's non-batch dimensions to have positive length"}


class Batch(NamedTuple):
    """An array of images as a caller gave it: `value` is it as (N, C, ...), whatever the layout, and with a batch axis."""

    op: str
    value: np.ndarray
    unbatched: bool
    layout: str

    @property
    def rank(self) -> int:
        """Number of axes of pixels."""
        return self.value.ndim - 2

    def result(self, images: np.ndarray) -> np.ndarray:
        """Return an (N, C, ...) array with the axes that the caller's have."""
        ordered = images.transpose(0, 2, 3, 1) if self.layout == "NHWC" else images
        return ordered[0] if self.unbatched else ordered

    def as_images(self) -> Batch:
        """Return signals (N, C, L) as images of one row."""
        return self._replace(value=self.value[:, :, None, :])

    def shape(self, name: str, value: Any) -> tuple[int, ...]:
        """Return a checked argument that is a shape with the caller's axes as (N, C, ...); N is 1 where there is no batch."""
        letters = _letters(self.rank, self.layout)[self.unbatched :]
        sizes = dict(zip(letters, checks.shape(self.op, name, value, letters), strict=True))
        return tuple(sizes.get(letter, 1) for letter in _LETTERS[self.rank])

    def like(self, name: str, value: Any, dtypes: tuple[np.dtype, ...] | None = checks.FLOATS) -> Batch:
        """Return another array of the same shape."""
        other = batch(self.op, name, value, self.rank, self.layout, dtypes)
        checks.same_shape(self.op, name, other.result(other.value), self.result(self.value).shape, "grad_output's shape")
        return other


def batch(
    op: str,
    name: str,
    value: Any,
    rank: int,
    layout: str = "NCHW",
    dtypes: tuple[np.dtype, ...] | None = checks.FLOATS,
    words: str | None = None,
) -> Batch:
    """Return checked images with `rank` axes of pixels, with or without a batch axis; `words` are torch's for another number of axes."""
    letters = _letters(rank, checks.layout(op, layout))
    array = checks.array(op, name, value, None, dtypes)
    if array.ndim not in (rank + 1, rank + 2):
        accepted = " or ".join(map(checks.shape_of_letters, (letters, letters[1:])))
        raise ValueError(f"{op}: {words or _RANKS[rank]}: {name} must be {accepted}; got shape {array.shape}")
    unbatched = array.ndim == rank + 1
    images = array[None] if unbatched else array
    return Batch(op, checks.channels_first(images, layout), unbatched, layout)


def sizes(op: str, name: str, value: Any, least: int, rank: int) -> tuple[int, ...]:
    """Return one int for every axis from an int or a tuple of ints."""
    if isinstance(value, (tuple, list)):
        if len(value) not in (1, rank):
            raise ValueError(f"{op}: {name} must be {_SIZES[rank]}; got {shown(value)}")
        each = tuple(_size(op, name, item, least) for item in value)
        return each * rank if len(each) == 1 else each
    return (_size(op, name, value, least),) * rank


def strides(op: str, stride: Any, kernel: tuple[int, ...]) -> tuple[int, ...]:
    """Return the checked stride along every axis: that of the kernel where it is None or, as in torch, empty."""
    if stride is None or (isinstance(stride, (tuple, list)) and not stride):
        return kernel
    return sizes(op, "stride", stride, 1, len(kernel))


def slide(
    op: str, shape: tuple[int, ...], kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: Any = False
) -> tuple[tuple[Axis, int], ...]:
    """Return every axis of windows that slide over (N, C, ...) images of `shape`, and how many windows there are along it.

    Raises
    ------
    TypeError, ValueError
        In the order in which torch looks: the numbers, the padding, sizes of 0, windows that do not fit.
    """
    rank, ceil_mode = len(shape) - 2, checks.flag(op, "ceil_mode", ceil_mode)
    kernel = sizes(op, "kernel_size", kernel_size, 1, rank)
    strides_ = strides(op, stride, kernel)
    before, dilations = sizes(op, "padding", padding, 0, rank), sizes(op, "dilation", dilation, 1, rank)
    axes = [Axis(n, k, s, p, p, d) for n, k, s, p, d in zip(shape[2:], kernel, strides_, before, dilations, strict=True)]
    for axis in axes:
        if axis.before > axis.extent // 2:
            raise ValueError(
                f"{op}: pad should be at most half of effective kernel size, but got pad={axis.before}, kernel_size={axis.kernel} "
                f"and dilation={axis.dilation}"
            )
        if axis.before > axis.kernel // 2:
            raise ValueError(
                f"{op}: pad should be smaller than or equal to half of kernel size, whatever the dilation, but got pad={axis.before}, "
                f"kernel_size={axis.kernel} and dilation={axis.dilation}"
            )
    require_pixels(op, shape)
    counts = [axis.ceil_output if ceil_mode else axis.output for axis in axes]
    if min(counts) < 1:
        given, found = ("x".join(map(str, size)) for size in (shape[1:], (shape[1], *counts)))
        least = f"Invalid computed output size: {counts[0]}. " if rank == 1 else ""
        raise ValueError(f"{op}: {least}Given input size: ({given}). Calculated output size: ({found}). Output size is too small")
    return tuple(zip(axes, counts, strict=True))


def require_pixels(op: str, shape: tuple[int, ...]) -> None:
    """Raise ValueError where (N, C, ...) images have no channel or no pixel."""
    if 0 in shape[1:]:
        raise ValueError(f"{op}: {_EMPTY[len(shape) - 2]}: no size but the batch's may be 0; got (N, C, ...) = {shape}")


def adaptive_sizes(op: str, shape: tuple[int, ...], output_size: Any) -> tuple[int, ...]:
    """Return the checked output size of adaptive pooling of (N, C, ...) images of `shape`; None keeps an axis as it is."""
    rank = len(shape) - 2
    given = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * rank
    if len(given) != rank:
        words = "'output_size' should contain one int" if rank == 1 else f"output_size must be {rank}"
        raise ValueError(f"{op}: {words}: expected an int, None or a tuple of {rank} of them; got {shown(output_size)}")
    found = []
    for size, length in zip(given, shape[2:], strict=True):
        if type(size) is int and size < 0:
            raise ValueError(f"{op}: elements of output_size must be greater than or equal to 0; got {shown(output_size)}")
        found.append(length if size is None else window.integer(op, "output_size", size, 0))
    require_pixels(op, shape)
    return tuple(found)


def _letters(rank: int, layout: str) -> str:
    return layout if rank == 2 else _LETTERS[rank]


def _size(op: str, name: str, value: Any, least: int) -> int:
    """Return a checked number of a window; what is too small is refused in torch's words."""
    number = window.whole(op, name, value)
    if number < least:
        words = (
            "pad must be non-negative: padding must be at least 0; got"
            if name == "padding"
            else f"{name} must be greater than zero, but got"
        )
        raise ValueError(f"{op}: {words} {shown(number)}")
    if number > LARGEST:
        raise ValueError(f"{op}: {name} must be between {least} and {LARGEST}; got {shown(number)}")
    return number
