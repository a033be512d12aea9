"""Dropout as layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks, scalars, window
from ..functional.dropout import dropout, dropout2d, dropout_backward
from .base import Layer


class Dropout(Layer):
    """In training, zero each value with probability p and divide the others by 1 - p; in evaluation, the identity.

    Parameters
    ----------
    p : float in [0, 1]
    rng : Generator, seed or None

    Attributes
    ----------
    rows : (first, all) or None
        Where a batch of `all` samples lies in several processes: our part begins at sample `first`. Every process draws for the whole
        batch, so that their generators stay alike and a single process would drop the same. `fastcnn.train.fit` sets it while it trains
        with ``comm=``.

    Raises
    ------
    ValueError
        p is not between 0 and 1.

    References
    ----------
    N. Srivastava et al., "Dropout", 2014; inverted, so that evaluation needs no scale.
    """

    rows: tuple[int, int] | None = None
    _function = staticmethod(dropout)

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | int | None = None) -> None:
        super().__init__()
        name = type(self).__name__
        self.p = checks.number(name, "p", p, finite=False)
        if not 0 <= self.p <= 1:
            raise ValueError(f"{name}: p must be between 0 and 1; got {window.shown(p)}")
        self.rng = scalars.generator(name, rng)

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        if not self.training or self.p == 0:
            return self._function(x, self.p, False), 1
        if self.rows is not None:
            mask = self._mask_of_part(x, *self.rows)
            return dropout_backward(x, mask, self.p), mask  # which scales by the mask, as the forward does
        return self._function(x, self.p, rng=self.rng, return_mask=True)

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        if not input_gradient:
            return None, {}
        return (dy if isinstance(saved, int) else dropout_backward(dy, saved, self.p)), {}

    def _mask_of_part(self, x: np.ndarray, first: int, samples: int) -> np.ndarray:
        """Return the mask that the whole batch would get, cut down to our part."""
        whole = self.rng.random((samples, *self._drawn(x)), np.float32)
        mask: np.ndarray = whole[first : first + len(x)] >= self.p
        return mask

    def _drawn(self, x: np.ndarray) -> tuple[int, ...]:
        """Return the shape of what is drawn for one sample."""
        return x.shape[1:]

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

    def _drawn(self, x: np.ndarray) -> tuple[int, ...]:
        return x.shape[1], *[1] * (x.ndim - 2)
