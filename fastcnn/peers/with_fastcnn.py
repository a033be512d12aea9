"""fastcnn through its public functions, in both layouts, with plain and with prepared weights, in float32 and in bfloat16."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import bf16
from ..machine import set_threads
from ..ops.conv2d import conv2d, conv2d_input, conv2d_weight, prepare_conv2d
from .contender import Builders, Contender, first_to_last, last_to_first

pin = set_threads


def builders(p: Any, direction: str, arguments: Sequence[np.ndarray], threads: int) -> Builders:
    """Return "fastcnn NHWC", "fastcnn NCHW" and, forward, the two with weights packed beforehand and with bfloat16 allowed."""
    found: Builders = {}
    for layout in ("NHWC", "NCHW"):
        found[f"fastcnn {layout}"] = functools.partial(_plain, p, direction, arguments, layout)
        if direction == "forward":
            found[f"fastcnn prepared {layout}"] = functools.partial(_prepared, p, arguments, layout)
    if direction == "forward" and bf16.unavailable() is None:
        found["fastcnn medium NHWC"] = functools.partial(_plain, p, direction, arguments, "NHWC", "medium")
        found["fastcnn prepared medium NHWC"] = functools.partial(_prepared, p, arguments, "NHWC", "medium")
    return found


def _precision(weight: np.ndarray) -> str:
    """Return "highest" for subnormal weights, of which Winograd's transforms would lose what is left of their digits."""
    return "high" if np.abs(weight).max() > 1e-30 else "highest"


def _window(p: Any) -> dict[str, Any]:
    return {
        "stride": (p.stride_h, p.stride_w),
        "padding": ((p.top, p.bottom), (p.left, p.right)),
        "dilation": (p.dilation_h, p.dilation_w),
        "groups": p.groups,
    }


def _image(array: np.ndarray, layout: str) -> np.ndarray:
    return first_to_last(array) if layout == "NHWC" else np.ascontiguousarray(array)


def _result(layout: str, direction: str) -> Callable[[Any], np.ndarray]:
    return last_to_first if layout == "NHWC" and direction != "backward_weight" else np.asarray


def _plain(p: Any, direction: str, arguments: Sequence[np.ndarray], layout: str, precision: str | None = None) -> Contender:
    options = {**_window(p), "layout": layout}
    if direction == "forward":
        x, weight, bias = _image(arguments[0], layout), *arguments[1:]
        options["precision"] = precision or _precision(weight)
        call = lambda: conv2d(x, weight, bias, **options)  # noqa: E731
    elif direction == "backward_input":
        dy, weight = _image(arguments[0], layout), arguments[1]
        options["precision"] = _precision(weight)
        N, C, H, W = p.input_shape
        shape = (N, H, W, C) if layout == "NHWC" else (N, C, H, W)
        call = lambda: conv2d_input(shape, weight, dy, **options)  # noqa: E731
    else:
        x, dy = _image(arguments[0], layout), _image(arguments[1], layout)
        call = lambda: conv2d_weight(x, p.weight_shape, dy, **options)  # noqa: E731
    return Contender(call, _result(layout, direction))


def _prepared(p: Any, arguments: Sequence[np.ndarray], layout: str, precision: str | None = None) -> Contender:
    convolve = prepare_conv2d(arguments[1], arguments[2], **_window(p), precision=precision or _precision(arguments[1]))
    x = _image(arguments[0], layout)
    return Contender(lambda: convolve(x, layout=layout), _result(layout, "forward"))
