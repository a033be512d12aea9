"""The geometry of sliding windows over any number of axes, as ONNX describes it in attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ... import window
from ...window import Axis
from ..graph import Node
from .registry import refuse


class Window(NamedTuple):
    """The spatial axes of a window, and how many windows each has (more than fit where the size is rounded up)."""

    axes: tuple[Axis, ...]
    output: tuple[int, ...]

    @property
    def kernel(self) -> tuple[int, ...]:
        """Taps along each axis."""
        return tuple(axis.kernel for axis in self.axes)

    @property
    def stride(self) -> tuple[int, ...]:
        """Steps along each axis."""
        return tuple(axis.stride for axis in self.axes)

    @property
    def dilation(self) -> tuple[int, ...]:
        """Distances of taps along each axis."""
        return tuple(axis.dilation for axis in self.axes)

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """Padding before and after each axis."""
        return tuple((axis.before, axis.after) for axis in self.axes)

    def views(self, x: np.ndarray, fill: float) -> np.ndarray:
        """Return every window of x (N, C, ...) as a view with the taps' axes last: (N, C, *output, *kernel); x is padded with `fill`."""
        frame = [(0, 0), (0, 0)]
        for axis, count in zip(self.axes, self.output, strict=True):
            reach = (count - 1) * axis.stride + axis.extent
            frame.append((axis.before, max(0, reach - axis.size - axis.before)))
        padded = np.pad(x, frame, constant_values=fill)
        spatial = tuple(range(2, x.ndim))
        views = np.lib.stride_tricks.sliding_window_view(padded, [axis.extent for axis in self.axes], spatial)
        both = slice(None), slice(None)
        steps = tuple(slice(0, (n - 1) * axis.stride + 1, axis.stride) for axis, n in zip(self.axes, self.output, strict=True))
        taps = tuple(slice(None, None, axis.dilation) for axis in self.axes)
        result: np.ndarray = views[both + steps + taps]
        return result

    def counts(self, with_padding: bool) -> np.ndarray:
        """Return how many taps of each window lie inside of the array, or of the array and its padding."""
        result = np.ones((), np.int64)
        for axis, count in zip(self.axes, self.output, strict=True):
            taps = np.arange(count)[:, None] * axis.stride - axis.before + np.arange(axis.kernel) * axis.dilation
            low, high = (-axis.before, axis.size + axis.after) if with_padding else (0, axis.size)
            result = result[..., None] * ((taps >= low) & (taps < high)).sum(axis=1)
        return result


def of_node(node: Node, sizes: Sequence[int], kernel: Sequence[int] | None = None) -> Window:
    """Return the window of a convolution's or a pooling's attributes over an array with these spatial sizes.

    Raises
    ------
    ValueError
        The attributes do not fit the array, or the window does not.
    """
    count = len(sizes)
    kernel = node.get("kernel_shape", kernel) if kernel is None else kernel
    given = [tuple(node.get(name) or (1,) * count) for name in ("strides", "dilations")]
    pads = tuple(node.get("pads") or (0,) * (2 * count))
    if kernel is None or len(kernel) != count or any(len(values) != count for values in given) or len(pads) != 2 * count:
        raise ValueError(f"{node}: kernel_shape, strides, dilations and pads must be for {count} axes")
    auto = node.get("auto_pad", "NOTSET")
    axes = []
    for i, (size, taps, stride, dilation) in enumerate(zip(sizes, kernel, *given, strict=True)):
        window.integer(str(node), "kernel_shape", int(taps), 1)
        window.integer(str(node), "strides", int(stride), 1)
        window.integer(str(node), "dilations", int(dilation), 1)
        before, after = pads[i], pads[i + count]
        if auto == "VALID":
            before = after = 0
        elif auto in ("SAME_UPPER", "SAME_LOWER"):
            total = max((-(-size // stride) - 1) * stride + dilation * (taps - 1) + 1 - size, 0)
            before, after = (total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2)
        elif auto != "NOTSET":
            raise refuse(node, f"auto_pad {auto!r}")
        if min(before, after) < 0:
            raise refuse(node, "negative padding")
        axes.append(Axis(size, int(taps), int(stride), before, after, int(dilation)))
    ceil = bool(node.get("ceil_mode", 0))
    output = tuple(axis.ceil_output if ceil else axis.output for axis in axes)
    if min(output, default=1) < 1:
        raise ValueError(f"{node}: windows of {tuple(axis.extent for axis in axes)} do not fit into {tuple(sizes)} with padding {pads}")
    return Window(tuple(axes), output)
