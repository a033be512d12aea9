"""Dropout as a layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from .base import Layer, generator


class Dropout(Layer):
    """In training, zero each value with probability p and divide the others by 1 - p; in evaluation, the identity.

    Parameters
    ----------
    p : float in [0, 1]
    rng : Generator, seed or None

    References
    ----------
    N. Srivastava et al., "Dropout", 2014; inverted, so that evaluation needs no scale.
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | int | None = None) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must be between 0 and 1; got {p}")
        self.p = p
        self.rng = generator(rng)

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        x = checks.array("Dropout", "input", x, None)
        if not self.training or self.p == 0:
            return x, 1
        scale = np.zeros_like(x)  # keeps the memory order, so that a channels-last image stays one
        if self.p < 1:
            np.divide(self.rng.random(x.shape, np.float32) >= self.p, 1 - self.p, out=scale, casting="unsafe")
        return x * scale, scale

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        return (dy * saved if input_gradient else None), {}

    def _describe(self) -> str:
        return f"{self.p}"
