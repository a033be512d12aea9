"""Pooling as layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..functional import adaptive_avg_pool2d, adaptive_avg_pool2d_backward
from ..ops.avg_pool2d import avg_pool2d, avg_pool2d_backward, sliding_problem
from ..ops.max_pool2d import max_pool2d, max_pool2d_backward, pool_output
from ..pools import adaptive_sizes
from .base import Layer, channels_first, channels_last, require_image


class MaxPool2d(Layer):
    """Maximum of every window; see `fastcnn.max_pool2d`. Parameters as in `torch.nn.MaxPool2d`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or pair
    ceil_mode : bool
    """

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> None:
        super().__init__()
        self.window = (kernel_size, stride, padding, dilation, ceil_mode)

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        pixels = channels_last(self, x)
        if not self.training:  # a backward is unlikely, and indices take as long again to write as the maxima
            return channels_first(max_pool2d(pixels, *self.window, layout="NHWC")), (None, pixels)
        y, indices = max_pool2d(pixels, *self.window, return_indices=True, layout="NHWC")
        return channels_first(y), (indices, pixels.shape)

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        if not input_gradient:
            return None, {}
        indices, shape = saved
        if indices is None:
            indices, shape = max_pool2d(saved[1], *self.window, return_indices=True, layout="NHWC")[1], saved[1].shape
        dx = max_pool2d_backward(channels_last(self, dy), indices, shape, *self.window, layout="NHWC")
        return channels_first(dx), {}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        require_image("MaxPool2d", shape)
        return (shape[0], *pool_output(shape[1:], *self.window))

    def _describe(self) -> str:
        return _window(self.window)


class AvgPool2d(Layer):
    """Average of every window; see `fastcnn.avg_pool2d`. Parameters as in `torch.nn.AvgPool2d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or pair
    ceil_mode, count_include_pad : bool
    divisor_override : int, optional
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.window = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        pixels = channels_last(self, x)
        return channels_first(avg_pool2d(pixels, *self.window, layout="NHWC")), pixels.shape

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        if not input_gradient:
            return None, {}
        return channels_first(avg_pool2d_backward(channels_last(self, dy), saved, *self.window, layout="NHWC")), {}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        require_image("AvgPool2d", shape)
        return sliding_problem("AvgPool2d", (1, *shape), *self.window).output_shape[1:]

    def _describe(self) -> str:
        return _window(self.window)


class AdaptiveAvgPool2d(Layer):
    """Average of windows that share an image evenly; see `fastcnn.functional.adaptive_avg_pool2d`.

    Parameters
    ----------
    output_size : int or pair
        None in the place of a number keeps that axis as it is; 1 averages whole channels.
    """

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        pixels = channels_last(self, x)
        return channels_first(adaptive_avg_pool2d(pixels, self.output_size, layout="NHWC")), pixels.shape

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        if not input_gradient:
            return None, {}
        return channels_first(adaptive_avg_pool2d_backward(channels_last(self, dy), saved, self.output_size, layout="NHWC")), {}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        require_image("AdaptiveAvgPool2d", shape)
        return (shape[0], *adaptive_sizes("AdaptiveAvgPool2d", (1, *shape), self.output_size))

    def _describe(self) -> str:
        return f"{self.output_size}"


def _window(window: tuple[Any, ...]) -> str:
    """Return a window as a layer shows it."""
    return f"{window[0]}" + (f", stride={window[1]}" if window[1] is not None else "")
