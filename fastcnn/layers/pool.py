"""Pooling as layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops.max_pool2d import max_pool2d, max_pool2d_backward, pool_output
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
        y, indices = max_pool2d(pixels, *self.window, return_indices=True, layout="NHWC")
        return channels_first(y), (indices, pixels.shape)

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        if not input_gradient:
            return None, {}
        indices, shape = saved
        dx = max_pool2d_backward(channels_last(self, dy), indices, shape, *self.window, layout="NHWC")
        return channels_first(dx), {}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        require_image("MaxPool2d", shape)
        return (shape[0], *pool_output(shape[1:], *self.window))

    def _describe(self) -> str:
        return f"{self.window[0]}" + (f", stride={self.window[1]}" if self.window[1] is not None else "")
