"""PyTorch's own samples of the convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcnn.functional import conv2d, conv2d_backward
from partners import opinfo


def _conv2d_backward(dy: np.ndarray, x: np.ndarray, weight: np.ndarray, bias: Any = None, *window: Any, **options: Any) -> Any:
    dx, dweight, dbias = conv2d_backward(dy, x, weight, *window, **options)
    return dx, dweight, None if bias is None else dbias


def test_conv2d() -> None:
    opinfo.check("nn.functional.conv2d", conv2d, _conv2d_backward, 30)
