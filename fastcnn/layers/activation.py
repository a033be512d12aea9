"""Activations as layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops.relu import relu, relu_backward
from .base import Layer


class ReLU(Layer):
    """max(x, 0); see `fastcnn.relu`."""

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        y = relu(x)
        return y, y  # positive where x is: x itself need not live on

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        return (relu_backward(dy, saved) if input_gradient else None), {}
