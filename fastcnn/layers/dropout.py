"""Dropout as layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks, scalars
from ..functional.dropout import dropout, dropout2d, dropout_backward
from .base import Layer


class Dropout(Layer):
    """In training, zero each value with probability p and divide the others by 1 - p; in evaluation, the identity.

    Parameters
    ----------
    p : float in [0, 1]
    rng : Generator, seed or None

    Raises
    ------
    ValueError
        p is not between 0 and 1.

    References
    ----------
    N. Srivastava et al., "Dropout", 2014; inverted, so that evaluation needs no scale.
    """

    _function = staticmethod(dropout)

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | int | None = None) -> None:
        super().__init__()
        name = type(self).__name__
        self.p = checks.number(name, "p", p, finite=False)
        if not 0 <= self.p <= 1:
            raise ValueError(f"{name}: p must be between 0 and 1; got {p}")
        self.rng = scalars.generator(name, rng)

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        if not self.training or self.p == 0:
            return self._function(x, self.p, False), 1
        return self._function(x, self.p, rng=self.rng, return_mask=True)

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        if not input_gradient:
            return None, {}
        return (dy if isinstance(saved, int) else dropout_backward(dy, saved, self.p)), {}

    def _describe(self) -> str:
        return f"{self.p}"


class Dropout2d(Dropout):
    """`Dropout` of whole channels of a sample: (N, C, H, W) or (N, C, L).

    Parameters
    ----------
    p : float in [0, 1]
    rng : Generator, seed or None

    References
    ----------
    J. Tompson et al., "Efficient Object Localization Using Convolutional Networks", 2015, section 3.2.
    """

    _function = staticmethod(dropout2d)
