"""How a public function of this operation was called, and what its arguments are to its kernels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ... import checks
from .problem import BatchNormProblem


class Call(NamedTuple):
    """How a public function was called: its name, for errors, and the layout."""

    op: str
    layout: str

    def image(self, given: np.ndarray) -> np.ndarray:
        """Return an input of any rank as an (N, C, H, W) view."""
        if given.ndim == 4:
            return checks.channels_first(given, self.layout)
        if given.ndim == 2:
            return given[:, :, None, None]
        return given[:, :, None, :] if self.layout == "NCHW" else given.transpose(0, 2, 1)[:, :, None, :]

    def memory(self, given: np.ndarray) -> str:
        """Return the layout to compute in: vectors are channels-last."""
        return "NHWC" if given.ndim == 2 else self.layout

    def result(self, image: np.ndarray, given: np.ndarray) -> np.ndarray:
        """Return an (N, C, H, W) result with the axes of the input, C-contiguous."""
        if given.ndim == 4:
            return image.transpose(0, 2, 3, 1) if self.layout == "NHWC" else image
        return (image.transpose(0, 2, 3, 1) if self.memory(given) == "NHWC" else image).reshape(given.shape)

    def problem(self, x: np.ndarray, training: bool, relu: bool, eps: float) -> BatchNormProblem:
        """Return the problem of an (N, C, H, W) view."""
        if x.shape[1] == 0:
            raise ValueError(f"{self.op}: input must have at least one channel; got (N, C, H, W) = {x.shape}")
        N, C, H, W = x.shape
        return BatchNormProblem(N, C, H, W, training, relu, eps)

    def channel(self, problem: BatchNormProblem, x: np.ndarray, name: str, value: Any, default: int) -> np.ndarray:
        """Return a checked array with one value per channel, filled with `default` where `value` is None."""
        if value is None:
            return np.full(problem.C, default, x.dtype)
        if type(value) is np.ndarray and value.dtype == x.dtype and value.shape == (problem.C,) and value.flags.carray:
            return value  # what most calls bring
        array = checks.array(self.op, name, value, "C")
        checks.same_dtype(self.op, **{"input": x, name: array})
        checks.same_shape(self.op, name, array, (problem.C,), "one per channel of the input")
        return checks.contiguous(array)
