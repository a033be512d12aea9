"""Convolution as a layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import scalars, window
from ..init import Initializer, initial, torch_default
from ..ops.conv2d import bias_gradient, conv2d, conv2d_input, conv2d_weight
from .base import Layer, channels_first, channels_last, require_image


class Conv2d(Layer):
    """Two-dimensional convolution; see `fastcnn.conv2d`. Parameters as in `torch.nn.Conv2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or pair
    padding : int, pair, two pairs, "valid" or "same"
    groups : int
    bias : bool
    dtype : float32 or float64
    rng : Generator, seed or None
        For the initial values.
    init : str or callable
        A name of `fastcnn.init.INITIALIZERS`, or what draws the weight from (shape, rng, dtype). By default weight and bias are torch's;
        with any other the bias begins at 0.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | int | None = None,
        init: Initializer | str = torch_default,
    ) -> None:
        super().__init__()
        channels = window.integer("Conv2d", "in_channels", in_channels, 1)
        filters = window.integer("Conv2d", "out_channels", out_channels, 1)
        groups = window.integer("Conv2d", "groups", groups, 1)
        if channels % groups or filters % groups:
            raise ValueError(f"Conv2d: groups must divide in_channels and out_channels; got {groups} for {channels} and {filters}")
        shape = (filters, channels // groups, *window.pair("Conv2d", "kernel_size", kernel_size, 1))
        self.window = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        self.params.update(initial("Conv2d", shape, bias, init, scalars.generator("Conv2d", rng), dtype))

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        pixels = channels_last(self, x)
        y = conv2d(pixels, self.params["weight"], self.params.get("bias"), **self.window, precision=self.precision, layout="NHWC")
        return channels_first(y), pixels

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        errors, weight = channels_last(self, dy), self.params["weight"]
        grads = {}
        if self.trainable:
            grads["weight"] = conv2d_weight(saved, weight.shape, errors, **self.window, precision=self.precision, layout="NHWC")
        if self.trainable and "bias" in self.params:
            grads["bias"] = bias_gradient(errors, "NHWC")
        if not input_gradient:
            return None, grads
        return channels_first(conv2d_input(saved.shape, weight, errors, **self.window, precision=self.precision, layout="NHWC")), grads

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        K, C, R, S = self.params["weight"].shape
        w = self.window
        require_image("Conv2d", shape, C * w["groups"])
        vertical, horizontal = window.axes("Conv2d", (shape[1], shape[2]), (R, S), w["stride"], w["padding"], w["dilation"])
        return K, vertical.output, horizontal.output

    def flops(self, shape: tuple[int, ...]) -> int:
        _, P, Q = self.output_shape(shape)
        return 2 * P * Q * self.params["weight"].size

    def _describe(self) -> str:
        K, C, R, S = self.params["weight"].shape
        changed = "".join(f", {name}={value}" for name, value in self.window.items() if value != (0 if name == "padding" else 1))
        return f"{C * self.window['groups']} -> {K}, {R}x{S}{changed}"
