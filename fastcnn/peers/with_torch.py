"""PyTorch in contiguous and in channels-last memory; gradients one by one through aten's convolution_backward."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .contender import Builders, Contender

pin = torch.set_num_threads


def builders(p: Any, direction: str, arguments: Sequence[np.ndarray], threads: int) -> Builders:
    """Return "torch NCHW" and "torch NHWC"."""
    torch.set_grad_enabled(False)
    if (p.top, p.left) != (p.bottom, p.right):
        raise ValueError("torch's convolution pads both sides alike")
    return {f"torch {layout}": functools.partial(_contender, p, direction, arguments, layout) for layout in ("NCHW", "NHWC")}


def _contender(p: Any, direction: str, arguments: Sequence[np.ndarray], layout: str) -> Contender:
    form = torch.channels_last if layout == "NHWC" else torch.contiguous_format

    def tensor(array: np.ndarray) -> Any:
        if array.ndim == 1:
            return torch.from_numpy(array.copy())
        # `contiguous` would return a one-channel tensor as it is, with strides that torch then takes for NCHW
        return torch.empty(array.shape, memory_format=form).copy_(torch.from_numpy(array.copy()))

    tensors = [tensor(array) for array in arguments]
    window = (p.stride_h, p.stride_w), (p.top, p.left), (p.dilation_h, p.dilation_w)
    if direction == "forward":
        return Contender(functools.partial(torch.nn.functional.conv2d, *tensors, *window, p.groups), np.asarray)
    if direction == "backward_input":
        wanted, place, (dy, weight) = [True, False, False], 0, tensors
        x = torch.empty(p.input_shape, memory_format=form)
    else:
        wanted, place, (x, dy) = [False, True, False], 1, tensors
        weight = torch.empty(p.weight_shape, memory_format=form)
    backward = functools.partial(
        torch.ops.aten.convolution_backward, dy, x, weight, [p.K], *window, False, (0, 0), p.groups, wanted
    )  # fmt: skip
    return Contender(backward, lambda gradients: np.asarray(gradients[place]))
