"""Pooling along one or three axes, by the kernels of two.

A signal is an image of one row. A window over a volume is one over rows and columns, then one over depths: maxima of maxima, sums of sums.
The second sees an image of D rows and one column whose channels are all pixels of a plane, channels-last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..ops.avg_pool2d import averages
from ..ops.max_pool2d import MaxPool2dProblem, maxima, route
from ..pools import Batch
from ..window import Axis

ONE = (Axis(1, 1, 1, 0, 0, 1), 1)  # window along an axis of one pixel, as `pools.slide` returns the others


class Windows(NamedTuple):
    """How the windows lie along every axis, in a form of their own, and the problems of such windows.

    `images(N, C, (vertical, horizontal))` is the problem over rows and columns, `depths` likewise that over the depths of a volume; along
    `unit`, an axis of one pixel, lies one window.
    """

    axes: Sequence[Any]
    unit: Any
    images: Callable[[int, int, Sequence[Any]], Any]
    depths: Callable[[int, int, Sequence[Any]], Any]

    def of_rows(self, N: int, C: int) -> Any:
        """Return the problem over rows and columns, the last two axes; signals have one row."""
        return self.images(N, C, (self.unit, *self.axes)[-2:])

    def of_depths(self, N: int, C: int) -> Any:
        """Return the problem over the first of three axes."""
        return self.depths(N, C, (self.axes[0], self.unit))


def average(x: Batch, windows: Windows, algorithm: str) -> np.ndarray:
    """Return the averages of (N, C, ...) images, signals or volumes, with the axes that theirs have."""
    N, C = x.value.shape[:2]
    if x.rank < 3:
        return _along_rows(x, windows.of_rows(N, C), algorithm, "forward")
    D = x.value.shape[2]
    rows = windows.of_rows(N, C * D)
    depths = windows.of_depths(N * C, rows.P * rows.Q)
    planes = averages(_planes(x), rows, algorithm, "forward")
    found = averages(_columns(x.op, planes, N * C, D), depths, algorithm, "forward")
    return x.result(found.reshape(N, C, depths.P, rows.P, rows.Q))


def average_backward(dy: Batch, windows: Windows, input_shape: tuple[int, ...], algorithm: str) -> np.ndarray:
    """Return the gradient of `average` with respect to images, signals or volumes of `input_shape` (N, C, ...)."""
    N, C = input_shape[:2]
    if dy.rank < 3:
        return _along_rows(dy, windows.of_rows(N, C), algorithm, "backward_input")
    D = input_shape[2]
    rows = windows.of_rows(N, C * D)
    depths = windows.of_depths(N * C, rows.P * rows.Q)
    checks.same_shape(dy.op, "grad_output", dy.value, (N, C, depths.P, rows.P, rows.Q), "the forward's output as (N, C, D, H, W)")
    spread = averages(_columns(dy.op, checks.contiguous(dy.value), N * C, depths.P), depths, algorithm, "backward_input")
    planes = Batch(dy.op, spread.reshape(N, C * D, rows.P, rows.Q), False, "NCHW")
    return dy.result(averages(planes, rows, algorithm, "backward_input").reshape(input_shape))


def maximum(x: Batch, windows: Windows, wanted: bool, algorithm: str) -> Any:
    """Return the maxima of images, signals or volumes, with their indices where `wanted`, with the axes that theirs have."""
    N, C = x.value.shape[:2]
    if x.rank < 3:
        found = maxima(x.as_images() if x.rank == 1 else x, _with(windows.of_rows(N, C), wanted), algorithm)
        y, indices = [_signal(part) if x.rank == 1 and part.ndim > 1 else part for part in found]
        return (y, indices) if wanted else y
    D, H, W = x.value.shape[2:]
    rows = _with(windows.of_rows(N, C * D), wanted)
    planes, places = maxima(_planes(x), rows, algorithm)
    depths = _with(windows.of_depths(N * C, rows.P * rows.Q), wanted)
    shape = N, C, depths.P, rows.P, rows.Q
    y, depth = maxima(_columns(x.op, planes, N * C, D), depths, algorithm)
    if not wanted:
        return x.result(y.reshape(shape))
    depth = depth.reshape(N * C, depths.P, rows.P * rows.Q)
    place = np.take_along_axis(places.reshape(N * C, D, rows.P * rows.Q), np.maximum(depth, 0), axis=1)
    indices = np.where((depth < 0) | (place < 0), -1, depth * (H * W) + place)
    return x.result(y.reshape(shape)), x.result(indices.reshape(shape))


def maximum_backward(dy: Batch, where: Batch, windows: Windows, input_shape: tuple[int, ...], algorithm: str) -> np.ndarray:
    """Return the gradient of `maximum` with respect to images, signals or volumes of `input_shape` (N, C, ...)."""
    N, C = input_shape[:2]
    if dy.rank == 1:
        return _signal(route(dy.as_images(), where.as_images(), windows.of_rows(N, C), algorithm, "L"))
    if dy.rank == 2:
        return route(dy, where, windows.of_rows(N, C), algorithm)
    D, H, W = input_shape[2:]
    rows, depths = windows.of_rows(N, C * D), windows.of_depths(N * C, 1)
    checks.same_shape(dy.op, "grad_output", dy.value, (N, C, depths.P, rows.P, rows.Q), "the forward's output as (N, C, D, H, W)")
    # An index leads to its pixel, whatever the windows: volumes are images of D * H rows.
    flat = MaxPool2dProblem(N, C, D * H, W, 1, 1, depths.P * rows.P, rows.Q, 1, 1)
    errors, places = (Batch(dy.op, checks.contiguous(part.value).reshape(flat.output_shape), False, "NCHW") for part in (dy, where))
    return dy.result(route(errors, places, flat, algorithm, "D*H*W").reshape(input_shape))


def _along_rows(given: Batch, problem: Any, algorithm: str, direction: str) -> np.ndarray:
    if given.rank == 2:
        return averages(given, problem, algorithm, direction)
    return _signal(averages(given.as_images(), problem, algorithm, direction))


def _with(problem: MaxPool2dProblem, indices: bool) -> MaxPool2dProblem:
    return problem._replace(with_indices=indices)


def _signal(images: np.ndarray) -> np.ndarray:
    """Return images of one row without that axis."""
    return images[..., 0, :]


def _planes(volumes: Batch) -> Batch:
    """Return volumes (N, C, D, H, W) as images of C * D channels."""
    N, C, D, H, W = volumes.value.shape
    return Batch(volumes.op, checks.contiguous(volumes.value).reshape(N, C * D, H, W), False, "NCHW")


def _columns(op: str, planes: np.ndarray, images: int, D: int) -> Batch:
    """Return contiguous planes, D for every image, as channels-last images of D rows and one column."""
    pixels = planes.shape[-2] * planes.shape[-1]
    return Batch(op, planes.reshape(images, D, 1, pixels).transpose(0, 3, 1, 2), False, "NHWC")
