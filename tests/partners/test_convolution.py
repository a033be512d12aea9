"""PyTorch's own samples of the convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastcnn import functional
from partners import opinfo

DIRECT = {"conv1d": 10, "conv2d": 30, "conv3d": 20}
TRANSPOSED = {"conv_transpose1d": 10, "conv_transpose2d": 12, "conv_transpose3d": 10}
# With stride 2: ours is TensorFlow's rule.
ACCEPTED = {"conv3d": ("padding='same' is not supported for strided convolutions",)}


@pytest.mark.parametrize(("name", "count"), [*DIRECT.items(), *TRANSPOSED.items()])
def test_samples(name: str, count: int) -> None:
    gradients = getattr(functional, f"{name}_backward")

    def backward(dy: np.ndarray, x: np.ndarray, weight: np.ndarray, bias: Any = None, *window: Any, **options: Any) -> Any:
        dx, dweight, dbias = gradients(dy, x, weight, *window, **options)
        return dx, dweight, None if bias is None else dbias

    opinfo.check(f"nn.functional.{name}", getattr(functional, name), backward, count)


@pytest.mark.parametrize("name", DIRECT)
def test_what_pytorch_refuses(name: str) -> None:
    opinfo.check_errors(f"nn.functional.{name}", getattr(functional, name), 10, accepted=ACCEPTED.get(name, ()))
